//! Times from publish to arrival.

/// All of them, in microseconds: few enough to keep, and so exact.
#[derive(Default)]
pub struct Latencies {
    us: Vec<u32>,
}

impl Latencies {
    pub fn add(&mut self, ns: u64) {
        self.us.push(u32::try_from(ns / 1000).unwrap_or(u32::MAX));
    }

    pub fn clear(&mut self) {
        self.us.clear();
    }

    pub fn percentile(&mut self, percent: usize) -> u32 {
        if self.us.is_empty() {
            return 0;
        }
        let at = self.us.len() * percent / 100;
        let at = at.min(self.us.len() - 1);
        *self.us.select_nth_unstable(at).1
    }
}
