//! Reproducible random numbers: splitmix64.

/// A source of random numbers. A failing test prints its seed.
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// The same seed yields the same numbers.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// Uses the seed in `PHASEGATE_SEED`, to repeat a failed run, or a new one.
    pub fn from_environment() -> Self {
        let seed = std::env::var("PHASEGATE_SEED").map(|seed| seed.parse().expect("PHASEGATE_SEED is a number"));
        Self::new(seed.unwrap_or_else(|_| u64::from(std::process::id())))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// One of `choices`.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {0}: PHASEGATE_SEED={0}", self.seed);
        }
    }
}
