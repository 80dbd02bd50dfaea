//! Logins that were in vain: only they count, so that whoever is known gets in also from the address of somebody who guesses.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;
use crate::throttle::Throttle;

/// Of those whose addresses failed too often, so many wait for their turn; the others are refused unasked.
const WAITING_MAX: usize = 16;

/// Logins of one kind. Tokens and issuers are not guessed at any rate: what is bounded is the work of looking.
pub struct Tries {
    failed: Mutex<Throttle>,
    waiting: Semaphore,
    turn: Semaphore,
}

/// Leave to look who it is.
pub struct Turn<'a> {
    _places: Option<[SemaphorePermit<'a>; 2]>,
}

impl Default for Tries {
    fn default() -> Self {
        Self { failed: Mutex::new(Throttle::default()), waiting: Semaphore::new(WAITING_MAX), turn: Semaphore::new(1) }
    }
}

impl Tries {
    /// At once; behind the others and one at a time, if this address has failed too often.
    pub async fn turn(&self, from: IpAddr) -> Result<Turn<'_>, Problem> {
        let Err(wait) = self.failed().look(from, Instant::now()) else {
            return Ok(Turn { _places: None });
        };
        let place = self.waiting.try_acquire().map_err(|_| too_many(wait))?;
        let turn = self.turn.acquire().await.map_err(|_| too_many(wait))?;
        Ok(Turn { _places: Some([place, turn]) })
    }

    /// It was nobody: that counts, or it was once too often.
    pub fn failed_from(&self, from: IpAddr) -> Result<(), Problem> {
        self.failed().take(from, Instant::now()).map_err(too_many)
    }

    fn failed(&self) -> MutexGuard<'_, Throttle> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(wait: Duration) -> Problem {
    Problem::too_many("logins failed too often", wait.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn whoever_comes_from_where_many_failed_waits_for_a_turn_and_is_not_refused() {
        let tries = Tries::default();
        let both = (tries.turn(HERE).await, tries.turn(HERE).await);
        assert!(both.0.is_ok() && both.1.is_ok(), "nobody has failed");
        while tries.failed_from(HERE).is_ok() {}
        let first = tries.turn(HERE).await.expect("is not refused");
        let mut second = Box::pin(tries.turn(HERE));
        assert!(second.as_mut().now_or_never().is_none(), "one at a time");
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn of_those_who_wait_there_are_not_too_many() {
        let tries = Tries::default();
        while tries.failed_from(HERE).is_ok() {}
        let _first = tries.turn(HERE).await.expect("is not refused");
        let mut waiting: Vec<_> = (1..WAITING_MAX).map(|_| Box::pin(tries.turn(HERE))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        assert!(tries.turn(HERE).await.is_err_and(|problem| problem.status == 429));
        let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
        assert!(tries.turn(elsewhere).await.is_ok(), "another address is not behind them");
    }
}
