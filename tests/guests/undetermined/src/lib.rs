//! What a plugin must not do: its answer depends on when it is asked.

avouch_sdk::manifest!("plugin.toml");

#[avouch_sdk::idempotency]
mod rule {
    use avouch_sdk::prelude::*;

    #[identify]
    pub(super) fn identify(_consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError> {
        // Some milliseconds of work: the next call sees another time.
        let worked = (0..5_000_000u64).fold(m.payload_bytes, |sum, n| std::hint::black_box(sum ^ n));
        Ok(Identity::key(format!("{}-{}-{worked}", m.id, cx.now_ms())))
    }
}
