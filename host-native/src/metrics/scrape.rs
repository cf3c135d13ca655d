//! A scrape: the counters of all shards, and gauges.

use std::{collections::BTreeMap, fmt, sync::PoisonError};

use roomcast_core::room::RecoveryOutcome;
use roomcast_http::Reason;

use crate::shared::{ask::AskerCounts, hooks::HookCounts, relay::RelayCounts};

use super::{
    CloseLabel, Metrics, TlsFailure,
    counter::Counter,
    process::Process,
    text::{Text, sum},
};

/// Gauges, sampled for the scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) namespaces: usize,
    pub(crate) rooms: usize,
    pub(crate) memberships: usize,
    pub(crate) history_bytes: usize,
    pub(crate) slow_readers: usize,
    pub(crate) slow_reader_bytes: usize,
    pub(crate) hooks: HookCounts,
    pub(crate) ask: AskerCounts,
    /// Spans by outcome; none without a collector.
    pub(crate) spans: Option<[(&'static str, u64); 2]>,
}

/// Limits, so that alarms can use the distance to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maxima {
    pub(crate) connections: usize,
    pub(crate) namespaces: usize,
    pub(crate) history_bytes: usize,
    pub(crate) outbox_bytes: usize,
}

/// A scrape.
#[derive(Debug)]
pub(crate) struct Scrape<'a> {
    pub(crate) shards: &'a [Metrics],
    pub(crate) connections: usize,
    pub(crate) gauges: Gauges,
    pub(crate) maxima: Maxima,
    /// The counters of the relay; `None` without a relay.
    pub(crate) relay: Option<RelayCounts>,
    pub(crate) process: Process,
    /// Wall-clock time of the start, in milliseconds since 1970.
    pub(crate) start_unix_ms: u64,
    /// The end of the certificate's validity, in seconds since 1970.
    pub(crate) certificate_expiry: Option<i64>,
}

impl fmt::Display for CloseLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Client => f.write_str("client"),
        }
    }
}

impl Scrape<'_> {
    /// The Prometheus text.
    pub(crate) fn text(&self) -> String {
        let mut text = Text::default();
        let version = env!("CARGO_PKG_VERSION");
        text.info(
            "roomcast_build_info",
            "The version of the server.",
            "version",
            version,
        );
        self.state(&mut text);
        self.connections(&mut text);
        self.messages(&mut text);
        self.times(&mut text);
        self.hooks(&mut text);
        self.ask(&mut text);
        if let Some(relay) = &self.relay {
            Self::relay(relay, &mut text);
        }
        if let Some(spans) = self.gauges.spans {
            text.counters(
                "roomcast_spans_total",
                "Spans for the collector, by outcome.",
                "outcome",
                spans,
            );
        }
        self.process(&mut text);
        text.into_string()
    }

    fn sum(&self, of: fn(&Metrics) -> &Counter) -> u64 {
        sum(self.shards.iter().map(of))
    }

    #[rustfmt::skip] // A line for each metric.
    fn state(&self, text: &mut Text) {
        let (now, max) = (&self.gauges, &self.maxima);
        text.gauge("roomcast_connections", "Open WebSocket connections.", self.connections);
        text.gauge("roomcast_connections_max", "Open WebSocket connections that there may be.", max.connections);
        text.gauge("roomcast_namespaces", "Live namespaces.", now.namespaces);
        text.gauge("roomcast_namespaces_max", "Live namespaces that there may be.", max.namespaces);
        text.gauge("roomcast_rooms", "Rooms with members, or with a history.", now.rooms);
        text.gauge("roomcast_memberships", "Pairs of a connection and a room it is in.", now.memberships);
        text.gauge("roomcast_history_bytes", "Memory that the histories of rooms take.", now.history_bytes);
        text.gauge("roomcast_history_max_bytes", "Memory that the histories of rooms may take.", max.history_bytes);
        text.gauge("roomcast_slow_readers", "Connections whose peer takes no more at the moment.", now.slow_readers);
        text.gauge("roomcast_slow_reader_bytes", "Bytes queued for these connections.", now.slow_reader_bytes);
        let peaks = self.shards.iter().map(|shard| shard.outbox.get());
        text.gauge("roomcast_outbox_peak_bytes", "The longest queue of one connection in the last one to two minutes.",
            peaks.max().unwrap_or_default());
        text.gauge("roomcast_outbox_max_bytes", "Bytes that may be queued for one connection.", max.outbox_bytes);
    }

    #[rustfmt::skip] // A line for each metric.
    fn connections(&self, text: &mut Text) {
        let shards = self.shards;
        text.counter("roomcast_connections_opened_total", "WebSocket connections accepted.", self.sum(|m| &m.opened));
        text.counters("roomcast_connections_closed_total", "WebSocket connections ended, by close code.",
            "code", self.closed());
        text.counters("roomcast_refused_total", "Requests, connections and messages refused, by reason.", "reason",
            Reason::ALL.map(|of| (of.as_str(), sum(shards.iter().map(|m| &m.refused[of.index()])))));
        text.counters("roomcast_http_responses_total", "Answers over HTTP, by class of status.", "class",
            (1..=5).map(|of| (format!("{of}xx"), sum(shards.iter().map(|m| &m.responses[of - 1])))));
        text.counter("roomcast_withdrawals_folded_total",
            "Withdrawals past the limit of users: older tokens of all users are refused.",
            self.sum(|m| &m.withdrawals_folded));
        text.counter("roomcast_accept_failures_total", "Failures to accept a connection, as for want of descriptors.",
            self.sum(|m| &m.accept_failures));
        text.counters("roomcast_tls_failures_total", "TLS handshakes that failed, by cause.", "cause",
            TlsFailure::ALL.map(|of| (of.as_str(), sum(shards.iter().map(|m| &m.tls_failures[of as usize])))));
        if let Some(expiry) = self.certificate_expiry {
            text.gauge("roomcast_certificate_expiry_timestamp_seconds",
                "The end of the certificate's validity, in seconds since 1970.", expiry);
        }
    }

    #[rustfmt::skip] // A line for each metric.
    fn messages(&self, text: &mut Text) {
        let shards = self.shards;
        text.counter("roomcast_messages_received_total", "Messages from clients.", self.sum(|m| &m.messages_in));
        text.counter("roomcast_deliveries_total", "Frames queued for clients, counted per recipient.",
            self.sum(|m| &m.deliveries));
        text.sizes("roomcast_fan_out_recipients", "Recipients of a message to a room or to several connections.",
            shards.iter().map(|m| &m.fan_out));
        text.counters("roomcast_outbox_overflows_total", "Queues that passed their limit, by the consequence.",
            "outcome", [
                ("close", self.sum(|m| &m.overflows_closed)),
                ("drop-oldest", self.sum(|m| &m.overflows_dropped)),
                ("latest", self.sum(|m| &m.overflows_replaced)),
            ]);
        text.counter("roomcast_messages_dropped_total", "Messages dropped from full queues whose connections stayed.",
            self.sum(|m| &m.messages_dropped));
        text.counters("roomcast_recoveries_total", "Joins that asked for what they had missed, by outcome.", "outcome",
            RecoveryOutcome::ALL.map(|of| (of.as_str(), sum(shards.iter().map(|m| &m.recoveries[of.index()])))));
    }

    #[rustfmt::skip] // A line for each metric.
    fn times(&self, text: &mut Text) {
        let shards = self.shards.iter();
        text.times("roomcast_turn_seconds", "Turns of an I/O thread: all that it does between two waits.",
            shards.clone().map(|m| &m.turns));
        text.times("roomcast_fan_out_seconds", "The part of a turn in which frames are queued, stored and written.",
            shards.clone().map(|m| &m.writes));
        text.times("roomcast_store_commit_seconds", "Commits of a turn's changes to the store.",
            shards.map(|m| &m.store_commit));
    }

    #[rustfmt::skip] // A line for each metric.
    fn hooks(&self, text: &mut Text) {
        let hooks = &self.gauges.hooks;
        text.gauge("roomcast_hook_events_waiting", "Events that endpoints of hooks have not accepted yet.", hooks.waiting);
        text.counter("roomcast_hook_events_dropped_total", "Events dropped from the lines of hooks.", hooks.dropped);
        text.counters("roomcast_hook_requests_total", "Requests to endpoints of hooks, by outcome.", "outcome",
            hooks.outcomes);
        text.counter("roomcast_hook_request_seconds_total", "Time that these took.", hooks.seconds);
    }

    #[rustfmt::skip] // A line for each metric.
    fn ask(&self, text: &mut Text) {
        let AskerCounts { questions, requests, seconds } = &self.gauges.ask;
        let outcomes = [
            ("allowed", questions.allowed),
            ("refused", questions.refused),
            ("unavailable", questions.unavailable),
            ("overloaded", questions.overloaded),
        ];
        text.counters("roomcast_ask_questions_total", "Questions to the backend of [ask], by outcome.", "outcome", outcomes);
        text.counter("roomcast_ask_questions_cached_total", "Those that a kept answer was the answer to.", questions.cached);
        text.counter("roomcast_ask_requests_total", "Requests to the backend.", *requests);
        text.counter("roomcast_ask_request_seconds_total", "Time that these took.", *seconds);
        text.gauge("roomcast_ask_questions_waiting", "Questions that wait for the backend.", questions.waiting);
        text.gauge("roomcast_ask_circuit_open", "1 while the backend fails and is left alone.", usize::from(questions.is_open));
    }

    #[rustfmt::skip] // A line for each metric.
    fn relay(relay: &RelayCounts, text: &mut Text) {
        text.gauge("roomcast_relay_up", "1 while the relay can be reached.", usize::from(relay.is_up));
        text.counters("roomcast_relay_publishes_total", "Messages for the relay, by outcome; those in doubt are handed \
            over again, refused ones never were.", "outcome",
            relay.publishes.into_iter().chain([("refused", relay.refused)]));
        text.durations("roomcast_relay_publish_seconds", "Time until the relay accepted a message.",
            relay.latency_bounds_us, &relay.latencies, relay.latency_us);
        text.counter("roomcast_relay_received_total", "Messages that came by the relay.", relay.received);
        text.counter("roomcast_relay_foreign_total", "Messages dropped since no server of this version wrote them.",
            relay.foreign);
        text.counter("roomcast_relay_questions_total", "Questions to other servers, for the API and handles.",
            relay.questions);
        text.counter("roomcast_relay_missing_answers_total", "Answers to these that did not come within a second.",
            relay.missing);
        text.counter("roomcast_relay_gaps_total", "Gaps in rooms that members were told of.", relay.gaps);
        text.counters("roomcast_relay_losses_total", "Times that the relay was lost, by reason.", "reason",
            relay.losses.iter().copied());
        text.counter("roomcast_relay_connects_total", "Times that the relay became ready: the start, and each reconnect.",
            relay.connects);
        text.counter("roomcast_relay_failed_connects_total", "Attempts to connect that failed.", relay.failed_connects);
        text.gauge("roomcast_relay_waiting_events", "Messages and notices that came and are not taken yet.", relay.waiting);
        text.gauge("roomcast_relay_waiting_bytes", "Their bytes.", relay.waiting_bytes);
        text.gauge("roomcast_relay_under_way_bytes", "Bytes of those that were taken, and not dealt with.",
            relay.under_way_bytes);
        text.gauge("roomcast_relay_lag_seconds", "Time for which the oldest of them waits.", relay.lag.as_secs_f64());
        text.counter("roomcast_relay_fenced_total", "Times that the lease of this server was taken away.", relay.fenced);
        text.counter("roomcast_relay_reaped_total", "Dead servers that this one removed from the relay.", relay.reaped);
        text.counter("roomcast_relay_corrections_total", "Users whom the relay had otherwise than this server.",
            relay.corrections);
    }

    /// Writes metrics of the process, under the names that all Prometheus clients use.
    #[rustfmt::skip] // A line for each metric.
    fn process(&self, text: &mut Text) {
        let process = &self.process;
        #[allow(clippy::cast_precision_loss)] // milliseconds of this age fit
        let start = self.start_unix_ms as f64 / 1e3;
        text.gauge("process_start_time_seconds", "The start of the server, in seconds since 1970.", start);
        text.counter("process_cpu_seconds_total", "Time of processors that the process took.", process.cpu_seconds);
        let known = [
            ("process_resident_memory_bytes", "Memory that the process takes.", process.resident_bytes),
            ("process_virtual_memory_bytes", "Addresses that the process has reserved.", process.virtual_bytes),
            ("process_open_fds", "Open file descriptors.", process.open_fds),
            ("process_max_fds", "File descriptors that there may be.", process.max_fds),
        ];
        for (name, help, value) in known {
            if let Some(value) = value {
                text.gauge(name, help, value);
            }
        }
    }

    /// Connections ended, by close code.
    fn closed(&self) -> BTreeMap<CloseLabel, u64> {
        let mut closed = BTreeMap::new();
        for metrics in self.shards {
            let counts = metrics.closed.lock();
            for (&code, &count) in &*counts.unwrap_or_else(PoisonError::into_inner) {
                *closed.entry(code).or_default() += count;
            }
        }
        closed
    }
}
