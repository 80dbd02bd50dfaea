//! What the examples are played on, and no part of any story: private servers, databases, the runtime and child processes.

mod stage;
pub use stage::{Outbox, Stage};

mod home;
pub use home::Home;

mod processes;
pub use processes::{Child, avouch_binary, deploy};

mod database;
pub use database::{connect, is_fresh};

mod stream;
pub use stream::{STREAM, wait_for_durable, wait_for_stream};
