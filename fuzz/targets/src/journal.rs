//! Journals of a host.

use roomcast_core::{
    Outbox,
    journal::{Entry, Replay},
};

/// The number of lines that are read: more of them add nothing.
const LINES_MAX: usize = 200;

/// Replays a text as a journal, line by line. Each line is an entry or an error. An entry is
/// written as it was read, and leaves the hub consistent. A second replay gives the same commands.
///
/// # Panics
///
/// If one of these statements does not hold.
pub fn journal(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let lines = text.lines().take(LINES_MAX);
    let entries: Vec<_> = lines.filter_map(|line| Entry::parse(line).ok()).collect();
    for entry in &entries {
        let line = entry.clone().to_line();
        let read = Entry::parse(&line).expect("an entry that was written");
        assert_eq!(read.to_line(), line, "an entry is written in two ways");
    }
    let first = replay(&entries);
    assert_eq!(first, replay(&entries), "the same inputs, other commands");
}

/// The commands of a replay, and its errors.
fn replay(entries: &[Entry<'_>]) -> String {
    let (mut replay, mut out) = (Replay::new(), Outbox::new());
    let mut errors = Vec::new();
    for entry in entries {
        if let Err(error) = replay.apply(entry, &mut out) {
            errors.push(error);
        }
        if let Some(hub) = replay.hub(&entry.namespace) {
            hub.assert_consistent();
        }
    }
    format!("{out:?} {errors:?}")
}
