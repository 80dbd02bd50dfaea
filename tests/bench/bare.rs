//! wasmtime alone: the same component, the same pool, no limits.

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

wasmtime::component::bindgen!({
    path: "../sdk/wit",
    world: "check-back-plugin",
    imports: { default: async },
    exports: { default: async },
});

use avouch::rules::types::{RuleError, Transaction};
use avouch::rules::{clock, config, http, log, nats, sql, types};

/// An engine with the component.
pub struct Bare {
    engine: Engine,
    pre: CheckBackPluginPre<Nothing>,
}

/// Answers nothing: the calls that are measured ask for nothing.
pub struct Nothing;

impl types::Host for Nothing {}

impl sql::Host for Nothing {
    async fn query(&mut self, _: String, _: String, _: Vec<Option<String>>) -> Result<Vec<String>, RuleError> {
        Err(RuleError::Denied(String::new()))
    }
}

impl http::Host for Nothing {
    async fn send(&mut self, _: String, _: http::Request) -> Result<http::Response, RuleError> {
        Err(RuleError::Denied(String::new()))
    }
}

impl nats::Host for Nothing {
    async fn request(&mut self, _: String, _: String, _: Vec<u8>) -> Result<Vec<u8>, RuleError> {
        Err(RuleError::Denied(String::new()))
    }

    async fn kv_get(&mut self, _: String, _: String) -> Result<Option<Vec<u8>>, RuleError> {
        Err(RuleError::Denied(String::new()))
    }
}

impl config::Host for Nothing {
    async fn get(&mut self, _: String) -> Option<String> {
        None
    }
}

impl log::Host for Nothing {
    async fn write(&mut self, _: log::Level, _: String) {}
}

impl clock::Host for Nothing {
    async fn now_ms(&mut self) -> u64 {
        0
    }
}

impl Bare {
    /// Compiles the component.
    pub fn new(module: &[u8]) -> anyhow::Result<Self> {
        let component = wit_component::ComponentEncoder::default().module(module)?.encode()?;
        let mut settings = Config::new();
        settings.concurrency_support(false);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(100)
            .total_core_instances(400)
            .total_component_instances(100)
            .total_tables(200)
            .total_stacks(100);
        pool.max_memory_size(32 << 20);
        settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&settings)?;
        let mut linker = Linker::new(&engine);
        CheckBackPlugin::add_to_linker::<_, HasSelf<Nothing>>(&mut linker, |n| n)?;
        let pre = CheckBackPluginPre::new(linker.instantiate_pre(&Component::new(&engine, component)?)?)?;
        Ok(Self { engine, pre })
    }

    /// An instance, one call.
    pub async fn fresh(&self) -> Option<()> {
        let mut kept = self.kept().await.ok()?;
        self.again(&mut kept).await
    }

    /// An instance to be called again and again.
    pub async fn kept(&self) -> anyhow::Result<(Store<Nothing>, CheckBackPlugin)> {
        let mut store = Store::new(&self.engine, Nothing);
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }

    /// One call.
    pub async fn again(&self, (store, instance): &mut (Store<Nothing>, CheckBackPlugin)) -> Option<()> {
        let tx = Transaction {
            id: uuid::Uuid::now_v7().to_string(),
            checker: "order-check".into(),
            reference: Some("not a number".into()),
            age_ms: 1,
            attempt: 0,
            message_count: 0,
            messages: Vec::new(),
        };
        instance.avouch_rules_check_back().call_check(store, &tx).await.ok()?.is_err().then_some(())
    }
}
