//! Counters of one shard, and their text form for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use roomcast_http::Reason;

use crate::shared::hooks::HookCounts;

/// Counters of one shard. Each shard has its own, so that threads do not share cache lines; a
/// scrape adds them up.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Metrics {
    pub(crate) opened: AtomicU64,
    pub(crate) messages_in: AtomicU64,
    pub(crate) deliveries: AtomicU64,
    /// Queues that passed their limits, by the consequence: the connection was closed, the oldest
    /// messages were dropped, or messages with a newer one of the same event were dropped.
    pub(crate) overflows_closed: AtomicU64,
    pub(crate) overflows_dropped: AtomicU64,
    pub(crate) overflows_replaced: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    pub(crate) store_commits: AtomicU64,
    pub(crate) store_commit_us: AtomicU64,
    closed: Mutex<BTreeMap<u16, u64>>,
    /// Refusals by reason, in the order of [`Reason::ALL`].
    refused: [AtomicU64; Reason::ALL.len()],
}

/// Numbers that are counted at the time of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) namespaces: usize,
    pub(crate) rooms: usize,
    pub(crate) memberships: usize,
    pub(crate) history_bytes: usize,
    pub(crate) hooks: HookCounts,
}

impl Metrics {
    pub(crate) fn count_refusal(&self, reason: Reason) {
        self.refused[reason.index()].fetch_add(1, Relaxed);
    }

    pub(crate) fn count_close(&self, code: u16) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.entry(code).or_default() += 1;
    }

    /// All shards' counters as Prometheus text.
    pub(crate) fn render(all: &[Self], open: usize, gauges: Gauges) -> String {
        let sum =
            |of: fn(&Self) -> &AtomicU64| all.iter().map(|m| of(m).load(Relaxed)).sum::<u64>();
        #[allow(clippy::cast_precision_loss)] // Prometheus has floats
        let commit_s = sum(|m| &m.store_commit_us) as f64 / 1e6;
        let one = |value: &dyn fmt::Display| vec![(String::new(), value.to_string())];
        let label = |name: &str, value: &dyn fmt::Display, count: u64| {
            (format!("{{{name}=\"{value}\"}}"), count.to_string())
        };
        let overflows = [
            ("close", sum(|m| &m.overflows_closed)),
            ("drop-oldest", sum(|m| &m.overflows_dropped)),
            ("latest", sum(|m| &m.overflows_replaced)),
        ];
        let overflows = overflows.map(|(outcome, count)| label("outcome", &outcome, count));
        let hooks = gauges.hooks;
        let told = hooks
            .outcomes
            .iter()
            .filter(|(outcome, _)| !outcome.is_empty());
        let told = told.map(|(outcome, count)| label("outcome", outcome, *count));
        let closed = Self::closed(all).into_iter();
        let closed = closed.map(|(code, count)| label("code", &code, count));
        let refused = Reason::ALL.iter().map(|reason| {
            let counts = all.iter().map(|m| m.refused[reason.index()].load(Relaxed));
            label("reason", &reason.as_str(), counts.sum())
        });
        #[rustfmt::skip] // A line for each metric.
        let metrics = [
            ("connections", "Open WebSocket connections.", one(&open)),
            ("namespaces", "Live namespaces.", one(&gauges.namespaces)),
            ("rooms", "Rooms with members, or with a history.", one(&gauges.rooms)),
            ("memberships", "Pairs of a connection and a room it is in.", one(&gauges.memberships)),
            ("history_bytes", "Memory that the histories of rooms take.", one(&gauges.history_bytes)),
            ("connections_opened_total", "WebSocket connections accepted.", one(&sum(|m| &m.opened))),
            ("messages_received_total", "Messages from clients.", one(&sum(|m| &m.messages_in))),
            ("deliveries_total", "Messages queued for clients, counted per recipient.",
                one(&sum(|m| &m.deliveries))),
            ("messages_dropped_total", "Messages dropped from full queues whose connections stayed.",
                one(&sum(|m| &m.messages_dropped))),
            ("store_commits_total", "Turns whose changes were committed to the store.",
                one(&sum(|m| &m.store_commits))),
            ("store_commit_seconds_total", "Time spent in these commits.",
                one(&format_args!("{commit_s:?}"))),
            ("hook_events_waiting", "Events that endpoints of hooks have not accepted yet.",
                one(&hooks.waiting)),
            ("hook_events_dropped_total", "Events dropped from the lines of hooks.",
                one(&hooks.dropped)),
            ("hook_requests_total", "Requests to endpoints of hooks, by outcome.", told.collect()),
            ("hook_request_seconds_total", "Time that these took.",
                one(&format_args!("{:?}", hooks.seconds))),
            ("outbox_overflows_total", "Queues that passed their limit, by what was done.",
                overflows.into()),
            ("connections_closed_total", "WebSocket connections ended, by close code.",
                closed.collect()),
            ("refused_total", "Requests and connections refused, by reason.", refused.collect()),
        ];
        let mut text = String::new();
        for (name, help, samples) in metrics {
            let is_counter = name.ends_with("_total");
            let kind = if is_counter { "counter" } else { "gauge" };
            let _ = writeln!(
                text,
                "# HELP roomcast_{name} {help}\n# TYPE roomcast_{name} {kind}"
            );
            for (labels, value) in samples {
                let _ = writeln!(text, "roomcast_{name}{labels} {value}");
            }
        }
        text
    }

    /// Connections ended, by close code.
    fn closed(all: &[Self]) -> BTreeMap<u16, u64> {
        let mut closed = BTreeMap::new();
        for metrics in all {
            let counts = metrics.closed.lock();
            for (&code, &count) in &*counts.unwrap_or_else(PoisonError::into_inner) {
                *closed.entry(code).or_default() += count;
            }
        }
        closed
    }
}
