//! What producers write and consumers do while everything breaks, and which of it goes into the books.

pub mod consumers;
mod half;
pub mod message;
pub mod producers;
pub mod topics;
mod transaction;
