//! The figures of a run.

use std::{collections::BTreeMap, fmt, time::Duration};

use roomcast_core::wire::Counted;
use serde::Serialize;

use super::{
    load::Load,
    millis::Millis,
    plan::{Plan, counted},
    tally::{Connections, Deliveries, Messages},
};
use crate::cli::client::failure::close_meaning;

/// The largest lag of a schedule that was kept. Above it the numbers say more about this program
/// than about the server.
const LAG_MAX: Duration = Duration::from_millis(10);

/// The numbers of a run, in the order in which they are printed.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    url: String,
    ok: bool,
    interrupted: bool,
    connections: Connections,
    messages: Messages,
    deliveries: Deliveries,
    latency_ms: Percentiles,
    connect_ms: ConnectTimes,
    /// By code.
    closes: BTreeMap<u16, u64>,
    /// By code.
    errors: BTreeMap<String, u64>,
    generator: Generator,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    min: Millis,
    p50: Millis,
    p90: Millis,
    p99: Millis,
    p99_9: Millis,
    max: Millis,
}

#[derive(Debug, Serialize)]
struct ConnectTimes {
    p50: Millis,
    p99: Millis,
}

#[derive(Debug, Serialize)]
struct Generator {
    lag_p99_ms: Millis,
    is_bottleneck: bool,
}

impl Summary {
    /// Sums up a run that is over.
    pub(super) fn new(load: &Load, url: &str, planned: u64, interrupted: bool) -> Self {
        let tally = &load.tally;
        let (sum, verdict) = (load.sum(), load.verdict());
        let measured = load.measured().as_secs_f64();
        let lag = Millis::quantile(&tally.lag, 0.99);
        let latency = |part| Millis::quantile(&tally.latency, part);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of things that happened"
        )]
        let per_s = if measured > 0.0 {
            (tally.measured as f64 / measured * 10.0).round() / 10.0
        } else {
            0.0
        };
        let mut summary = Self {
            url: url.to_owned(),
            ok: false,
            interrupted,
            connections: tally.connections.clone(),
            messages: Messages {
                planned,
                ..tally.messages
            },
            deliveries: Deliveries {
                expected: sum.expected - verdict.never_due,
                received: sum.received,
                lost: verdict.lost,
                cut_off: verdict.cut_off,
                per_s,
                measured_s: (measured * 1_000.0).round() / 1_000.0,
                ..tally.deliveries
            },
            latency_ms: Percentiles {
                min: Millis(tally.latency.min_us()),
                p50: latency(0.50),
                p90: latency(0.90),
                p99: latency(0.99),
                p99_9: latency(0.999),
                max: Millis(tally.latency.max_us()),
            },
            connect_ms: ConnectTimes {
                p50: Millis::quantile(&tally.connect, 0.50),
                p99: Millis::quantile(&tally.connect, 0.99),
            },
            closes: tally.closes.clone(),
            errors: tally.errors.clone(),
            generator: Generator {
                lag_p99_ms: lag,
                is_bottleneck: lag.is_over(LAG_MAX),
            },
        };
        summary.ok = summary.faults().is_empty();
        summary
    }

    /// True when everything was delivered, once and in order.
    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }

    /// Caveats about the numbers.
    pub(super) fn remarks(&self, plan: &Plan) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.generator.is_bottleneck {
            remarks.push(format!(
                "this program was the bottleneck: it was {} ms behind its own schedule (p99), and \
                 that is in the latencies. Lower --rate or --connections, have fewer members in a \
                 room, or run it on another machine than the server, or on several",
                self.generator.lag_p99_ms
            ));
        }
        let Messages { planned, sent, .. } = self.messages;
        // Without open connections nothing could be sent, which other lines report.
        if !self.interrupted && self.connections.open_at_end > 0 && sent < planned {
            remarks.push(format!(
                "{sent} of {} got sent: --rate {} was not reached",
                counted(planned, "message"),
                plan.rate
            ));
        }
        remarks
    }

    /// The faults, in words.
    fn faults(&self) -> Vec<String> {
        let (deliveries, messages) = (&self.deliveries, &self.messages);
        let missing = u64::from(self.connections.asked) - self.connections.opened as u64;
        let closed = self.closes.values().sum();
        [
            (missing, "connection", " not opened"),
            (closed, "connection", " closed"),
            (messages.refused, "message", " refused"),
            (messages.held_back, "message", " held back"),
            (
                self.errors.values().sum::<u64>() - messages.refused,
                "error",
                "",
            ),
            (deliveries.lost, "delivery", " lost"),
            (deliveries.cut_off, "delivery", " cut off"),
            (deliveries.duplicated, "delivery", " duplicated"),
            (deliveries.out_of_order, "delivery", " out of order"),
            (deliveries.stray, "delivery", " stray"),
        ]
        .into_iter()
        .filter(|&(count, ..)| count > 0)
        .map(|(count, noun, what)| format!("{}{what}", counted(count, noun)))
        .collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, messages) = (&self.connections, &self.messages);
        let (deliveries, latency) = (&self.deliveries, &self.latency_ms);
        let faults = self.faults();
        let verdict = if !faults.is_empty() {
            faults.join(", ")
        } else if messages.sent > 0 {
            "all delivered, once and in order".to_owned()
        } else {
            "all held open, nothing sent".to_owned()
        };
        writeln!(f, "{}: {verdict}", self.url)?;
        writeln!(
            f,
            "connections  {} of {} opened, rooms: {}; until $welcome p50 {} ms, p99 {}",
            connections.opened,
            connections.asked,
            connections.rooms,
            self.connect_ms.p50,
            self.connect_ms.p99,
        )?;
        for (reason, count) in &connections.failed {
            writeln!(f, "             {count} failed: {reason}")?;
        }
        writeln!(
            f,
            "messages     {} sent of {}, {} refused, {} held back",
            messages.sent,
            Counted(messages.payload_bytes, "byte"),
            messages.refused,
            messages.held_back,
        )?;
        writeln!(
            f,
            "deliveries   {} expected, {} received, {} lost, {} cut off by a close, \
             {} duplicated, {} out of order, {} stray",
            deliveries.expected,
            deliveries.received,
            deliveries.lost,
            deliveries.cut_off,
            deliveries.duplicated,
            deliveries.out_of_order,
            deliveries.stray,
        )?;
        writeln!(
            f,
            "             {} a second, over {} s",
            deliveries.per_s, deliveries.measured_s
        )?;
        writeln!(
            f,
            "latency      min {} ms, p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            latency.min, latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max,
        )?;
        for (code, count) in &self.closes {
            writeln!(
                f,
                "closed       {count} with {code}: {}",
                close_meaning(*code)
            )?;
        }
        for (code, count) in &self.errors {
            writeln!(f, "errors       {count} {code}")?;
        }
        let Generator {
            lag_p99_ms,
            is_bottleneck,
        } = self.generator;
        let verdict = if is_bottleneck {
            ": it was the bottleneck"
        } else {
            ""
        };
        write!(
            f,
            "generator    {lag_p99_ms} ms behind its schedule (p99){verdict}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load::new(Plan::of(2, 1))
    }

    #[test]
    fn what_is_counted_is_told_in_english() {
        let mut load = load();
        load.failed("503: full");
        let mut summary = Summary::new(&load, "ws://h/ws", 100, false);
        summary.connections.opened = 1;
        summary.deliveries.lost = 1;
        summary.deliveries.stray = 2;
        let faults = summary.faults().join(", ");
        let expected = "1 connection not opened, 1 delivery lost, 2 deliveries stray";
        assert_eq!(faults, expected);
    }

    #[test]
    fn a_connection_that_is_missing_is_a_fault() {
        let mut load = load();
        load.failed("503: full");
        let summary = Summary::new(&load, "ws://h/ws", 100, false);
        assert!(!summary.is_ok());
        let text = summary.to_string();
        assert!(
            text.starts_with("ws://h/ws: 2 connections not opened\n"),
            "{text}"
        );
        assert!(text.contains("1 failed: 503: full"), "{text}");
        let json = serde_json::to_value(&summary).expect("JSON");
        assert_eq!(json["connections"]["failed"]["503: full"], 1);
        assert!(json["latency_ms"]["p99"].is_null());
    }

    #[test]
    fn a_late_schedule_is_admitted() {
        let mut load = load();
        for (lag_ms, is_bottleneck) in [(9, false), (11, true)] {
            load.tally.lag.record(Duration::from_millis(lag_ms));
            let summary = Summary::new(&load, "ws://h/ws", 0, false);
            let remarks = summary.remarks(&load.plan);
            assert_eq!(remarks.len(), usize::from(is_bottleneck), "{remarks:?}");
        }
    }
}
