//! Figures of the interval between two samples.

use std::{cmp::Reverse, time::Duration};

use serde::Serialize;

use super::sample::{Reader, Sample};

/// Rooms and readers that are listed.
const LISTED_MAX: usize = 100;

/// Figures of a server; rates are per second of the interval.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) version: Option<String>,
    pub(super) interval_ms: u64,
    pub(super) connections: u64,
    pub(super) connections_max: u64,
    pub(super) opened_per_s: f64,
    pub(super) closed_per_s: f64,
    pub(super) namespaces: u64,
    pub(super) rooms: u64,
    pub(super) memberships: u64,
    pub(super) messages_received_per_s: f64,
    pub(super) deliveries_per_s: f64,
    pub(super) refused_per_s: f64,
    pub(super) http_responses_per_s: f64,
    pub(super) slow_readers: u64,
    pub(super) slow_reader_bytes: u64,
    pub(super) outbox_peak_bytes: u64,
    pub(super) outbox_max_bytes: u64,
    pub(super) outbox_overflows_per_s: f64,
    pub(super) messages_dropped_per_s: f64,
    pub(super) turn_p99_s: Option<f64>,
    pub(super) fan_out_p99_s: Option<f64>,
    pub(super) store_commit_p99_s: Option<f64>,
    pub(super) history_bytes: u64,
    pub(super) history_max_bytes: u64,
    /// CPU seconds per second.
    pub(super) cpu: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_fds: u64,
    /// The namespace of the lists.
    pub(super) namespace: String,
    /// True when the lists cover all servers that share a relay, and the other figures only this
    /// one.
    pub(super) cluster: bool,
    pub(super) largest_rooms: Vec<RoomFigures>,
    pub(super) slowest_readers: Vec<Reader>,
    /// True when the lists cover only the first 10,000 rooms and connections.
    pub(super) partial: bool,
    /// Servers that did not answer: the lists lack their rooms and readers.
    pub(super) missing: Vec<String>,
    /// The reason why some slow readers are counted but not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elsewhere: Option<String>,
    /// The reason why rooms and readers, or some of them, are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) without_api: Option<String>,
}

/// Figures of a room.
#[derive(Debug, Serialize)]
pub(super) struct RoomFigures {
    pub(super) room: String,
    pub(super) members: u64,
    /// The rate of messages; only for a room with a history, as others have no offsets.
    pub(super) messages_per_s: Option<f64>,
}

impl Figures {
    /// The figures of the time between two samples.
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let interval = now.at - before.at;
        let (old, new) = (&before.metrics, &now.metrics);
        let gauge = |name: &str| new.get(name).map_or(0, whole);
        // A restarted server counts from 0, so a difference may be negative.
        let rate = |name: &str| per_second(new.sum(name) - old.sum(name), interval);
        let p99 = |name: &str| new.quantile_since(old, name, 0.99);
        Self {
            version: new.label("roomcast_build_info").map(str::to_owned),
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            connections: gauge("roomcast_connections"),
            connections_max: gauge("roomcast_connections_max"),
            opened_per_s: rate("roomcast_connections_opened_total"),
            closed_per_s: rate("roomcast_connections_closed_total"),
            namespaces: gauge("roomcast_namespaces"),
            rooms: gauge("roomcast_rooms"),
            memberships: gauge("roomcast_memberships"),
            messages_received_per_s: rate("roomcast_messages_received_total"),
            deliveries_per_s: rate("roomcast_deliveries_total"),
            refused_per_s: rate("roomcast_refused_total"),
            http_responses_per_s: rate("roomcast_http_responses_total"),
            slow_readers: gauge("roomcast_slow_readers"),
            slow_reader_bytes: gauge("roomcast_slow_reader_bytes"),
            outbox_peak_bytes: gauge("roomcast_outbox_peak_bytes"),
            outbox_max_bytes: gauge("roomcast_outbox_max_bytes"),
            outbox_overflows_per_s: rate("roomcast_outbox_overflows_total"),
            messages_dropped_per_s: rate("roomcast_messages_dropped_total"),
            turn_p99_s: p99("roomcast_turn_seconds"),
            fan_out_p99_s: p99("roomcast_fan_out_seconds"),
            store_commit_p99_s: p99("roomcast_store_commit_seconds"),
            history_bytes: gauge("roomcast_history_bytes"),
            history_max_bytes: gauge("roomcast_history_max_bytes"),
            cpu: rate("process_cpu_seconds_total"),
            resident_bytes: gauge("process_resident_memory_bytes"),
            open_fds: gauge("process_open_fds"),
            largest_rooms: rooms(before, now, interval),
            slowest_readers: now.readers.iter().take(LISTED_MAX).cloned().collect(),
            namespace: now.namespace.clone(),
            cluster: now.is_of_cluster(),
            partial: now.partial,
            missing: now.missing.iter().cloned().collect(),
            elsewhere: now.elsewhere(),
            without_api: now.without_api.clone(),
        }
    }
}

/// The rooms with the most members.
#[allow(clippy::cast_precision_loss)] // offsets of one interval
fn rooms(before: &Sample, now: &Sample, interval: Duration) -> Vec<RoomFigures> {
    let offsets = before.offsets();
    let mut largest: Vec<_> = now.rooms.iter().collect();
    largest.sort_by_key(|room| Reverse(room.members));
    largest.truncate(LISTED_MAX);
    let figures = largest.into_iter().map(|room| {
        let before = offsets.get(&*room.room).copied();
        let has_history = room.offset > 0;
        let sent = before.map(|before| room.offset.saturating_sub(before) as f64);
        RoomFigures {
            room: room.room.clone(),
            members: room.members,
            messages_per_s: sent
                .filter(|_| has_history)
                .map(|sent| per_second(sent, interval)),
        }
    });
    figures.collect()
}

/// A rate with three decimal places; 0 for an interval of 0.
fn per_second(count: f64, interval: Duration) -> f64 {
    match interval.as_secs_f64() {
        0.0 => 0.0,
        seconds => (count.max(0.0) / seconds * 1e3).round() / 1e3,
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts
const fn whole(value: f64) -> u64 {
    value as u64
}
