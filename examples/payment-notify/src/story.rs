//! The story: four payments, and what can happen to the word about each.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use avouch_example_stage::{Outbox, Stage};
use avouch_runtime::signature::{Key, Sort};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::sleep;
use uuid::Uuid;

use crate::clock::{Clock, Told};
use crate::merchant::{Merchant, Mood};
use crate::shop::{Shop, TOPIC};

const MERCHANT: &str = "17";
const ENDPOINT: &str = "merchant-17";
/// Tries of the default schedule.
const TRIES: i32 = 9;

/// Everybody in it.
struct Town {
    shop: Shop,
    merchant: Merchant,
    clock: Clock,
    /// Where merchants ask.
    avouch: SocketAddr,
    /// What this one asks with.
    token: String,
}

/// Runs the whole story. Returns whether the books balance.
pub async fn run(dir: &Path) -> anyhow::Result<bool> {
    println!("starting a private Postgres, a private nats-server, the runtime and a merchant …");
    let began = OffsetDateTime::now_utc() - Duration::from_secs(1);
    let secret = Key::make(Sort::Shared)?;
    let avouch = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let merchant = Merchant::new(&secret)?;
    let mut stage = Stage::open(dir).await?;
    let url = stage.service("shop", Outbox::With, include_str!("shop.sql")).await?;
    let config = include_str!("avouch.toml").replace("LISTEN", &avouch.to_string());
    stage.configure(&config.replace("URL", &merchant.url()).replace("SECRET", &secret)).await?;
    stage.start_runtime().await?;
    let token = stage.avouch(&["endpoint", "token", "create", ENDPOINT, "--json", "--source", "shop"]).await?;
    let token: serde_json::Value = serde_json::from_str(&token).context("what endpoint token create says")?;
    let token = token["secret"].as_str().context("a token has a secret")?.to_owned();
    let clock = Clock::open(&stage.url_of_owner("shop")).await?;
    let mut town = Town { shop: Shop::open(&url).await?, merchant, clock, avouch, token };

    town.told_at_once().await?;
    town.down_for_three_tries().await?;
    town.dies_after_it_noted().await?;
    let lost = town.broken_for_a_day().await?;
    stage.check()?;
    town.told_again(&stage, lost).await?;
    let is_even = town.reconcile(began).await? && town.balance();
    drop(town);
    stage.close().await?;
    println!("{}", if is_even { "the books balance" } else { "the books do NOT balance" });
    Ok(is_even)
}

impl Town {
    async fn told_at_once(&mut self) -> anyhow::Result<()> {
        println!("\npayment-41, 10.00: the merchant is well");
        self.merchant.open(Mood::Well)?;
        let message = self.shop.settle(MERCHANT, "payment-41", 1_000).await?;
        self.expect(message, 1, "delivered").await.map(drop)
    }

    async fn down_for_three_tries(&mut self) -> anyhow::Result<()> {
        println!("\npayment-42, 20.00: the merchant's server is down");
        self.merchant.close();
        let message = self.shop.settle(MERCHANT, "payment-42", 2_000).await?;
        for attempt in 1..=3 {
            self.expect(message, attempt, "waiting").await?;
            if attempt < 3 {
                self.clock.pass().await?;
            }
        }
        println!("  the merchant comes back and has heard nothing of payment-42: it asks");
        let question = format!("messages?topic={TOPIC}&key=payment-42");
        let answer = self.merchant.ask(self.avouch, &self.token, &question).await?;
        let found = &answer["messages"][0];
        let id = found["id"].as_str().context("the message is known")?.to_owned();
        ensure!(id == message.to_string() && found["state"] == "waiting", "not what is waiting: {answer}");
        let whole = self.merchant.ask(self.avouch, &self.token, &format!("messages/{id}")).await?;
        self.merchant.note(&id, whole["payload"]["data"].as_str().context("a payload")?)?;
        println!("  answered, signed: it is {}, tried {} times; credited", found["state"], found["attempts"]);
        self.merchant.open(Mood::Well)?;
        self.clock.pass().await?;
        self.expect(message, 4, "delivered").await?;
        ensure!(self.merchant.repeats() == 1, "what it had asked for came as if it were new");
        println!("  told under the same webhook-id: known already, credited once");
        Ok(())
    }

    async fn dies_after_it_noted(&mut self) -> anyhow::Result<()> {
        println!("\npayment-43, 30.00: the merchant notes it, and dies before it answers");
        self.merchant.open(Mood::Dying)?;
        let message = self.shop.settle(MERCHANT, "payment-43", 3_000).await?;
        while !self.merchant.credited().contains_key("payment-43") {
            sleep(Duration::from_millis(10)).await;
        }
        self.merchant.close();
        self.expect(message, 1, "waiting").await?;
        self.merchant.open(Mood::Well)?;
        self.clock.pass().await?;
        self.expect(message, 2, "delivered").await?;
        ensure!(self.merchant.repeats() == 2, "it was credited again");
        println!("  told again under the same webhook-id: credited once");
        Ok(())
    }

    async fn broken_for_a_day(&mut self) -> anyhow::Result<Uuid> {
        println!("\npayment-44, 40.00: the merchant answers 500 for a day");
        self.merchant.open(Mood::Broken)?;
        let message = self.shop.settle(MERCHANT, "payment-44", 4_000).await?;
        for attempt in 1..TRIES {
            self.expect(message, attempt, "waiting").await?;
            self.clock.pass().await?;
        }
        self.expect(message, TRIES, "given_up").await?;
        Ok(message)
    }

    async fn told_again(&mut self, stage: &Stage, message: Uuid) -> anyhow::Result<()> {
        println!("  an operator, once the merchant is mended: avouch endpoint resend {ENDPOINT} {message}");
        self.merchant.open(Mood::Well)?;
        stage
            .avouch(&[
                "endpoint",
                "resend",
                ENDPOINT,
                &message.to_string(),
                "--reason",
                "the merchant is mended",
                "--source",
                "shop",
            ])
            .await?;
        self.clock.pass().await?;
        self.expect(message, 1, "delivered").await.map(drop)
    }

    /// Whether what Avouch knows of this time is what the merchant has.
    async fn reconcile(&self, began: OffsetDateTime) -> anyhow::Result<bool> {
        let (from, to) =
            (began.format(&Rfc3339)?, (OffsetDateTime::now_utc() + Duration::from_secs(1)).format(&Rfc3339)?);
        let question = format!("windows?from={}&to={}&step_s=86400", from.replace('+', "%2B"), to.replace('+', "%2B"));
        let answer = self.merchant.ask(self.avouch, &self.token, &question).await?;
        let windows = answer["windows"].as_array().context("windows")?;
        // The story is shorter than a day, and may be told at midnight all the same: windows begin where it did.
        let (count, digest) = self.merchant.digest();
        let is_equal = windows.len() == 1 && windows[0]["count"] == count && windows[0]["digest"] == digest.as_str();
        println!(
            "\ncompared with Avouch's list: {count} messages, {}",
            if is_equal { "the same digest" } else { "ANOTHER digest" }
        );
        Ok(is_equal)
    }

    /// Each payment is credited once, with its own amount.
    fn balance(&self) -> bool {
        let credited = self.merchant.credited();
        let total: i64 = credited.values().sum();
        println!(
            "settled 100.00 in 4 payments; the merchant has credited {}.{:02} in {}",
            total / 100,
            total % 100,
            credited.len()
        );
        credited.len() == 4 && total == 10_000
    }

    async fn expect(&self, message: Uuid, attempts: i32, state: &str) -> anyhow::Result<Told> {
        let told = self.clock.tried(message, attempts).await?;
        match told.state.as_str() {
            "waiting" => println!("  try {}: {}; the next in {}", told.attempts, told.reason, pause(told.pause_s)),
            "delivered" => println!("  try {}: delivered", told.attempts),
            _ => println!("  try {}: {}; given up, and alarmed", told.attempts, told.reason),
        }
        ensure!(told.state == state && told.attempts == attempts, "expected try {attempts} to be {state}: {told:?}");
        Ok(told)
    }
}

fn pause(seconds: i64) -> String {
    match seconds {
        0..=5_399 => format!("{} min", seconds / 60),
        _ => format!("{} h", (seconds + 1_800) / 3_600),
    }
}
