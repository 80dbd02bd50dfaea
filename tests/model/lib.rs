//! Avouch's protocols as state machines: every interleaving, every crash, explored to the last state by `cargo test`.
//!
//! Each action names the function or the SQL file that it stands for. A `Mistake` switches a known wrong variant on: its test
//! asserts that the checker finds what breaks, so that a model which proves nothing does not pass.

pub mod doorbell;
pub mod message;
pub mod ownership;
pub mod transaction;

pub mod explore;
