//! Whatever goes wrong, in any order: the books of a short run of `make chaos` balance.

use std::process::Stdio;

use avouch_tests::wait::secs;
use tokio::process::Command;
use tokio::time::timeout;

use crate::ground::rounds;

/// Some hundred messages, so that other tests have a machine too.
const RATE_PER_S: &str = "60";
const SECONDS: u32 = 20;
/// Starting, healing, draining and checking, on a machine that others use.
const MORE_S: u64 = 400;

/// In a process of its own, which has mounts of its own. Its output has the seed, what was done, and the first violations.
#[tokio::test]
async fn random_faults_lose_invent_and_reorder_nothing() {
    let seconds = rounds("AVOUCH_TEST_CHAOS_SECONDS", SECONDS);
    let mut rig = Command::new(env!("CARGO_BIN_EXE_avouch-chaos"));
    rig.env("CHAOS_SECONDS", seconds.to_string()).env("CHAOS_RATE", RATE_PER_S).env_remove("CHAOS_FORGET");
    rig.stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(secs(u64::from(seconds) + MORE_S), rig.output()).await;
    let output = ended.expect("a run ends").expect("the rig can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("GREEN"), "{told}");
}
