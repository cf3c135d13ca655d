//! The Prometheus text format.
//!
//! Not from a library: `prometheus-client` writes only OpenMetrics, which `promtool check metrics`
//! does not read, and other libraries want to own the counters.

use std::fmt::{Display, Write};

use super::counter::{BOUNDS_US, Counter, Sizes, Times};

/// Metrics in the Prometheus text format, version 0.0.4. Names, labels and help are defined in this
/// program, and none needs escapes.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        debug_assert!(!help.contains(['\\', '\n']));
        // Writing to a string never fails.
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

    /// A gauge with the value 1, whose label has the information.
    pub(super) fn info(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} 1");
    }

    /// A histogram of seconds, summed over shards.
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

    /// A histogram of seconds with the given buckets; the last count is of all above.
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

    /// A histogram of sizes, summed over shards.
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

    /// Writes a histogram. Buckets are read one after another while they are counted: the count is
    /// computed as their sum, so that the two agree.
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

/// The sum of a counter over several shards.
pub(super) fn sum<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    counters.map(Counter::get).sum()
}

/// Converts nanoseconds to seconds, as a float for Prometheus.
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
