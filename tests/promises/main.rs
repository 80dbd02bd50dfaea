//! Avouch's promises, each kept by a test over real servers. One binary, so that they share the servers.

mod equipment;
mod ground;
mod relayed;

mod input;
mod producers;
mod transactions;

mod admin;
mod alarm;
mod bloat;
mod broker;
mod bytes;
mod chaos;
mod checkback;
mod control;
mod crash;
mod doctor;
mod doorbell;
mod forgets;
mod killpoints;
mod metrics;
mod notified;
mod notify;
mod order;
mod ownership;
mod payments;
mod plans;
mod receipts;
mod reload;
mod secure;
mod storm;

mod cli;
mod commands;
mod console;
mod consumers;
mod contract;
mod docs;
mod foreign;
mod hostile;
mod inbox;
mod instances;
mod schema;
mod stories;
