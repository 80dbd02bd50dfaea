//! The story: an order for each accident that the two services may have; then everything once more.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avouch_example_stage::{Child, Outbox, Stage};
use clap::ValueEnum;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::books::{APPLES, Books, WALLET};
use crate::shop::{self, Order};
use crate::stock;

/// How long one order may take, its accident included.
const ORDER_MAX: Duration = Duration::from_secs(30);
/// A customer who hears nothing asks again after so long.
const PATIENCE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(20);
const DURABLES: [&str; 2] = ["shop", "stock"];

#[derive(Clone, Copy)]
enum Accident {
    None,
    Shop(shop::Step),
    Stock(stock::Step),
}

/// What happens, and how many apples are ordered.
const CASES: &[(&str, Accident, i32)] = &[
    ("nobody dies", Accident::None, SOME),
    ("nobody dies", Accident::None, TOO_MANY),
    ("shop dies placing", Accident::Shop(shop::Step::Placing), SOME),
    ("shop dies placed", Accident::Shop(shop::Step::Placed), SOME),
    ("stock dies answering", Accident::Stock(stock::Step::Answering), SOME),
    ("stock dies answered", Accident::Stock(stock::Step::Answered), SOME),
    ("shop dies concluding", Accident::Shop(shop::Step::Concluding), SOME),
    ("shop dies concluded", Accident::Shop(shop::Step::Concluded), SOME),
    ("stock dies answering", Accident::Stock(stock::Step::Answering), TOO_MANY),
    ("stock dies answered", Accident::Stock(stock::Step::Answered), TOO_MANY),
    ("shop dies concluding", Accident::Shop(shop::Step::Concluding), TOO_MANY),
    ("shop dies concluded", Accident::Shop(shop::Step::Concluded), TOO_MANY),
];
const SOME: i32 = 3;
const TOO_MANY: i32 = APPLES + 1;

/// Runs the whole story. Returns whether the books balance.
pub async fn run(dir: &Path) -> anyhow::Result<bool> {
    println!("starting a private Postgres, a private nats-server, the runtime and two services …");
    let mut stage = Stage::open(dir).await?;
    let wallet = format!("insert into wallets (customer, balance) values ('carol', {WALLET})");
    let shop = stage.service("shop", Outbox::With, &format!("{}{wallet}", include_str!("shop.sql"))).await?;
    let apples = format!("insert into items (name, quantity) values ('apples', {APPLES})");
    let stock = stage.service("stock", Outbox::With, &format!("{}{apples}", include_str!("stock.sql"))).await?;
    stage.configure(include_str!("avouch.toml")).await?;
    stage.start_runtime().await?;
    let books = Books::open(&stage).await?;
    let mut town = Town::open(&stage, shop, stock).await?;

    let mut orders = Vec::new();
    for (n, (name, accident, quantity)) in (0..).zip(CASES) {
        town.arrange(*accident).await?;
        // Prices are powers of two, so that a wrong balance tells which orders it is made of.
        let order = Order {
            id: Uuid::now_v7(),
            customer: "carol".to_owned(),
            item: "apples".to_owned(),
            quantity: *quantity,
            price: 1 << n,
        };
        town.order(&order, &books).await?;
        stage.check()?;
        // What was not acknowledged is delivered again now, and not in the middle of the next accident.
        stage.wait_for_consumers(&DURABLES).await?;
        orders.push((*name, order));
    }
    let balance = books.balance(&orders).await?;
    println!("\n{balance}");

    let count = stage.repeat_all().await?;
    stage.wait_for_consumers(&DURABLES).await?;
    let again = books.balance(&orders).await?;
    if again == balance {
        println!("all {count} messages delivered once more: nothing changes");
    } else {
        println!("all {count} messages delivered once more CHANGE the books:\n\n{again}");
    }
    let is_even = balance.is_even() && again == balance;
    drop((town, books));
    stage.close().await?;
    println!("{}", if is_even { "the books balance" } else { "the books do NOT balance" });
    Ok(is_even)
}

/// Both services, and a customer.
struct Town {
    shop: Service,
    stock: Service,
    nats: async_nats::Client,
}

impl Town {
    async fn open(stage: &Stage, shop_url: String, stock_url: String) -> anyhow::Result<Self> {
        let options = async_nats::ConnectOptions::new().request_timeout(Some(PATIENCE));
        Ok(Self {
            shop: Service::new("shop", stage, shop_url),
            stock: Service::new("stock", stage, stock_url),
            nats: options.connect(stage.nats_url()).await?,
        })
    }

    /// Starts both services anew, one of them to have an accident.
    async fn arrange(&mut self, accident: Accident) -> anyhow::Result<()> {
        let (shop, stock) = match accident {
            Accident::None => (None, None),
            Accident::Shop(step) => (Some(name_of(step)), None),
            Accident::Stock(step) => (None, Some(name_of(step))),
        };
        self.shop.start(shop).await?;
        self.stock.start(stock).await
    }

    /// Places an order as customers do: whoever hears nothing asks again, for the same order. Whoever dies is started again.
    async fn order(&mut self, order: &Order, books: &Books) -> anyhow::Result<()> {
        let body = serde_json::to_vec(order)?;
        let deadline = Instant::now() + ORDER_MAX;
        let mut is_placed = false;
        while !(is_placed && books.is_concluded(order).await? && self.shop.is_safe() && self.stock.is_safe()) {
            anyhow::ensure!(Instant::now() < deadline, "an order takes longer than {} s", ORDER_MAX.as_secs());
            is_placed = is_placed || self.nats.request("shop.place", body.clone().into()).await.is_ok();
            self.shop.revive().await?;
            self.stock.revive().await?;
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// A service of the story, of this very executable.
struct Service {
    name: &'static str,
    dir: PathBuf,
    database_url: String,
    nats_url: String,
    process: Option<Child>,
    /// Its accident is still to come.
    awaits_accident: bool,
}

impl Service {
    fn new(name: &'static str, stage: &Stage, database_url: String) -> Self {
        let (dir, nats_url) = (stage.dir().to_owned(), stage.nats_url());
        Self { name, dir, database_url, nats_url, process: None, awaits_accident: false }
    }

    /// Starts it anew.
    async fn start(&mut self, die_at: Option<String>) -> anyhow::Result<()> {
        drop(self.process.take());
        self.awaits_accident = die_at.is_some();
        let mut args = vec![self.name, "--database-url", &self.database_url, "--nats-url", &self.nats_url];
        args.extend(die_at.iter().flat_map(|step| ["--die-at", step]));
        let mut process = Child::service(self.name, &self.dir, &args)?;
        process.start().await?;
        self.process = Some(process);
        Ok(())
    }

    /// Starts it again after its accident.
    async fn revive(&mut self) -> anyhow::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if !self.awaits_accident || !process.has_ended() {
            return process.check();
        }
        let ended = process.wait(Duration::ZERO).await?;
        let is_accident = ended.signal() == Some(Signal::SIGKILL as i32);
        anyhow::ensure!(is_accident, "{} ended with {ended}: see {}", self.name, process.log().display());
        self.start(None).await
    }

    fn is_safe(&self) -> bool {
        !self.awaits_accident
    }
}

fn name_of(step: impl ValueEnum) -> String {
    step.to_possible_value().expect("no step is hidden from the command line").get_name().to_owned()
}
