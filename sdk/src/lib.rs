//! What a plugin author sees: rules that decide for Avouch what only the business can, written in Rust.
//!
//! A plugin answers one or more of three questions:
//! - [`check_back`]: did this transaction really happen?
//! - [`idempotency`]: have I already done this?
//! - [`macro@notification`]: how is an outside party told, and what does its answer mean?
//!
//! ```
//! use avouch_sdk::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Order { id: u64 }
//!
//! #[check_back]
//! fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> {
//!     let order: Order = tx.message(0)?.json()?;
//!     Ok(match cx.sql("orders").row("order_status", &[&order.id])? {
//!         Some(row) if row.get::<String>("status")? == "placed" => Verdict::Commit,
//!         Some(_) => Verdict::in_progress(),
//!         None => Verdict::rollback("no such order"),
//!     })
//! }
//!
//! // A test, on your machine: no WebAssembly, no server.
//! use avouch_sdk::mock::{self, Host};
//! use serde_json::json;
//!
//! let host = Host::new().sql("orders", "order_status", |_| Ok(vec![json!({"status": "placed"})]));
//! let tx = mock::transaction("order-7").message("orders.created", json!({"id": 7}));
//! assert_eq!(check(&tx, &host.context()), Ok(Verdict::Commit));
//! ```
//!
//! Built for `wasm32-unknown-unknown`, the same code becomes a plugin: the attributes add the exports of the contract
//! `avouch:rules@1.0.0`. On every other target there are no exports, and the `mock` module stands in for the host. The
//! guest needs no WASI: what it may do is what [`Context`] offers and an operator granted.
//!
//! A panic ends the call after its message was logged. Neither a panic nor a [`RuleError`] ever decides anything.

// The attributes name this crate by its full path, also in its own tests.
extern crate self as avouch_sdk;

#[expect(missing_docs, reason = "generated: the contract leaves log levels to their names")]
mod bindings;
pub mod context;
pub mod decision;
pub mod http;
pub mod message;
pub mod nats;
pub mod notification;
pub mod sql;
pub mod verdict;

#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(not(target_arch = "wasm32"))]
pub mod mock;

pub use avouch_sdk_macros::{check_back, decide, idempotency, identify, notification, read, shape};
pub use context::{Context, Level};
pub use decision::{Decision, Identity, Seen, SeenRecord, Status};
pub use http::{Request, Response};
pub use message::{Message, Transaction};
pub use notification::{Delivery, NotificationResponse, Outcome, Shaped};
pub use sql::{Param, Row};
pub use verdict::{RuleError, Verdict};

/// All that a rule usually needs: `use avouch_sdk::prelude::*;`
pub mod prelude {
    pub use crate::{
        Context, Decision, Delivery, Identity, Message, NotificationResponse, Outcome, Param, Request, Response, Row,
        RuleError, Seen, SeenRecord, Shaped, Status, Transaction, Verdict, check_back, decide, idempotency, identify,
        notification, read, shape,
    };
}

/// Puts the plugin's manifest into the module, as its custom section `avouch:manifest`.
///
/// The path is relative to the crate's `Cargo.toml`. On native targets this only checks that the file is there.
///
/// ```ignore
/// avouch_sdk::manifest!("plugin.toml");
/// ```
#[macro_export]
macro_rules! manifest {
    ($path:literal) => {
        const _: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const TEXT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
            #[used]
            #[unsafe(link_section = "avouch:manifest")]
            static MANIFEST: [u8; TEXT.len()] = *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
        };
    };
}

/// What the attributes' code reaches. No part of the API: it may change in any version.
#[doc(hidden)]
#[cfg(target_arch = "wasm32")]
pub mod __private {
    pub use crate::bindings::check_back_plugin::{self, export_check_back, exports::avouch::rules::check_back};
    pub use crate::bindings::idempotency_plugin::{self, export_idempotency, exports::avouch::rules::idempotency};
    pub use crate::bindings::notification_plugin::{self, export_notification, exports::avouch::rules::notification};
    pub use crate::host::enter;
}
