//! The parser of `/metrics`, the Prometheus text of a server.

use std::collections::BTreeMap;

/// Samples by name and labels, as written in the text.
#[derive(Debug, Default)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads a text; `None` when it is not from a Roomcast server.
    pub(super) fn read(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        let metrics = Self(samples.collect());
        metrics
            .0
            .contains_key("roomcast_connections")
            .then_some(metrics)
    }

    /// A sample without labels.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The sum of all samples of a name, whatever their labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.of(name).map(|(_, value)| value).sum()
    }

    /// The value of the first label of a metric, such as `roomcast_build_info`.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let (labels, _) = self.of(name).next()?;
        labels.split('"').nth(1)
    }

    fn of(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let from = self.0.range(name.to_owned()..);
        let named = from.take_while(move |(key, _)| key.starts_with(name));
        named.filter_map(move |(key, value)| {
            let labels = &key[name.len()..];
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }

    /// The upper bound of the bucket that contains a quantile of the values that a histogram has
    /// counted since another sample, in its unit; `None` when it has counted none.
    pub(super) fn quantile_since(&self, before: &Self, name: &str, quantile: f64) -> Option<f64> {
        let name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = self
            .of(&name)
            .filter_map(|(labels, value)| {
                let bound = match labels.split('"').nth(1)? {
                    "+Inf" => f64::INFINITY,
                    bound => bound.parse().ok()?,
                };
                let before = before.get(&format!("{name}{labels}")).unwrap_or(0.0);
                Some((bound, value - before))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let &(_, all) = buckets.last()?;
        if all <= 0.0 {
            return None;
        }
        let found = buckets
            .iter()
            .position(|&(_, below)| below >= all * quantile)?;
        // Above the largest finite bound, that bound is returned.
        let bounded = buckets[..=found]
            .iter()
            .rev()
            .find(|(bound, _)| bound.is_finite());
        bounded.map(|&(bound, _)| bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# TYPE roomcast_connections gauge\nroomcast_connections 3\n\
        roomcast_refused_total{reason=\"host\"} 1\nroomcast_refused_total{reason=\"key\"} 2\n\
        roomcast_build_info{version=\"0.1.0\"} 1\nroomcast_refused_total_other 9\n\
        t_bucket{le=\"0.1\"} 1\nt_bucket{le=\"1\"} 1\nt_bucket{le=\"+Inf\"} 1\n";

    #[test]
    fn a_text_is_read_by_names() {
        let metrics = Metrics::read(BEFORE).expect("metrics");
        assert_eq!(metrics.get("roomcast_connections"), Some(3.0));
        assert_eq!(metrics.sum("roomcast_refused_total").to_string(), "3");
        assert_eq!(metrics.label("roomcast_build_info"), Some("0.1.0"));
        assert!(Metrics::read("<html>").is_none());
    }

    #[test]
    fn a_quantile_is_that_of_the_interval() {
        let after = BEFORE
            .replace("\"0.1\"} 1", "\"0.1\"} 2")
            .replace("\"1\"} 1", "\"1\"} 101")
            .replace("\"+Inf\"} 1", "\"+Inf\"} 101");
        let (before, after) = (Metrics::read(BEFORE), Metrics::read(&after));
        let (before, after) = before.zip(after).expect("metrics");
        assert_eq!(after.quantile_since(&before, "t", 0.99), Some(1.0));
        assert_eq!(after.quantile_since(&before, "t", 0.01), Some(0.1));
        assert_eq!(before.quantile_since(&before, "t", 0.99), None);
        assert_eq!(after.quantile_since(&before, "u", 0.99), None);
    }
}
