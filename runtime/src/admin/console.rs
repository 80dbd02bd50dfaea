//! The console: pages for people, made here from documents, and what they do there. It works without scripts; they add to it.

mod acts;
mod arrival;
mod audit;
mod bulk;
mod charts;
mod consumers;
mod dead;
mod deeds;
mod deliveries;
mod endpoints;
mod entry;
mod figures;
mod flow;
mod frame;
mod holds;
mod instances;
mod lang;
mod looks;
mod message;
mod messages;
mod notice;
mod overview;
mod parties;
mod payload;
mod plugins;
mod replay;
mod shown;
mod signs;
#[cfg(test)]
mod tests;
mod timeline;
mod transaction;
mod transactions;
mod upload;
mod visit;
mod wanted;
mod words;

use axum::extract::DefaultBodyLimit;
use axum::handler::Handler as _;

pub use self::entry::{Door, arrived, login, problem};
pub use self::visit::Visit;
use super::guard::Access;
use super::page::Pages;
use super::plugins::UPLOAD_BYTES_MAX;
use crate::access::Role;

/// Its routes.
pub fn router() -> Pages {
    looks().merge(acts())
}

fn looks() -> Pages {
    let (view, operate) = (Access::Needs(Role::View), Access::Needs(Role::Operate));
    Pages::default()
        .get("/", view, looks::overview)
        .get("/live", view, looks::live)
        .get("/charts", view, looks::charts)
        .get("/messages", view, looks::messages)
        .get("/messages/{id}", view, looks::message)
        .get("/transactions", view, looks::transactions)
        .get("/transactions/{id}", view, looks::transaction)
        .get("/dead", view, looks::dead)
        .get("/dead/resend", operate, bulk::ask_resend)
        .get("/dead/discard", operate, bulk::ask_discard)
        .get("/consumers", view, looks::consumers)
        .get("/consumers/{name}", view, looks::consumer)
        .get("/consumers/{name}/replay", operate, bulk::ask_replay)
        .get("/endpoints", view, looks::endpoints)
        .get("/endpoints/{name}", view, looks::endpoint)
        .get("/endpoints/{name}/deliveries/{id}", view, looks::delivery)
        .get("/endpoints/{name}/resend", operate, parties::ask_resend)
        .get("/plugins", view, looks::plugins)
        .get("/plugins/{name}", view, looks::plugin)
        .get("/instances", view, looks::instances)
        .get("/instances/live", view, looks::instances_live)
        .get("/holds", view, looks::holds)
        .get("/audit", view, looks::audit)
}

fn acts() -> Pages {
    let (operate, admin) = (Access::Needs(Role::Operate), Access::Needs(Role::Admin));
    // The form around the file is small.
    let upload = upload::deploy.layer(DefaultBodyLimit::max(UPLOAD_BYTES_MAX + (64 << 10)));
    Pages::default()
        .post("/language", Access::Open, acts::language)
        .post("/messages/{id}/resend", operate, acts::resend)
        .post("/messages/{id}/discard", operate, acts::discard)
        .post("/messages/{id}/replay", operate, acts::replay)
        .post("/transactions/{id}/commit", operate, acts::commit)
        .post("/transactions/{id}/rollback", operate, acts::roll_back)
        .post("/transactions/{id}/recheck", operate, acts::recheck)
        .post("/dead/resend", operate, bulk::resend)
        .post("/dead/discard", operate, bulk::discard)
        .post("/consumers/{name}/replay", operate, bulk::replay)
        .post("/consumers/{name}/records", operate, acts::decide_record)
        .post("/consumers/{name}/remove", admin, acts::remove_consumer)
        .post("/endpoints", admin, parties::create)
        .post("/endpoints/{name}/ping", operate, parties::ping)
        .post("/endpoints/{name}/enable", operate, parties::enable)
        .post("/endpoints/{name}/disable", operate, parties::disable)
        .post("/endpoints/{name}/resend", operate, parties::resend)
        .post("/endpoints/{name}/deliveries/{id}/resend", operate, parties::resend_one)
        .post("/endpoints/{name}/secret", admin, parties::rotate)
        .post("/endpoints/{name}/remove", admin, parties::remove)
        .post("/pause", operate, acts::pause)
        .post("/resume", operate, acts::resume)
        .post("/plugins", admin, upload)
        .post("/plugins/{name}/rollback", admin, acts::restore_plugin)
        .post("/plugins/{name}/remove", admin, acts::remove_plugin)
}
