//! The Avouch runtime: committed outbox rows reach NATS JetStream, in the order of their keys, at least once.
//!
//! A thin library for the binary `avouch`, the tests and the examples; its Rust API is not a contract.

pub mod access;
pub mod killpoint;
pub mod message;

pub mod consumers;
pub mod idempotency;
pub mod incarnation;
pub mod lifecycle;
pub mod rate;
pub mod signature;
pub mod throttle;
pub mod topics;
pub mod window;

pub mod meters;

pub mod address;
pub mod alarm;
pub mod answer;
pub mod broker;
pub mod doorbell;
pub mod endpoints;
pub mod outside;
pub mod problem;
pub mod rules;
pub mod secret;
pub mod serving;
pub mod store;
pub mod trace;

pub mod admin;
pub mod checkback;
pub mod control;
pub mod deployments;
pub mod inbox;
pub mod notify;
pub mod receipts;
pub mod receivers;
pub mod recovery;
pub mod relay;
pub mod shards;
pub mod upkeep;

pub mod app;
pub mod cli;
pub mod config;
pub mod dev;
pub mod exporter;
pub mod logs;
pub mod schema;
