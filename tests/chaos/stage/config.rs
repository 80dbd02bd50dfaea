//! The configuration of a run: short leases and pauses, so that half an hour sees many of them.

use avouch_tests::scratch;

use super::STREAM;
use crate::load::topics;

/// Consumers wait for long outages without anything becoming dead: only what is lost for good would.
const PATIENCE: &str = "ack_wait_ms = 3000\ndeadline_ms = 6000\ngenerations_max = 100000\n";

/// What `avouch run` is started with.
pub fn text(database: &str, nats: &str, checker: &str) -> String {
    let cache = scratch::profile_dir().join("plugin-cache");
    let [plain, once, gate] =
        topics::CONSUMERS.map(|(name, topics)| format!("[consumer.{name}]\ntopics = {topics:?}\n{PATIENCE}"));
    let (rated, rate) = topics::RATED;
    format!(
        "[source.main]\nurl = {database:?}\nconnect_timeout_ms = 2000\nstatement_timeout_ms = 5000\n\
         [nats]\nurl = {nats:?}\nrequest_timeout_ms = 2000\nping_interval_ms = 1000\n\
         [stream.{STREAM}]\nsubject_prefix = \"msg\"\n\
         [topic.{rated:?}]\nrate_per_s = {rate}\n\
         [shards]\nlease_ms = 2000\n\
         [relay]\nack_timeout_ms = 2000\nretry_max_ms = 500\n\
         [doorbell]\nheartbeat_ms = 1000\n\
         [receipts]\nevery_ms = 200\ngrace_ms = 1000\n\
         [recovery]\nevery_ms = 200\n\
         [checkback]\npoll_max_ms = 200\nclaim_ms = 4000\nin_progress_ms = 500\nunknown_first_ms = 200\nunknown_max_ms = 1000\n\
         unknowns_max = 100000\nbroken_first_ms = 200\nbroken_max_ms = 1000\n\
         [checker.order-check]\nrollback_after_ms = 0\n\
         [rules]\ndeadline_ms = 1000\ncache_dir = {cache:?}\n\
         [binding.sql.orders]\nurl = {checker:?}\n\
         {plain}{once}receipt = \"inbox\"\n{gate}receipt = \"inbox\"\nlease_ms = 2000\nattempts_max = 1000\nretry_max_ms = 500\nretry_first_ms = 100\n"
    )
}
