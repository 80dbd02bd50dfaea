//! Waiting for a condition, never for a time.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(5);

/// Asks until the answer is `Some`, and returns it; panics at the deadline, naming what was waited for and where.
///
/// ```ignore
/// let row = until("the row is sent", secs(10), async || find_sent(&client, id).await).await;
/// ```
#[track_caller]
pub fn until<T, F>(what: &str, limit: Duration, mut ask: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        loop {
            match timeout(deadline.saturating_duration_since(Instant::now()), ask()).await {
                Ok(Some(found)) => return found,
                Ok(None) if Instant::now() < deadline => sleep(POLL).await,
                _ => panic!("waited {limit:?} in vain for: {what} (at {caller})"),
            }
        }
    }
}

/// Seconds, for deadlines.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
