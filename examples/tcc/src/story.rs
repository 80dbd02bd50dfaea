//! The story: two banks, and a transfer for each accident that its coordinator may have; then everything once more.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use avouch_example_stage::{Child, Outbox, Stage};
use clap::ValueEnum as _;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::books::{BANKS, Books, OPENING, Transfer};
use crate::coordinator::Step;

/// How long all transfers together may take to end, check-backs included.
const END_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What bank_b thinks of the transfer's payee.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Payee {
    Known,
    Unknown,
}

/// What happens to the coordinator.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accident {
    None,
    Dies(Step),
    /// Stands still until others have decided.
    Freezes(Step),
}

struct Case {
    name: &'static str,
    payee: Payee,
    accident: Accident,
}

const fn case(name: &'static str, payee: Payee, accident: Accident) -> Case {
    Case { name, payee, accident }
}

const CASES: &[Case] = &[
    case("nobody-dies", Payee::Known, Accident::None),
    case("refused", Payee::Unknown, Accident::None),
    case("dies-opened", Payee::Known, Accident::Dies(Step::Opened)),
    case("dies-prepared", Payee::Known, Accident::Dies(Step::Prepared)),
    case("dies-tried-one", Payee::Known, Accident::Dies(Step::TriedOne)),
    case("dies-tried-both", Payee::Known, Accident::Dies(Step::TriedBoth)),
    case("dies-deciding", Payee::Known, Accident::Dies(Step::Deciding)),
    case("dies-decided", Payee::Known, Accident::Dies(Step::Decided)),
    case("refused-dies-deciding", Payee::Unknown, Accident::Dies(Step::Deciding)),
    case("refused-dies-decided", Payee::Unknown, Accident::Dies(Step::Decided)),
    case("freezes-tried-one", Payee::Known, Accident::Freezes(Step::TriedOne)),
    case("freezes-tried-both", Payee::Known, Accident::Freezes(Step::TriedBoth)),
];

/// Runs the whole story, or only the transfers whose coordinator dies at this step. Returns whether the books balance.
pub async fn run(dir: &Path, die_at: Option<Step>) -> anyhow::Result<bool> {
    println!("starting a private Postgres, a private nats-server, the runtime and two banks …");
    let mut stage = Stage::open(dir).await?;
    let coordinator_url = stage.service("coordinator", Outbox::With, include_str!("coordinator.sql")).await?;
    let mut banks = Vec::new();
    for (bank, account) in BANKS {
        banks.push(make_bank(&mut stage, bank, account).await?);
    }
    stage.configure(include_str!("avouch.toml")).await?;
    stage.deploy("transfer-check", &["--source", "coordinator", "--grant", "nats:banks"]).await?;
    stage.start_runtime().await?;
    for bank in &mut banks {
        bank.start().await?;
    }
    for (bank, _) in BANKS {
        stage.wait_for_service(&format!("{bank}.look")).await?;
    }

    let chosen = |case: &&Case| die_at.is_none_or(|at| case.accident == Accident::Dies(at));
    let cases: Vec<&Case> = CASES.iter().filter(chosen).collect();
    let (mut coordinators, mut transfers) = (Vec::new(), Vec::new());
    for (n, case) in cases.iter().enumerate() {
        // Powers of two, so that a wrong balance tells which transfers it is made of.
        let transfer = Transfer { case: case.name, id: Uuid::now_v7(), amount: 1 << n };
        coordinators.push(case.begin(&stage, &coordinator_url, &transfer).await?);
        transfers.push(transfer);
    }
    let books = Books::open(&stage).await?;
    let deadline = Instant::now() + END_MAX;
    while !coordinators.iter().all(Child::has_ended) || !books.are_at_rest().await? {
        anyhow::ensure!(Instant::now() < deadline, "transfers are under way after {} s", END_MAX.as_secs());
        stage.check()?;
        banks.iter().try_for_each(Child::check)?;
        for (coordinator, transfer) in coordinators.iter().zip(&transfers) {
            if books.is_decided(transfer).await? {
                coordinator.resume()?;
            }
        }
        sleep(POLL).await;
    }
    for (coordinator, case) in coordinators.iter_mut().zip(&cases) {
        let ended = coordinator.wait(Duration::ZERO).await?;
        let log = coordinator.log();
        anyhow::ensure!(case.accident.explains(ended), "{} ended with {ended}: see {}", case.name, log.display());
    }
    stage.wait_for_consumers(&BANKS.map(|(bank, _)| bank)).await?;
    let balance = books.balance(&transfers).await?;
    println!("\n{balance}");

    let count = stage.repeat_all().await?;
    stage.wait_for_consumers(&BANKS.map(|(bank, _)| bank)).await?;
    let again = books.balance(&transfers).await?;
    let is_even = balance.is_even() && again == balance;
    match again == balance {
        true => println!("all {count} messages delivered once more: nothing changes"),
        false => println!("all {count} messages delivered once more CHANGE the books:\n\n{again}"),
    }
    drop((coordinators, banks, books));
    stage.close().await?;
    println!("{}", if is_even { "the books balance" } else { "the books do NOT balance" });
    Ok(is_even)
}

/// A bank with one account.
async fn make_bank(stage: &mut Stage, name: &'static str, account: &str) -> anyhow::Result<Child> {
    let account = format!("insert into accounts (name, balance) values ('{account}', {OPENING})");
    let tables = format!("{}{account}", include_str!("bank.sql"));
    let url = stage.service(name, Outbox::Without, &tables).await?;
    let args = ["bank", "--name", name, "--database-url", &url, "--nats-url", &stage.nats_url()];
    Child::service(name, stage.dir(), &args)
}

impl Case {
    /// Starts a coordinator for the transfer.
    async fn begin(&self, stage: &Stage, database_url: &str, transfer: &Transfer) -> anyhow::Result<Child> {
        let payee = if self.payee == Payee::Known { "bob" } else { "nobody" };
        let (id, amount, nats_url) = (transfer.id.to_string(), transfer.amount.to_string(), stage.nats_url());
        let mut args = vec!["coordinator", "--database-url", database_url, "--nats-url", &nats_url, "--id", &id];
        args.extend(["--debtor", "alice", "--payee", payee, "--amount", &amount]);
        let accident = self.accident.as_args();
        args.extend(accident.iter().map(String::as_str));
        let mut coordinator = Child::service(self.name, stage.dir(), &args)?;
        coordinator.start().await?;
        Ok(coordinator)
    }
}

impl Accident {
    /// Whether this is how a coordinator ends that has had this accident, and no other.
    fn explains(self, ended: ExitStatus) -> bool {
        match self {
            Accident::Dies(_) => ended.signal() == Some(Signal::SIGKILL as i32),
            Accident::None | Accident::Freezes(_) => ended.success(),
        }
    }

    fn as_args(self) -> Vec<String> {
        let (option, step) = match self {
            Accident::None => return Vec::new(),
            Accident::Dies(step) => ("--die-at", step),
            Accident::Freezes(step) => ("--freeze-at", step),
        };
        let step = step.to_possible_value().expect("no step is hidden from the command line");
        vec![option.to_owned(), step.get_name().to_owned()]
    }
}
