//! Outside parties, and what the broker keeps beside messages: what is broken there on purpose is told.

use async_nats::jetstream::kv;

use super::*;

/// Tells an endpoint whose plugin recognises repeated work and nothing else.
const MERCHANT: &str = "[notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\n\
                        [endpoint.merchant]\nurl = \"http://127.0.0.1:9/hook\"\ntopics = [\"payments.>\"]\n\
                        secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\nplugin = \"fingerprint\"\n";

#[tokio::test]
async fn endpoint_that_nobody_can_tell_is_named_with_the_plugin_that_it_needs() {
    let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
    let broken = Installation::new(&format!("{MERCHANT}[rules]\ncache_dir = {cache:?}\n")).await;
    let findings = broken.findings().await;
    findings.only(&["missing_plugin"], &["runtimes"]);
    findings.names("missing_plugin", "endpoint merchant: plugin fingerprint", "avouch plugin deploy");
    let file = File::new("avouch.toml", &broken.config);
    let wasm = plugins::file("fingerprint");
    let deploy = ["plugin", "deploy", wasm.to_str().expect("a UTF-8 path"), "--config", file.path()];
    avouch(&deploy, &[]).await.succeeds();
    let of_api = "insert into avouch.endpoint (name, url, topics, settings, origin) \
                  values ('bank', 'https://bank.example/', '{payments.>}', '{\"plugin\": \"fingerprint\"}', 'api')";
    broken.ground.client.batch_execute(of_api).await.expect("is valid");
    let findings = broken.findings().await;
    findings.only(&["missing_plugin"], &["runtimes"]);
    findings.names("missing_plugin", "endpoint merchant and 1 more: plugin fingerprint", "avouch plugin deploy");
    findings.names("missing_plugin", "has no rule notification", "avouch plugin deploy");
}

#[tokio::test]
async fn endpoints_in_trouble_are_named_with_what_to_do() {
    let broken = Installation::new("").await;
    let endpoints = "insert into avouch.endpoint (name, url, topics, settings, origin, state, reason, failing_since) \
                     select name, 'https://x.example/', '{payments.>}', '{}', 'api', state, reason, since \
                     from (values ('gone', 'disabled', 'it answered 410', null), \
                                  ('slow', 'enabled', null, now() - interval '1 hour'), ('late', 'enabled', null, null), \
                                  ('pinged', 'enabled', null, null)) e (name, state, reason, since); \
                     insert into avouch.delivery (endpoint, message_id, state, rounds, ended_at) \
                     select e.id, avouch.uuid_v7(), 'given_up', case e.name when 'late' then 1 else 0 end, now() \
                     from avouch.endpoint e where e.name in ('late', 'pinged')";
    broken.ground.client.batch_execute(endpoints).await.expect("is valid");
    let findings = broken.findings().await;
    findings.only(&[], &["endpoint_disabled", "endpoint_failing", "given_up", "runtimes"]);
    findings.names("endpoint_disabled", "endpoint gone: it is disabled: it answered 410", "endpoint enable gone");
    findings.names("endpoint_failing", "endpoint slow: no try has succeeded for 60 min", "endpoint ping slow");
    findings.names("given_up", "endpoint late: 1 messages", "avouch endpoint resend late --since 7d");
}

#[tokio::test]
async fn bucket_that_forgets_too_early_is_named() {
    let bucket = format!("doctor_{}", Uuid::now_v7().simple());
    let more = format!("[consumer.billing]\n[inbox]\nstore = \"kv\"\n[inbox.kv]\nbucket = {bucket:?}\n");
    let broken = Installation::new(&more).await;
    let findings = broken.findings().await;
    findings.only(&[], &["runtimes"]);
    findings.names("bucket", "it is not there yet", "avouch run makes it");
    let made = kv::Config { bucket: bucket.clone(), max_age: secs(3600), ..kv::Config::default() };
    broken.ground.jetstream.create_key_value(made).await.expect("it can be made");
    let findings = broken.findings().await;
    findings.only(&["bucket_ttl"], &["runtimes"]);
    findings.names("bucket_ttl", "forgets records after 3600 s", &format!("KV_{bucket} --max-age 240h"));
}

#[tokio::test]
async fn stream_of_dead_letters_that_cannot_be_made_or_forgets_too_early_is_named() {
    let name = format!("DEAD_{}", Uuid::now_v7().simple());
    let more = format!("[recovery]\ndead_stream = {name:?}\ndead_prefix = \"dead-{name}\"\n");
    let broken = Installation::new(&more).await;
    broken.stream_with(|_| {}).await;
    let other = StreamConfig {
        name: format!("OTHER_{name}"),
        subjects: vec![format!("dead-{name}.>")],
        max_age: secs(3600),
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        ..StreamConfig::default()
    };
    broken.ground.jetstream.create_stream(other.clone()).await.expect("it can be made");
    let findings = broken.findings().await;
    findings.only(&["stream"], &["runtimes"]);
    findings.names("stream", &format!("OTHER_{name} takes its subjects"), "take the subjects away from it");
    broken.ground.jetstream.delete_stream(&other.name).await.expect("it was made");
    broken.ground.jetstream.create_stream(StreamConfig { name, ..other }).await.expect("it can be made");
    let findings = broken.findings().await;
    findings.only(&[], &["max_age", "runtimes"]);
    findings.names("max_age", "keeps dead letters for 3600 s", "--max-age 604800s");
}
