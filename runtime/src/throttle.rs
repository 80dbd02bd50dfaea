//! How often somebody may show what nobody knows: tries leak away, from each address and from all together. Its memory is bounded. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures of one address at once. A person mistypes, or pastes the wrong token, a few times.
const OF_ONE: f64 = 10.0;
/// And of all addresses: tokens are not guessed at any rate, so this bounds work, not luck.
const OF_ALL: f64 = 200.0;
/// In what time all of them leak away.
const LEAK: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the others share one bucket while all of these have failures.
const ADDRESSES_MAX: usize = 4096;

/// Tries of late.
#[derive(Debug, Default)]
pub struct Throttle {
    all: Bucket,
    others: Bucket,
    by_address: HashMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    level: f64,
    at: Option<Instant>,
}

impl Throttle {
    /// Whether a try may come now, or in how long.
    pub fn look(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.all.leak(OF_ALL, now);
        let one = self.bucket(from, now);
        one.leak(OF_ONE, now);
        one.room(OF_ONE)?;
        self.all.room(OF_ALL)
    }

    /// Counts a try, or says in how long the next one may come.
    pub fn take(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        self.look(from, now)?;
        self.all.level += 1.0;
        self.bucket(from, now).level += 1.0;
        Ok(())
    }

    fn bucket(&mut self, from: IpAddr, now: Instant) -> &mut Bucket {
        let address = network_of(from);
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address) {
            self.by_address.retain(|_, bucket| {
                bucket.leak(OF_ONE, now);
                bucket.level > 0.0
            });
            if self.by_address.len() >= ADDRESSES_MAX {
                return &mut self.others;
            }
        }
        self.by_address.entry(address).or_default()
    }
}

impl Bucket {
    fn leak(&mut self, capacity: f64, now: Instant) {
        let gone = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64() / LEAK.as_secs_f64());
        *self = Self { level: (self.level - gone * capacity).max(0.0), at: Some(now) };
    }

    fn room(&self, capacity: f64) -> Result<(), Duration> {
        let over = self.level + 1.0 - capacity;
        if over <= 0.0 { Ok(()) } else { Err(LEAK.mul_f64(over / capacity)) }
    }
}

/// Whoever has one IPv6 address has its whole network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn address_that_fails_often_waits_and_the_others_do_not() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.take(address(1), now).expect("ten at once are fine");
        }
        let wait = throttle.take(address(1), now).expect_err("the eleventh waits");
        assert!(throttle.take(address(2), now).is_ok());
        assert!(throttle.take(address(1), now + wait - Duration::from_millis(1)).is_err());
        throttle.take(address(1), now + wait).expect("that long and no longer");
    }

    #[test]
    fn many_addresses_wait_too_and_are_not_all_remembered() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let admitted = (0..1000).filter(|n| throttle.take(address(*n), now).is_ok()).count();
        assert_eq!(admitted, 200);
        for n in 0..20_000 {
            now += Duration::from_millis(1);
            throttle.take(address(n), now).ok();
        }
        assert!(throttle.by_address.len() <= ADDRESSES_MAX, "{}", throttle.by_address.len());
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let addresses = (0..100u128).map(|n| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) + n)));
        assert_eq!(addresses.filter(|address| throttle.take(*address, now).is_ok()).count(), 10);
    }
}
