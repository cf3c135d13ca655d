//! Counters of one shard, and their text form for Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use roomcast_http::Reason;

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
    /// In the order of [`Reason::ALL`].
    refused: [AtomicU64; Reason::ALL.len()],
}

/// Numbers that are counted at the time of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) namespaces: usize,
    pub(crate) rooms: usize,
    pub(crate) memberships: usize,
    pub(crate) history_bytes: usize,
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
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = write!(
                text,
                "# HELP roomcast_{name} {help}\n# TYPE roomcast_{name} {kind}\nroomcast_{name} {value}\n"
            );
        };
        metric(
            "connections",
            "gauge",
            "Open WebSocket connections.",
            open as u64,
        );
        metric(
            "namespaces",
            "gauge",
            "Live namespaces.",
            gauges.namespaces as u64,
        );
        metric(
            "rooms",
            "gauge",
            "Rooms with members, or with a history.",
            gauges.rooms as u64,
        );
        metric(
            "memberships",
            "gauge",
            "Pairs of a connection and a room it is in.",
            gauges.memberships as u64,
        );
        metric(
            "history_bytes",
            "gauge",
            "Memory that the histories of rooms take.",
            gauges.history_bytes as u64,
        );
        metric(
            "connections_opened_total",
            "counter",
            "WebSocket connections accepted.",
            sum(|m| &m.opened),
        );
        metric(
            "messages_received_total",
            "counter",
            "Messages from clients.",
            sum(|m| &m.messages_in),
        );
        metric(
            "deliveries_total",
            "counter",
            "Messages queued for clients, counted per recipient.",
            sum(|m| &m.deliveries),
        );
        metric(
            "messages_dropped_total",
            "counter",
            "Messages dropped from full queues whose connections stayed.",
            sum(|m| &m.messages_dropped),
        );
        metric(
            "store_commits_total",
            "counter",
            "Turns whose changes were committed to the store.",
            sum(|m| &m.store_commits),
        );
        #[allow(clippy::cast_precision_loss)] // Prometheus has floats
        let commit_s = sum(|m| &m.store_commit_us) as f64 / 1e6;
        let _ = write!(
            text,
            "# HELP roomcast_store_commit_seconds_total Time spent in these commits.\n\
             # TYPE roomcast_store_commit_seconds_total counter\n\
             roomcast_store_commit_seconds_total {commit_s:?}\n"
        );
        text.push_str(
            "# HELP roomcast_outbox_overflows_total Queues that passed their limit, by what was done.\n\
             # TYPE roomcast_outbox_overflows_total counter\n",
        );
        let outcomes = [
            ("close", sum(|m| &m.overflows_closed)),
            ("drop-oldest", sum(|m| &m.overflows_dropped)),
            ("latest", sum(|m| &m.overflows_replaced)),
        ];
        for (outcome, count) in outcomes {
            let _ = writeln!(
                text,
                "roomcast_outbox_overflows_total{{outcome=\"{outcome}\"}} {count}"
            );
        }
        let mut closed = BTreeMap::<u16, u64>::new();
        for metrics in all {
            let counts = metrics
                .closed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (&code, &count) in &*counts {
                *closed.entry(code).or_default() += count;
            }
        }
        text.push_str(
            "# HELP roomcast_connections_closed_total WebSocket connections ended, by close code.\n\
             # TYPE roomcast_connections_closed_total counter\n",
        );
        for (code, count) in closed {
            let _ = writeln!(
                text,
                "roomcast_connections_closed_total{{code=\"{code}\"}} {count}"
            );
        }
        text.push_str(
            "# HELP roomcast_refused_total Requests and connections refused, by reason.\n\
             # TYPE roomcast_refused_total counter\n",
        );
        for reason in Reason::ALL {
            let count = all.iter().map(|m| m.refused[reason.index()].load(Relaxed));
            let (reason, count) = (reason.as_str(), count.sum::<u64>());
            let _ = writeln!(
                text,
                "roomcast_refused_total{{reason=\"{reason}\"}} {count}"
            );
        }
        text
    }
}
