//! Random numbers with a printed seed, so that a failure can be played again.

/// xorshift64*: good enough to vary a test, small enough to read.
pub(crate) struct Random(u64);

impl Random {
    /// Takes the seed from `KEYWARD_SEED`, else from the clock, and prints it.
    pub(crate) fn seeded(test: &str) -> Self {
        let seed = std::env::var("KEYWARD_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now();
                now.duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64)
            });
        eprintln!("{test}: KEYWARD_SEED={seed}");
        Self(seed | 1)
    }

    /// Another generator, for a thread of its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `bound` − 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}
