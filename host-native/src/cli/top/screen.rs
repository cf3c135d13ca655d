//! Figures as lines of a screen.

use super::{
    super::{client::endpoint::Endpoint, replay::show::one_line},
    figures::Figures,
    format::{bytes, count, millis, rate},
};

/// Formats the lines. Rooms and readers come last, so that a small screen shows the rest.
pub(super) fn lines(url: &Endpoint, figures: &Figures) -> Vec<String> {
    let mut lines = totals(url, figures);
    lines.push(String::new());
    let is_empty = figures.largest_rooms.is_empty() && figures.slowest_readers.is_empty();
    if let Some(fault) = &figures.without_api {
        let mut remarks = fault.lines();
        let fault = remarks.next().unwrap_or_default();
        let what = match is_empty {
            true => "no rooms and no readers",
            false => "not all rooms and readers",
        };
        lines.push(format!("{what}: {fault}"));
        lines.extend(remarks.map(str::to_owned));
        if is_empty {
            return lines;
        }
    }
    lines.extend(remarks(figures));
    if !figures.slowest_readers.is_empty() {
        lines.push(format!("{:>12}  {:20}  USER", "QUEUED", "SLOW READER"));
        // Only a few, so that rooms are visible after them.
        for reader in figures.slowest_readers.iter().take(8) {
            let (queued, conn, user) = (bytes(reader.queued_bytes), &reader.conn, &reader.user);
            lines.push(format!("{queued:>12}  {conn:20}  {}", one_line(user)));
        }
        lines.push(String::new());
    }
    lines.push(format!("{:>12}  {:>12}  ROOM", "MEMBERS", "MESSAGES"));
    for room in &figures.largest_rooms {
        let sent = room.messages_per_s.map_or_else(|| "-".to_owned(), rate);
        let (members, name) = (count(room.members), one_line(&room.room));
        lines.push(format!("{members:>12}  {sent:>12}  {name}"));
    }
    lines
}

/// Lines about the lists: what they cover, and what they lack.
fn remarks(figures: &Figures) -> Vec<String> {
    let mut remarks = Vec::new();
    if figures.cluster {
        remarks.push("rooms and slow readers of all servers, all else of this one:".to_owned());
    }
    if !figures.missing.is_empty() {
        let missing = figures.missing.join(", ");
        let missing = one_line(&missing);
        remarks.push(format!("without those of {missing}: no answer from there"));
    }
    if figures.partial {
        remarks.push("of the first 10,000 rooms and connections of the namespace:".to_owned());
    }
    if let Some(elsewhere) = &figures.elsewhere {
        remarks.push(format!("slow readers: {elsewhere}"));
    }
    remarks
}

#[rustfmt::skip] // A line for each line.
fn totals(url: &Endpoint, f: &Figures) -> Vec<String> {
    let version = one_line(f.version.as_deref().unwrap_or("(unknown version)")).into_owned();
    #[allow(clippy::cast_precision_loss)] // it is rounded
    let seconds = f.interval_ms as f64 / 1e3;
    vec![
        format!("roomcast {version} at {url}, the last {seconds:.1} s"),
        String::new(),
        format!("connections  {} of {}, opened {}, closed {}", count(f.connections),
            count(f.connections_max), rate(f.opened_per_s), rate(f.closed_per_s)),
        format!("rooms        {}, memberships {}, namespaces {}", count(f.rooms),
            count(f.memberships), count(f.namespaces)),
        format!("messages     in {}, out {}, refused {}, HTTP {}", rate(f.messages_received_per_s),
            rate(f.deliveries_per_s), rate(f.refused_per_s), rate(f.http_responses_per_s)),
        format!("queues       slow readers {} with {}, longest {} of {}, overflows {}, dropped {}",
            count(f.slow_readers), bytes(f.slow_reader_bytes), bytes(f.outbox_peak_bytes),
            bytes(f.outbox_max_bytes), rate(f.outbox_overflows_per_s), rate(f.messages_dropped_per_s)),
        format!("p99 up to    turn {}, fan-out {}, store commit {}", millis(f.turn_p99_s),
            millis(f.fan_out_p99_s), millis(f.store_commit_p99_s)),
        format!("histories    {} of {}", bytes(f.history_bytes), bytes(f.history_max_bytes)),
        format!("process      CPU {:.0} %, memory {}, descriptors {}", f.cpu * 100.0,
            bytes(f.resident_bytes), count(f.open_fds)),
    ]
}
