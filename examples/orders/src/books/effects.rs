//! What is wrong with the effects: each order has its invoice and its parcel, each exactly once.

use std::collections::HashMap;
use std::fmt;

use super::{Fault, fault};
use crate::facts::{Effects, Ledger};

/// Whose effect is an invoice, and whose is a parcel.
const INVOICED: &str = "orders.paid";
const SHIPPED: &str = "orders.shipped";

/// All kinds, also those that nobody has.
pub fn faults(ledger: &Ledger, effects: &Effects) -> Vec<Fault> {
    let orders = |topic: &'static str| {
        let of_topic = ledger.committed.values().filter(move |c| &*c.topic == topic);
        of_topic.map(|c| (c.key.clone(), 1)).collect::<HashMap<Box<str>, i64>>()
    };
    let (paid, shipped) = (orders(INVOICED), orders(SHIPPED));
    let (invoices, parcels) = (&effects.invoiced.invoices, &effects.booked.parcels);
    let doubled = invoices.iter().filter(|(_, count)| **count > 1).map(|(order, _)| order);
    let stale = parcels.iter().filter(|(order, token)| effects.done.get(*order) != Some(token)).map(|(order, _)| order);
    vec![
        fault("no invoice", "paid orders without one", missing(&paid, invoices)),
        fault("doubled", "orders with more than one invoice", doubled),
        fault("groundless", "invoices or parcels of orders that were not paid or shipped", {
            missing(invoices, &paid).chain(missing(parcels, &shipped))
        }),
        fault("no parcel", "shipped orders without one", missing(&shipped, parcels)),
        fault("stale parcel", "orders whose parcel has not the token of the attempt that was completed", stale),
    ]
}

/// Orders that are here and not there.
fn missing<'a>(here: &'a HashMap<Box<str>, i64>, there: &'a HashMap<Box<str>, i64>) -> impl Iterator<Item = &'a str> {
    here.keys().filter(|order| !there.contains_key(*order)).map(AsRef::as_ref)
}

/// Two lines of the balance, and one on how hard it was made for them.
pub fn write(effects: &Effects, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (invoiced, booked) = (&effects.invoiced, &effects.booked);
    let invoices: i64 = invoiced.invoices.values().sum();
    writeln!(
        f,
        "  invoices      {invoices} written beside inbox_once, for {} orders; {} deliveries came again; killed {} times",
        invoiced.invoices.len(),
        invoiced.again,
        effects.kills.0
    )?;
    let parcels = booked.parcels.len();
    writeln!(
        f,
        "  parcels       {parcels} booked with a token; {} attempts repeated, {} stale ones fenced; killed {} times",
        booked.accepted - i64::try_from(parcels).unwrap_or(i64::MAX),
        booked.refused,
        effects.kills.1
    )
}
