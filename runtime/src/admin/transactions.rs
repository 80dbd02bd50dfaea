//! Transactions over the API: listed, shown, decided by people.

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::body::{Body, Path, Query};
use super::bulk::by;
use super::caller::{Caller, Operator, Viewer};
use super::problem::Problem;
use super::state::State;
use super::tokens::Reason;
use crate::store::views::{Event, Transaction};

const STATES: [&str; 4] = ["prepared", "committed", "rolled_back", "in_doubt"];
const ROWS: i64 = 50;
const ROWS_MAX: i64 = 500;

/// Which transactions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// In these states, with commas between: prepared, committed, `rolled_back`, `in_doubt`; the undecided ones unless it is said.
    state: Option<String>,
    /// Of this checker.
    checker: Option<String>,
    /// Where the answer before this one ended.
    cursor: Option<Uuid>,
    /// At most so many, 50 if it is not said, 500 at most.
    limit: Option<i64>,
}

/// An answer. It may hold fewer than were asked for, and still have a cursor: it looked as far as one answer looks.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Listed {
    /// Newest first.
    pub transactions: Vec<Transaction>,
    /// Where the next answer goes on; none: there are no more.
    pub cursor: Option<Uuid>,
}

/// Transactions, newest first.
#[utoipa::path(get, path = "/v1/transactions", tag = "transactions", security(("token" = ["view"])), params(Filter),
    responses((status = 200, body = Listed)))]
pub async fn list_transactions(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed>, Problem> {
    let states = states_of(filter.state.as_deref())?;
    let rows = rows_of(filter.limit)?;
    let (transactions, cursor) =
        state.store.transactions(&states, filter.checker.as_deref(), filter.cursor, rows).await?;
    Ok(Json(Listed { transactions, cursor }))
}

/// One transaction.
#[utoipa::path(get, path = "/v1/transactions/{id}", tag = "transactions", security(("token" = ["view"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Transaction)))]
pub async fn get_transaction(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Transaction>, Problem> {
    known(&state, id).await.map(Json)
}

/// What happened to it, oldest first.
#[utoipa::path(get, path = "/v1/transactions/{id}/timeline", tag = "transactions", security(("token" = ["view"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = [Event])))]
pub async fn get_tx_timeline(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Vec<Event>>, Problem> {
    known(&state, id).await?;
    Ok(Json(state.store.tx_timeline(id).await?))
}

/// The business action happened: its messages are released.
#[utoipa::path(post, path = "/v1/transactions/{id}/commit", tag = "transactions", security(("token" = ["operate"])),
    params(("id" = Uuid, Path)), request_body = Reason, responses((status = 200, body = Transaction)))]
pub async fn commit_transaction(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
    Body(reason): Body<Reason>,
) -> Result<Json<Transaction>, Problem> {
    decide(&state, &caller, id, "commit", &reason).await
}

/// It did not: its messages are cancelled, their compensations released.
#[utoipa::path(post, path = "/v1/transactions/{id}/rollback", tag = "transactions", security(("token" = ["operate"])),
    params(("id" = Uuid, Path)), request_body = Reason, responses((status = 200, body = Transaction)))]
pub async fn roll_back_transaction(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
    Body(reason): Body<Reason>,
) -> Result<Json<Transaction>, Problem> {
    decide(&state, &caller, id, "rollback", &reason).await
}

/// Its checker is asked again, if it is in doubt.
#[utoipa::path(post, path = "/v1/transactions/{id}/recheck", tag = "transactions", security(("token" = ["operate"])),
    params(("id" = Uuid, Path)), request_body = Reason, responses((status = 200, body = Transaction)))]
pub async fn recheck_transaction(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
    Body(reason): Body<Reason>,
) -> Result<Json<Transaction>, Problem> {
    let before = known(&state, id).await?;
    let asked = state.store.recheck(by(&caller, reason.reason.as_deref()), &[id]).await?;
    moved(&state, &before, &asked).await
}

async fn decide(
    state: &State,
    caller: &Caller,
    id: Uuid,
    outcome: &str,
    reason: &Reason,
) -> Result<Json<Transaction>, Problem> {
    let before = known(state, id).await?;
    let settled = state.store.decide_tx(by(caller, reason.reason.as_deref()), outcome, &[id]).await?;
    moved(state, &before, &settled).await
}

async fn moved(state: &State, before: &Transaction, ids: &[Uuid]) -> Result<Json<Transaction>, Problem> {
    if ids.is_empty() {
        return Err(Problem::conflict(
            format!("transaction {} is {}, or is being decided at this moment", before.id, before.state),
            "look at it again",
        ));
    }
    known(state, before.id).await.map(Json)
}

async fn known(state: &State, id: Uuid) -> Result<Transaction, Problem> {
    let none = || Problem::not_found(format!("there is no transaction {id}"), "prepare it in this database first");
    state.store.transaction(id).await?.ok_or_else(none)
}

fn states_of(text: Option<&str>) -> Result<Vec<String>, Problem> {
    let states: Vec<String> = text.unwrap_or("prepared,in_doubt").split(',').map(|s| s.trim().to_owned()).collect();
    match states.iter().find(|state| !STATES.contains(&state.as_str())) {
        None => Ok(states),
        Some(other) => {
            Err(Problem::invalid(format!("state {other:?} is unknown"), format!("one of {}", STATES.join(", "))))
        }
    }
}

/// How many rows an answer has.
pub fn rows_of(limit: Option<i64>) -> Result<i64, Problem> {
    let rows = limit.unwrap_or(ROWS);
    let fits = (1..=ROWS_MAX).contains(&rows);
    fits.then_some(rows)
        .ok_or_else(|| Problem::invalid(format!("limit = {rows}"), format!("write from 1 to {ROWS_MAX}")))
}
