//! The attributes that turn functions into the rules of a plugin; used through `avouch-sdk`, which shows what they go on.
//!
//! Each leaves its item as it is and adds two things: a check of the signatures on every target, and the exports of the
//! contract on wasm32.

mod check_back;
mod idempotency;
mod marks;
mod notification;
mod signature;

use proc_macro::TokenStream;

/// The function that tells whether a transaction really happened:
/// `fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError>`. One in a plugin.
///
/// It may be asked again about the same transaction, also after an answer that was lost: it must not change anything.
#[proc_macro_attribute]
pub fn check_back(arguments: TokenStream, item: TokenStream) -> TokenStream {
    check_back::expand(arguments.into(), item.into()).into()
}

/// The module that tells whether a message's work was done already. One in a plugin. It holds two functions:
/// - [`macro@identify`]: the business identity of a message;
/// - [`macro@decide`]: what to do with it; may be left out, then `Decision::by_default` decides.
///
/// ```ignore
/// #[idempotency]
/// mod rule {
///     use avouch_sdk::prelude::*;
///
///     #[identify]
///     fn identify(_consumer: &str, m: &Message, _cx: &Context) -> Result<Identity, RuleError> {
///         Ok(Identity::key(m.header("order-id").unwrap_or(&m.id)))
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn idempotency(arguments: TokenStream, item: TokenStream) -> TokenStream {
    idempotency::expand(arguments.into(), item.into()).into()
}

/// Inside an [`macro@idempotency`] module, the function
/// `fn identify(consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError>`.
///
/// It must give the same answer for the same message each time.
#[proc_macro_attribute]
pub fn identify(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::stray("identify", "idempotency", item.into()).into()
}

/// Inside an [`macro@idempotency`] module, the function
/// `fn decide(consumer: &str, m: &Message, seen: &Seen, cx: &Context) -> Result<Decision, RuleError>`.
///
/// Its answer counts only if the record has not changed meanwhile; otherwise it is asked again.
#[proc_macro_attribute]
pub fn decide(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::stray("decide", "idempotency", item.into()).into()
}

/// The module that tells outside parties. One in a plugin. It holds two functions:
/// - [`macro@shape`]: what an endpoint is sent;
/// - [`macro@read`]: what its answer means; may be left out, then `Outcome::by_status` tells.
///
/// ```ignore
/// #[notification]
/// mod rule {
///     use avouch_sdk::prelude::*;
///
///     #[shape]
///     fn shape(d: &Delivery, _cx: &Context) -> Result<Shaped, RuleError> {
///         Ok(Shaped::form(&[("order", d.message.text()?)]))
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn notification(arguments: TokenStream, item: TokenStream) -> TokenStream {
    notification::expand(arguments.into(), item.into()).into()
}

/// Inside a [`macro@notification`] module, the function
/// `fn shape(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError>`.
///
/// It may be asked again about the same try: it must not change anything.
#[proc_macro_attribute]
pub fn shape(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::stray("shape", "notification", item.into()).into()
}

/// Inside a [`macro@notification`] module, the function
/// `fn read(d: &Delivery, r: &NotificationResponse, cx: &Context) -> Result<Outcome, RuleError>`.
///
/// It may be asked again about the same answer: it must not change anything.
#[proc_macro_attribute]
pub fn read(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    marks::stray("read", "notification", item.into()).into()
}
