//! States after some lines, from which jumps begin.

use roomcast_core::{Hub, journal::Replay};

use super::lines::Lines;

/// The initial number of lines between two snapshots: a jump plays no more.
pub(super) const STRIDE: usize = 256;
/// The number of snapshots, at most. Above it, or above the limit of their bytes, every second one
/// is dropped, and the distance between them doubles.
const SNAPSHOTS_MAX: usize = 128;
/// The bytes of all snapshots, at most.
const BYTES_MAX: usize = 128 << 20;
/// The bytes of a state that may be copied for each byte of the lines since the previous snapshot:
/// a fifth of the time that playing these lines takes.
const COPIED_BYTES_MAX: usize = 8;

/// The approximate size of each in memory.
const HUB_BYTES: usize = 4 << 10;
const CONN_BYTES: usize = 512;
const ROOM_BYTES: usize = 256;
const MEMBERSHIP_BYTES: usize = 32;
const KEY_BYTES: usize = 256;

/// States after some lines; the first is before line 1.
#[derive(Debug)]
pub(super) struct Snapshots {
    kept: Vec<Snapshot>,
    bytes: usize,
    stride: usize,
}

#[derive(Debug)]
struct Snapshot {
    line: usize,
    bytes: usize,
    replay: Replay,
}

impl Snapshots {
    pub(super) fn new() -> Self {
        let first = Snapshot {
            line: 0,
            bytes: 0,
            replay: Replay::new(),
        };
        Self {
            kept: vec![first],
            bytes: 0,
            stride: STRIDE,
        }
    }

    /// Copies the state after a line, the last one so far, if a snapshot is due and is not too
    /// large.
    pub(super) fn offer(&mut self, line: usize, lines: &Lines, replay: &Replay) {
        if !line.is_multiple_of(self.stride) {
            return;
        }
        let bytes = replay.hubs().map(|(_, hub)| bytes_of(hub)).sum();
        let last = self.kept.last().map_or(0, |last| last.line);
        let played = lines.bytes_to(line) - lines.bytes_to(last);
        if bytes > BYTES_MAX.min(COPIED_BYTES_MAX * played) {
            return;
        }
        self.bytes += bytes;
        self.kept.push(Snapshot {
            line,
            bytes,
            replay: replay.clone(),
        });
        while self.kept.len() > SNAPSHOTS_MAX || self.bytes > BYTES_MAX {
            self.thin_out();
        }
    }

    /// The line of the last snapshot at or before this line, and its state.
    pub(super) fn before(&self, line: usize) -> (usize, &Replay) {
        let count = self.kept.partition_point(|kept| kept.line <= line);
        // The first snapshot is of line 0.
        let kept = &self.kept[count.saturating_sub(1)];
        (kept.line, &kept.replay)
    }

    fn thin_out(&mut self) {
        let mut index = 0;
        self.kept.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        self.bytes = self.kept.iter().map(|kept| kept.bytes).sum();
        self.stride *= 2;
    }
}

/// The approximate bytes of a hub. Work: constant.
fn bytes_of(hub: &Hub) -> usize {
    let counts = hub.counts();
    HUB_BYTES
        + counts.connections * CONN_BYTES
        + counts.rooms * ROOM_BYTES
        + counts.memberships * MEMBERSHIP_BYTES
        + counts.history_bytes
        + hub.client_keys() * KEY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A room whose history becomes large: each line adds so many bytes to it.
    fn lines(messages: usize, bytes: usize) -> Lines {
        let open = r#"{"config":{"epoch":"e","policies":{"rooms":[{"match":"*","history":{"messages":100000,"bytes":1000000000}}]},"limits":{"history_bytes":1000000000}},"state":{"next_serial":0}}"#;
        let mut text = format!("{{\"at\":0,\"namespace\":\"a\",\"open\":{open}}}\n");
        let data = "x".repeat(bytes);
        for _ in 0..messages {
            let send = format!(r#"{{"audience":{{"rooms":["r"]}},"event":"e","data":"{data}"}}"#);
            text.push_str(&format!(
                "{{\"at\":3,\"namespace\":\"a\",\"input\":{{\"send\":{send}}}}}\n"
            ));
        }
        Lines::new(text.into_bytes()).expect("a journal")
    }

    fn snapshots(lines: &Lines) -> (Snapshots, usize) {
        let (mut snapshots, mut replay) = (Snapshots::new(), Replay::new());
        let (mut out, mut copied) = (roomcast_core::Outbox::new(), 0);
        for line in 1..=lines.len() {
            out.clear();
            let entry = lines.entry(line).expect("a line");
            replay.apply(&entry, &mut out).expect("opened");
            let before = snapshots.bytes;
            snapshots.offer(line, lines, &replay);
            copied += snapshots.bytes.saturating_sub(before);
            assert!(snapshots.bytes <= BYTES_MAX && snapshots.kept.len() <= SNAPSHOTS_MAX);
        }
        let last = replay.hub("a").map_or(0, |hub| hub.counts().history_bytes);
        assert!(last >= lines.len() * 4 / 5, "the room keeps {last} bytes");
        (snapshots, copied)
    }

    #[test]
    fn snapshots_of_a_large_history_copy_in_proportion_to_the_journal() {
        let lines = lines(10_000, 2_000);
        let (snapshots, copied) = snapshots(&lines);
        let bytes = lines.bytes_to(lines.len());
        assert!(copied <= COPIED_BYTES_MAX * bytes, "{copied} of {bytes}");
        assert!(snapshots.kept.len() > 4, "{}", snapshots.kept.len());
        let (line, _) = snapshots.before(lines.len());
        assert!(line >= lines.len() / 2, "the last is behind line {line}");
    }

    #[test]
    fn the_last_snapshot_before_a_line_is_found() {
        let lines = lines(1_000, 1);
        let (snapshots, _) = snapshots(&lines);
        for (line, expected) in [(0, 0), (255, 0), (256, 256), (257, 256), (1_000, 768)] {
            assert_eq!(snapshots.before(line).0, expected, "{line}");
        }
    }
}
