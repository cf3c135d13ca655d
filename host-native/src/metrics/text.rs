//! The Prometheus text format.
//!
//! Written here: the library `prometheus-client` writes OpenMetrics alone, which `promtool check
//! metrics` does not read, and others want to own the counters.

use std::fmt::{Display, Write};

use super::counter::{BOUNDS_US, Counter, Sizes, Times};

/// Metrics in the Prometheus text format, version 0.0.4. Names, labels and help are the program's
/// own: none needs escapes.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        debug_assert!(!help.contains(['\\', '\n']));
        // A string takes whatever is written to it.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.sample(name, value);
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.sample(name, value);
    }

    /// A counter for each value of a label.
    pub(super) fn counters<L: Display, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        self.head(name, help, "counter");
        for (of, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    /// A gauge that is 1, for what its label says.
    pub(super) fn info(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} 1");
    }

    /// A histogram of seconds, of all shards together.
    pub(super) fn times<'a>(
        &mut self,
        name: &str,
        help: &str,
        all: impl Iterator<Item = &'a Times> + Clone,
    ) {
        let counts = |bucket: usize| sum(all.clone().map(move |times| &times.counts[bucket]));
        let bounds = BOUNDS_US.iter().map(|&us| seconds(us * 1_000));
        let total_ns = sum(all.clone().map(|times| &times.sum_ns));
        self.histogram(name, help, bounds, counts, seconds(total_ns));
    }

    /// A histogram of seconds, with buckets of its own; the last count is of all above.
    pub(super) fn durations(
        &mut self,
        name: &str,
        help: &str,
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        let bounds = bounds_us.iter().map(|&us| seconds(us * 1_000));
        let count = |bucket: usize| counts.get(bucket).copied().unwrap_or_default();
        self.histogram(name, help, bounds, count, seconds(sum_us * 1_000));
    }

    /// A histogram of sizes, of all shards together.
    pub(super) fn sizes<'a>(
        &mut self,
        name: &str,
        help: &str,
        all: impl Iterator<Item = &'a Sizes> + Clone,
    ) {
        let counts = |bucket: usize| sum(all.clone().map(move |sizes| &sizes.counts[bucket]));
        let bounds = (0..super::counter::SIZES - 1).map(Sizes::bound);
        self.histogram(
            name,
            help,
            bounds,
            counts,
            sum(all.clone().map(|sizes| &sizes.sum)),
        );
    }

    /// Buckets are read one after the other while they are counted: their sum is the count, so that
    /// the parts fit each other.
    fn histogram<B: Display>(
        &mut self,
        name: &str,
        help: &str,
        bounds: impl Iterator<Item = B>,
        count: impl Fn(usize) -> u64,
        sum: impl Display,
    ) {
        self.head(name, help, "histogram");
        let (mut below, mut buckets) = (0, 0);
        for (bucket, bound) in bounds.enumerate() {
            below += count(bucket);
            buckets = bucket + 1;
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        below += count(buckets);
        let _ = writeln!(
            self.0,
            "{name}_bucket{{le=\"+Inf\"}} {below}\n{name}_sum {sum}\n{name}_count {below}"
        );
    }
}

/// The sum of a counter of several shards.
pub(super) fn sum<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    counters.map(Counter::get).sum()
}

/// Nanoseconds as seconds: Prometheus has floats.
#[allow(clippy::cast_precision_loss)]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn buckets_are_cumulative_and_of_all_shards() {
        let (one, other) = (Times::default(), Times::default());
        one.observe(Duration::from_micros(50));
        other.observe(Duration::from_micros(200));
        other.observe(Duration::from_secs(3));
        let mut text = Text::default();
        text.times("t_seconds", "Some.", [&one, &other].into_iter());
        let text = text.into_string();
        for line in [
            "# HELP t_seconds Some.",
            "# TYPE t_seconds histogram",
            "t_seconds_bucket{le=\"0.0001\"} 1",
            "t_seconds_bucket{le=\"0.00025\"} 2",
            "t_seconds_bucket{le=\"2.5\"} 2",
            "t_seconds_bucket{le=\"+Inf\"} 3",
            "t_seconds_sum 3.00025",
            "t_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
