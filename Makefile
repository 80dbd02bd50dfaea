# The short way to everything; `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup guests demo tcc saga payment-notify dev test chaos bench lint fmt

help: ## lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

setup: ## installs what `make demo` needs beside Rust: Postgres, nats-server
	@.ci/setup

guests: ## the plugins of this repository as WebAssembly, in target/guests
	cargo build -q -p avouch-runtime
	@target/debug/avouch plugin build --profile guest --target-dir target/guests -p fingerprint -p form-notify -p order-check -p payment-http-check -p version-guard -p every-rule -p undetermined -p transfer-check

demo: ## an order service, the relay and three consumers on embedded servers; DEMO_SECONDS=n ends it with a balance
	@.ci/setup
	@$(MAKE) --no-print-directory guests
	cargo run -q -p avouch-example-orders -- --seconds "$${DEMO_SECONDS:-0}"

tcc: ## try, confirm, cancel across two banks, the coordinator killed at each step; ends by itself with a balance
	@.ci/setup
	@$(MAKE) --no-print-directory guests
	cargo run -q -p avouch-example-tcc

saga: ## an order and the stock it needs, both services killed at each step; ends by itself with a balance
	@.ci/setup
	cargo build -q -p avouch-runtime
	cargo run -q -p avouch-example-saga

payment-notify: ## a merchant is told of its payments although its server is down; ends by itself with a balance
	@.ci/setup
	cargo build -q -p avouch-runtime
	cargo run -q -p avouch-example-payment-notify

dev: ## the runtime on embedded servers, for your own service to talk to
	@.ci/setup
	cargo run -p avouch-runtime --bin avouch -- dev

test: ## everything, on real servers
	@.ci/setup test
	@$(MAKE) --no-print-directory lint
	cargo build -p avouch-runtime -p avouch-example-orders -p avouch-example-tcc -p avouch-example-saga -p avouch-example-payment-notify -p avouch-example-consumer
	@$(MAKE) --no-print-directory guests
	cargo test --workspace --exclude avouch-model
	cargo test -p avouch-model

chaos: ## random faults under load, then balanced books; CHAOS_SECONDS and CHAOS_SEED choose how long and which
	@.ci/setup chaos
	cargo build -q -p avouch-runtime
	@$(MAKE) --no-print-directory guests
	cargo run -q -p avouch-tests --bin avouch-chaos

bench: ## measures on real servers; BENCH_ONLY and BENCH_SECONDS choose what and how long
	@.ci/setup
	cargo build --release -p avouch-runtime
	@$(MAKE) --no-print-directory guests
	cargo run --release -p avouch-tests --bin avouch-bench

lint: ## formatting and lints, warnings are errors
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## formats the code
	cargo fmt
