//! What the promises are tested with: real servers of this process alone, fresh databases, streams, and the `avouch` binary.
//!
//! Nothing here skips. A missing server fails every test that needs it, with the one line that fixes it.

pub mod collector;
pub mod metrics;
pub mod servers;
pub mod web;

pub mod database;
pub mod population;
pub mod stream;

pub mod namespace;
pub mod process;
pub mod wait;
pub mod wire;

pub mod browser;
pub mod hostile_text;
pub mod schemathesis;

pub mod plugins;
pub mod scratch;
