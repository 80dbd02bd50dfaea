//! Which numbers a seed leads to: the one source of chance for faults and load.

/// SplitMix64: small, good enough, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of this seed for one part, which do not depend on how many another part took.
    pub fn part(seed: u64, part: u64) -> Self {
        let mut rng = Self(seed ^ part.wrapping_mul(0xA076_1D64_78BD_642F));
        Self(rng.next())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From zero to one less than `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(among.len() as u64)).expect("an index of a slice is small");
        &among[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_leads_to_the_same_numbers_and_its_parts_to_others() {
        let of = |mut rng: Rng| (0..8).map(|_| rng.next()).collect::<Vec<_>>();
        assert_eq!(of(Rng::part(7, 1)), of(Rng::part(7, 1)));
        assert_ne!(of(Rng::part(7, 1)), of(Rng::part(8, 1)));
        assert_ne!(of(Rng::part(7, 1)), of(Rng::part(7, 2)));
    }
}
