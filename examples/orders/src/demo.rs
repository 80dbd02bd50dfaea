//! The story: opens the shop, kills the order service once and the runtime once, repeats messages, closes the shop, balances the
//! books. Two of the consumers kill themselves.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use avouch_example_stage::{Child, Home, avouch_binary, deploy};
use avouch_runtime::dev::{Options, Servers};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::books::{Evenness, balance};
use crate::carrier::Carrier;
use crate::consumer::Consumer;
use crate::desk::Desk;
use crate::facts::Effects;
use crate::provider::Provider;
use crate::repeat::Repeater;
use crate::service::ATTEMPTS_MAX;
use crate::shop::{Shop, Waiting};
use crate::view::{Doors, FRAME, Picture, Screen, print};
use crate::{invoices, parcels, settings};

/// Not those of `avouch dev`, so that both can run; others if these are taken.
const POSTGRES_PORT: u16 = 15433;
const NATS_PORT: u16 = 14223;
/// A shop that stays open has its accidents as if it were open for so long.
const OPEN_SHOP: Duration = Duration::from_secs(30);
/// What is killed stays away for a tenth of the time, within these bounds.
const AWAY_MIN: Duration = Duration::from_millis(500);
const AWAY_MAX: Duration = Duration::from_secs(2);
/// How long the outbox may take to empty once the shop is closed, the lease of a killed runtime (6 s) included.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// So few waiting rows are the daily business of a relay that keeps up.
const BACKLOG_MIN: i64 = 20;

/// What happens to the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    KillService,
    StartService,
    KillRuntime,
    StartRuntime,
}

/// The order service dies at a third of the time, the runtime at two thirds.
fn plan(length: Option<Duration>) -> Vec<(Duration, Act)> {
    let third = length.unwrap_or(OPEN_SHOP) / 3;
    let away = (third * 3 / 10).clamp(AWAY_MIN, AWAY_MAX).min(third / 2);
    vec![
        (third, Act::KillService),
        (third + away, Act::StartService),
        (third * 2, Act::KillRuntime),
        (third * 2 + away, Act::StartRuntime),
    ]
}

/// Runs the whole demo; everything that it started has ended when it returns.
pub async fn run(dir: &Path, length: Option<Duration>, stop: CancellationToken) -> anyhow::Result<Evenness> {
    avouch_binary()?;
    let home = Home::take(dir).await?;
    print("starting a private Postgres and a private nats-server …\n")?;
    // Dropped half-way, it takes down whatever has been started.
    let opened = stop.run_until_cancelled(Demo::open(&home, length)).await;
    let Some(demo) = opened else { bail!("stopped before the shop was open") };
    demo?.play(stop).await
}

struct Demo {
    // In the order in which they are dropped when something fails: clients before servers.
    consumer: Consumer,
    invoices: Desk,
    parcels: Desk,
    repeater: Repeater,
    service: Child,
    runtime: Child,
    shop: Shop,
    carrier: Carrier,
    _provider: Provider,
    servers: Servers,
    screen: Screen,
    opened: Instant,
    length: Option<Duration>,
    picture: Picture,
    /// Committed and published at the last four frames, for the rates.
    trail: Vec<(Instant, i64, u64)>,
    /// Transactions of the order service so far.
    begun: i64,
    /// While a killed runtime or its successor is behind: the most rows that waited.
    backlog: Option<i64>,
}

impl Demo {
    async fn open(home: &Home, length: Option<Duration>) -> anyhow::Result<Self> {
        let (servers, shop) = start_servers(home).await?;
        shop.install().await?;
        let config = home.dir.join("avouch.toml");
        let provider = Provider::start(&servers.database_url()).await?;
        fs::write(&config, settings::text(&servers, &provider))
            .with_context(|| format!("writing {}", config.display()))?;
        // Half messages whose producer was killed are judged by these plugins.
        deploy(&config, "order-check", &["--grant", "sql:orders", "--set", "abandoned_after_s=2"]).await?;
        deploy(&config, "payment-http-check", &["--grant", "http:payments"]).await?;
        let mut runtime = Child::runtime(&home.dir, &config)?;
        runtime.start().await?;
        let nats_url = servers.nats_url();
        let consumer = tokio::select! {
            started = Consumer::start(&nats_url) => started?,
            error = runtime.ended() => return Err(error),
        };
        let carrier = Carrier::open(&servers.database_url()).await?;
        let (invoices, parcels) = open_desks(home, &servers, &carrier).await?;
        let repeater = Repeater::new(&nats_url).await?;
        let service_url = url_as(&servers, "order_service");
        let mut service =
            Child::service("order-service", &home.dir, &["order-service", "--database-url", &service_url])?;
        service.start().await?;
        let screen = Screen::new(doors(&servers, &config, &runtime, &service)?);
        screen.open()?;
        Ok(Self {
            consumer,
            invoices,
            parcels,
            repeater,
            service,
            runtime,
            shop,
            carrier,
            _provider: provider,
            servers,
            screen,
            opened: Instant::now(),
            length,
            picture: Picture::default(),
            trail: Vec::new(),
            begun: 0,
            backlog: None,
        })
    }

    async fn play(mut self, stop: CancellationToken) -> anyhow::Result<Evenness> {
        self.picture.service = alive(&self.service);
        self.picture.runtime = alive(&self.runtime);
        self.tell("the shop is open")?;
        self.trade(&stop).await?;
        self.tell("the shop closes: the order service stops, the outbox drains")?;
        self.service.stop().await?;
        self.picture.service = "closed".into();
        self.drain().await?;
        self.invoices.stop().await?;
        self.parcels.stop().await?;
        self.runtime.stop().await?;
        self.close_books().await
    }

    /// Watches the shop, and does what the plan says, until its time is over.
    async fn trade(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let until = self.length.map_or_else(|| "Ctrl-C".to_owned(), |length| format!("{} s", length.as_secs()));
        self.picture.phase = format!("the shop is open until {until}");
        let mut plan = plan(self.length).into_iter().peekable();
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(frames.tick()).await.is_some() {
            let elapsed = self.opened.elapsed();
            if self.length.is_some_and(|length| elapsed >= length) {
                break;
            }
            while let Some((_, act)) = plan.next_if(|(at, _)| elapsed >= *at) {
                self.act(act).await?;
            }
            self.repeater.repeat().await?;
            self.look().await?;
            if self.begun >= ATTEMPTS_MAX {
                self.picture.phase = format!("sold out after {ATTEMPTS_MAX} transactions; Ctrl-C balances the books");
            }
        }
        // A shop that closes early leaves nobody dead.
        for (_, act) in plan {
            match act {
                Act::StartRuntime if self.runtime.pid().is_none() => self.act(act).await?,
                Act::StartRuntime | Act::StartService | Act::KillService | Act::KillRuntime => {}
            }
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::KillService => {
                // Frozen first: what it has open can be counted, and does not change any more.
                self.service.freeze()?;
                self.shop.settle().await?;
                let gone = counted(self.shop.transactions().await?.unfinished(), "open transaction");
                let kept = counted(self.shop.waiting().await?.prepared, "half message");
                self.service.kill()?;
                self.picture.service = "KILLED".into();
                self.tell(&format!("order service killed with SIGKILL. Gone: {gone}. Kept, undecided: {kept}"))
            }
            Act::StartService => {
                self.service.start().await?;
                self.picture.service = format!("back, {}", alive(&self.service));
                self.tell("order service started again")
            }
            Act::KillRuntime => {
                self.runtime.kill()?;
                self.picture.runtime = "KILLED".into();
                self.backlog = Some(0);
                self.tell("runtime killed with SIGKILL: orders go on, the outbox keeps their messages")
            }
            Act::StartRuntime => {
                self.runtime.start().await?;
                self.picture.runtime = format!("back, {}", alive(&self.runtime));
                self.tell("runtime started again: it waits for the dead one's lease to run out (6 s), then catches up")
            }
        }
    }

    /// Waits until nothing is left to be sent, delivered or consumed, for a bounded time.
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.picture.phase = "closing: the outbox drains".into();
        let deadline = Instant::now() + DRAIN_MAX;
        let mut frames = interval(FRAME);
        loop {
            frames.tick().await;
            let waiting = self.look().await?;
            let (rows, behind) = (waiting.ready + waiting.delayed + waiting.prepared, self.consumer.behind().await?);
            let awaited = self.shop.awaited().await?;
            if rows + awaited == 0 && behind == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = DRAIN_MAX.as_secs();
                return self.tell(&format!(
                    "NOT drained after {seconds} s: {rows} rows wait, {awaited} are awaited, the consumers are {behind} behind"
                ));
            }
        }
    }

    /// Witnesses, none of whom knows what another one says.
    async fn close_books(mut self) -> anyhow::Result<Evenness> {
        self.look().await?;
        print("\nreading the books …\n")?;
        let ledger = self.shop.read_all().await?;
        let stream = Consumer::read_back(&self.servers.nats_url()).await?;
        let seen = self.consumer.stop().await?;
        let effects = Effects {
            invoiced: self.shop.read_invoices().await?,
            booked: self.carrier.read_all().await?,
            done: self.shop.read_done().await?,
            kills: (self.invoices.kills, self.parcels.kills),
            repeated: self.repeater.count,
        };
        self.servers.stop().await?;
        let balance = balance(&ledger, &stream, &seen, effects);
        print(&format!("\n{balance}\n\n"))?;
        Ok(balance.evenness())
    }

    /// Brings the picture up to date and draws it.
    async fn look(&mut self) -> anyhow::Result<Waiting> {
        self.runtime.check()?;
        self.service.check()?;
        self.invoices.look().await?;
        self.parcels.look().await?;
        let (transactions, waiting) = (self.shop.transactions().await?, self.shop.waiting().await?);
        let published = self.consumer.published().await?;
        let now = Instant::now();
        self.trail.push((now, transactions.committed, published));
        self.trail.retain(|(at, ..)| now.duration_since(*at) <= Duration::from_millis(1100));
        let (then, committed, earlier) =
            self.trail.first().copied().unwrap_or((now, transactions.committed, published));
        let span_ms = i64::try_from(now.duration_since(then).as_millis()).unwrap_or(1).max(1);
        self.begun = transactions.begun;
        let p = &mut self.picture;
        p.elapsed = self.opened.elapsed();
        (p.committed, p.rolled_back) = (transactions.committed, transactions.rolled_back);
        p.committed_per_s = (transactions.committed - committed) * 1000 / span_ms;
        (p.ready, p.delayed, p.prepared) = (waiting.ready, waiting.delayed, waiting.prepared);
        p.published = published;
        p.invoices = (self.shop.invoices().await?, self.invoices.kills);
        p.parcels = (self.carrier.parcels().await?, self.parcels.kills);
        p.published_per_s = published.saturating_sub(earlier) * 1000 / span_ms.unsigned_abs();
        {
            let seen = self.consumer.seen();
            (p.consumed, p.redelivered, p.out_of_order) = (seen.acked.len(), seen.redelivered, seen.out_of_order.len());
        }
        self.note_backlog(waiting.ready)?;
        self.screen.draw(&self.picture)?;
        Ok(waiting)
    }

    fn note_backlog(&mut self, ready: i64) -> anyhow::Result<()> {
        let Some(most) = self.backlog else { return Ok(()) };
        if self.runtime.pid().is_none() || ready >= BACKLOG_MIN || most < BACKLOG_MIN {
            self.backlog = Some(most.max(ready));
            return Ok(());
        }
        self.backlog = None;
        self.tell(&format!("runtime has caught up: up to {most} messages had waited"))
    }

    fn tell(&mut self, what: &str) -> anyhow::Result<()> {
        Ok(self.screen.tell(self.opened.elapsed(), what)?)
    }
}

/// Both servers, without anything of an earlier demo. Below /root, Postgres keeps its data elsewhere, so that removing
/// our directory was not enough.
async fn start_servers(home: &Home) -> anyhow::Result<(Servers, Shop)> {
    let options =
        Options { dir: home.dir.clone(), postgres_port: POSTGRES_PORT, nats_port: NATS_PORT, plugins: Vec::new() };
    let mut servers = Servers::start(&options).await?;
    let shop = Shop::connect(&servers.database_url()).await?;
    if !shop.is_there().await? {
        return Ok((servers, shop));
    }
    drop(shop);
    servers.stop().await?;
    let data = servers.postgres.dir();
    fs::remove_dir_all(data).with_context(|| format!("removing the last demo's {}", data.display()))?;
    let servers = Servers::start(&options).await?;
    let shop = Shop::connect(&servers.database_url()).await?;
    Ok((servers, shop))
}

/// The two consumers that are processes of their own.
async fn open_desks(home: &Home, servers: &Servers, carrier: &Carrier) -> anyhow::Result<(Desk, Desk)> {
    let (database_url, nats_url) = (url_as(servers, "invoicing"), servers.nats_url());
    let args = ["--database-url", &database_url, "--nats-url", &nats_url];
    let invoices = Desk::open(invoices::NAME, &home.dir, &args).await?;
    let args = ["--carrier-url", &carrier.url, "--nats-url", &nats_url];
    Ok((invoices, Desk::open(parcels::NAME, &home.dir, &args).await?))
}

fn url_as(servers: &Servers, role: &str) -> String {
    servers.database_url().replacen("postgres@", &format!("{role}@"), 1)
}

fn doors(servers: &Servers, config: &Path, runtime: &Child, service: &Child) -> anyhow::Result<Doors> {
    let here = std::env::current_dir().context("finding the current directory")?;
    let short = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    Ok(Doors {
        lines: vec![
            "look inside:".into(),
            format!("  psql {}", servers.database_url()),
            format!("  nats --server {} sub 'msg.>'    (or any NATS client)", servers.nats_url()),
            format!("  {} --config {} status", short(&avouch_binary()?), short(config)),
            format!("  less {} {}", short(&runtime.log()), short(&service.log())),
        ],
    })
}

fn counted(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn alive(child: &Child) -> String {
    child.pid().map_or_else(|| "not running".to_owned(), |pid| format!("pid {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_killed_once_and_back_before_the_shop_closes() {
        for seconds in [1, 10, 60, 3600] {
            let length = Duration::from_secs(seconds);
            let plan = plan(Some(length));
            assert!(plan.is_sorted_by_key(|(at, _)| *at) && plan.iter().all(|(at, _)| *at < length), "{plan:?}");
        }
    }

    #[test]
    fn open_shop_has_its_accidents_at_ten_and_twenty_seconds() {
        let times: Vec<u64> = plan(None).iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(times, [10, 12, 20, 22]);
    }
}
