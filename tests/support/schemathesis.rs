//! Whether an HTTP API keeps its own OpenAPI document: asked by schemathesis, with requests made of that document, good ones and bad ones.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::scratch;

/// Requests of each kind for each operation; `AVOUCH_TEST_SCHEMA_EXAMPLES` asks for more.
const EXAMPLES: u32 = 10;
/// For each of those: far more than it takes on a busy machine.
const EXAMPLE_MAX: Duration = Duration::from_secs(60);
const REQUEST_MAX_SECONDS: &str = "30";

/// What is to be asked, and of whom.
#[derive(Debug, Clone)]
pub struct Schemathesis {
    args: Vec<String>,
    examples: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What is wrong, and with which operations.
    pub failures: Vec<Failure>,
    /// How many requests were made.
    pub requests: u64,
    /// How many operations of the document were tried.
    pub operations: u64,
    /// All that it printed: each failure with the request that shows it, as a `curl` command.
    pub text: String,
}

/// One kind of failure.
#[derive(Debug, Deserialize)]
pub struct Failure {
    /// Such as `ServerError`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For people.
    pub title: String,
    /// Such as `GET /v1/messages/{id}`.
    pub operations: Vec<String>,
}

#[derive(Deserialize)]
struct Written {
    complete: bool,
    operations: Operations,
    test_cases: TestCases,
    failures: Vec<Failure>,
    errors: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Operations {
    tested: u64,
}

#[derive(Deserialize)]
struct TestCases {
    generated: u64,
}

impl Schemathesis {
    /// Of the API at this address, as the document at that one describes it.
    pub fn of(base_url: &str, openapi_url: &str) -> Schemathesis {
        let more = std::env::var("AVOUCH_TEST_SCHEMA_EXAMPLES").ok();
        let more = more.map(|text| text.parse().unwrap_or_else(|_| panic!("{text:?} is no number of examples")));
        let args = ["--no-color", "run", openapi_url, "--url", base_url];
        let asked = Schemathesis { args: args.map(str::to_owned).to_vec(), examples: more.unwrap_or(EXAMPLES) };
        // The suite asks the same each time; who asks for more wants to find something new.
        let remembering = ["--generation-database", "none"];
        if more.is_none() { asked.with(&["--generation-deterministic"]) } else { asked.with(&remembering) }
    }

    /// With a header in each request, such as `Authorization`.
    pub fn header(self, name: &str, value: &str) -> Schemathesis {
        self.with(&["--header", &format!("{name}: {value}")])
    }

    /// Without this path of the document: one that answers without an end, for instance.
    pub fn without_path(self, path: &str) -> Schemathesis {
        self.with(&["--exclude-path", path])
    }

    /// Without this operation of the document, by its id.
    pub fn without_operation(self, id: &str) -> Schemathesis {
        self.with(&["--exclude-operation-id", id])
    }

    /// Without one of its checks, such as `unsupported_method`.
    pub fn without_check(self, check: &str) -> Schemathesis {
        self.with(&["--exclude-checks", check])
    }

    /// Asks, and tells what came of it. Fails only if nothing could be asked.
    pub async fn run(self) -> Report {
        let dir = scratch::tmp("schemathesis");
        let file = dir.join("report.json");
        let examples = self.examples.to_string();
        let run = self.with(&[
            "--max-examples",
            &examples,
            "--continue-on-failure",
            "--request-timeout",
            REQUEST_MAX_SECONDS,
            "--report",
            "json",
            "--report-json-path",
            file.to_str().expect("the target directory has a UTF-8 name"),
        ]);
        let output = run.output(&dir).await;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let written = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Written>(&bytes).ok());
        let removed = std::fs::remove_dir_all(&dir);
        removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", dir.display()));
        let Some(written) = written else { panic!("schemathesis has written no report:\n{text}") };
        assert!(written.complete && written.errors.is_empty(), "schemathesis did not come to an end:\n{text}");
        let Written { failures, operations, test_cases, .. } = written;
        Report { failures, requests: test_cases.generated, operations: operations.tested, text }
    }

    fn with(mut self, args: &[&str]) -> Schemathesis {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    async fn output(&self, dir: &std::path::Path) -> Output {
        let mut command = Command::new(executable());
        command.args(&self.args).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
        let limit = EXAMPLE_MAX * self.examples;
        let ended = timeout(limit, command.output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("schemathesis did not end within {limit:?}: {:?}", self.args));
        ended.unwrap_or_else(|error| panic!("schemathesis cannot be started: {error}"))
    }
}

impl Report {
    /// Fails with all that it printed unless everything was asked and nothing found.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.operations > 0 && self.requests > 0, "nothing was asked:\n{}", self.text);
        assert!(self.failures.is_empty(), "{}", self.text);
    }
}

fn executable() -> PathBuf {
    let executable = scratch::target_dir().join("tools/schemathesis/bin/schemathesis");
    assert!(executable.is_file(), "no {}: run `.ci/setup test`", executable.display());
    executable
}
