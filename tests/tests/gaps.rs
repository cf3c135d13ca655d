//! Readers that pause in a room that drops its oldest messages: `$gap` comes exactly where messages
//! were lost, on any number of threads.
//!
//! A late notice hides a loss: a client that is cut off before the notice has an offset after the
//! gap, and reconnects from there.
#![allow(clippy::print_stdout)] // the figures

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    crowd::policies,
    peer::{self, Peer, Said, close},
};
use roomcast_tests::{Server, Settings};

const READERS: usize = 8;
/// Messages of 3 kB.
const MESSAGES: u64 = 24_000;
/// Published in one go.
const BURST: u64 = 40;
/// Bytes that a reader reads before it pauses.
const READ: usize = 300_000;
const PAUSE: Duration = Duration::from_millis(2);
/// Gaps that must be seen, in so many runs at most.
const GAPS: u64 = 100;
const RUNS_MAX: u32 = 20;

const POLICY: &str =
    "[[rooms]]\nmatch = \"*\"\nhistory.messages = 100\noverflow = \"drop-oldest\"\n";

/// Messages and gaps that a reader saw.
#[derive(Debug, Default)]
struct Seen {
    gaps: u64,
    /// Losses without a notice before them, as ranges; notices that came after messages from beyond
    /// the loss, with the offsets of both.
    silent: Vec<(u64, u64)>,
    late: Vec<(u64, u64)>,
}

fn number(text: &str, name: &str) -> Option<u64> {
    let rest = &text[text.find(name)? + name.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// Reads up to the last message.
fn read(mut peer: Peer, pause: Duration, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let (mut at, mut told, mut bytes) = (0, None, 0);
    loop {
        let Said::Text(text) = peer.next() else {
            panic!("the reader was closed");
        };
        bytes += text.len();
        if text.starts_with(r#"{"event":"$gap""#) {
            let after = number(&text, r#""after":"#).expect("an offset");
            if after != at {
                seen.late.push((after, at));
            }
            told = Some(at);
            seen.gaps += 1;
        } else if let Some(offset) = number(&text, r#""offset":"#) {
            if offset != at + 1 && told != Some(at) {
                seen.silent.push((at + 1, offset));
            }
            // A notice covers the loss after it, as long as no message is in between.
            told = None;
            at = offset;
            if offset == MESSAGES {
                return seen;
            }
        }
        if bytes >= READ && !over.load(Ordering::Relaxed) {
            bytes = 0;
            thread::sleep(pause);
        }
    }
}

/// A server of rooms that drop their oldest messages.
fn server(threads: usize) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    flags.extend([
        format!("--threads={threads}"),
        policies(folder.path(), POLICY),
        "--outbox-frames-max=200".into(),
        // Readers say nothing and answer no pings, for as long as a run takes.
        "--heartbeat-ms=off".into(),
    ]);
    let server = Server::start(&flags);
    (folder, server)
}

/// Returns the number of gaps, and the misplaced or missing notices.
fn run(threads: usize, pause: Duration) -> (u64, Vec<(u64, u64)>) {
    let (_folder, server) = server(threads);
    let over = AtomicBool::new(false);
    let mut publisher = Peer::connect(server.authority(), "");
    publisher.join("log");
    let pad = "x".repeat(3000);
    let text = peer::text(&format!(r#"{{"event":"m","room":"log","data":"{pad}"}}"#));
    let asks = peer::text(&format!(
        r#"{{"event":"m","id":1,"room":"log","data":"{pad}"}}"#
    ));
    let mut burst = text.repeat(usize::try_from(BURST).expect("few") - 1);
    burst.extend(asks);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let mut peer = Peer::connect_small(server.authority(), "");
                peer.join("log");
                scope.spawn(|| read(peer, pause, &over))
            })
            .collect();
        for _ in 0..MESSAGES / BURST {
            publisher.write(&burst);
            assert!(matches!(publisher.next(), Said::Text(_)));
        }
        over.store(true, Ordering::Relaxed);
        let (mut gaps, mut silent) = (0, Vec::new());
        for reader in readers {
            let seen = reader.join().expect("a reader");
            gaps += seen.gaps;
            silent.extend(seen.silent);
            silent.extend(seen.late);
        }
        publisher.write(&close(1000));
        (gaps, silent)
    })
}

fn on_threads(threads: usize) {
    let begun = Instant::now();
    let (mut gaps, mut silent) = (0, Vec::new());
    // How many there are depends on how fast the server is: readers are slower each time.
    for slower in 1..=RUNS_MAX {
        let (more, late) = run(threads, PAUSE * slower);
        gaps += more;
        silent.extend(late);
        if gaps > GAPS {
            break;
        }
    }
    let late = silent.len();
    println!(
        "{threads} threads: {late} of {gaps} gaps late, in {:?}",
        begun.elapsed()
    );
    assert!(gaps > GAPS, "{gaps} gaps: nothing was tried");
    assert!(late == 0, "{late} of {gaps} gaps are told late: {silent:?}");
}

/// The position of a member in a room.
struct At {
    offset: u64,
    /// True when it was told that it lost something behind that.
    told: bool,
}

/// Reads two rooms up to the last message of the one, and leaves the other and joins it again;
/// returns the number of gaps it was told of, and the faults in them.
fn read_two(mut peer: Peer, pause: Duration, over: &AtomicBool) -> (u64, Vec<String>) {
    let (mut gaps, mut faults, mut bytes) = (0, Vec::new(), 0);
    let mut rooms = ["log", "den"].map(|room| {
        (
            room,
            Some(At {
                offset: 0,
                told: false,
            }),
        )
    });
    loop {
        let Said::Text(text) = peer.next() else {
            panic!("the reader was closed");
        };
        bytes += text.len();
        let of = usize::from(text.contains(r#""room":"den""#));
        let (room, at) = &mut rooms[of];
        if text.starts_with(r#"{"event":"$leave""#) {
            *at = None;
        } else if text.starts_with(r#"{"event":"$join""#) {
            let offset = number(&text, r#""offset":"#).expect("an offset");
            *at = Some(At {
                offset,
                told: false,
            });
        } else if text.starts_with(r#"{"event":"$gap""#) {
            let after = number(&text, r#""after":"#).expect("an offset");
            let at = at.as_mut().expect("a member");
            gaps += 1;
            if after != at.offset {
                faults.push(format!(
                    "{room}: {after} at {}, told {}",
                    at.offset, at.told
                ));
            }
            at.told = true;
        } else if let Some(offset) = number(&text, r#""offset":"#) {
            let at = at.as_mut().expect("a member");
            if offset != at.offset + 1 && !at.told {
                faults.push(format!("{room}: {offset} at {}", at.offset));
            }
            *at = At {
                offset,
                told: false,
            };
            if of == 0 && offset == MESSAGES / 2 {
                return (gaps, faults);
            }
        }
        if bytes >= READ && !over.load(Ordering::Relaxed) {
            bytes = 0;
            peer.say(r#"{"event":"$leave","room":"den"}"#);
            peer.say(r#"{"event":"$join","room":"den"}"#);
            thread::sleep(pause);
        }
    }
}

/// Answers about one room do not count as messages read in another.
#[test]
fn a_gap_is_told_once_while_nothing_of_its_room_is_read() {
    let (mut gaps, mut faults) = (0, Vec::new());
    // A machine that is busy elsewhere may let the readers keep up: they are slower each time.
    for (threads, slower) in [1, 2].into_iter().cycle().zip(1..=12) {
        if gaps > GAPS {
            break;
        }
        let (_folder, server) = server(threads);
        let over = AtomicBool::new(false);
        let mut publisher = Peer::connect(server.authority(), "");
        let pad = "x".repeat(3000);
        let say = |room: &str, id: &str| {
            peer::text(&format!(
                r#"{{"event":"m",{id}"room":"{room}","data":"{pad}"}}"#
            ))
        };
        let mut burst = [say("den", ""), say("log", "")].concat();
        burst = burst.repeat(usize::try_from(BURST / 2).expect("few") - 1);
        burst.extend([say("den", ""), say("log", r#""id":1,"#)].concat());
        thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|_| {
                    let mut peer = Peer::connect_small(server.authority(), "");
                    peer.join("log");
                    peer.join("den");
                    scope.spawn(|| read_two(peer, PAUSE * slower, &over))
                })
                .collect();
            publisher.join("log");
            publisher.join("den");
            for _ in 0..MESSAGES / BURST {
                publisher.write(&burst);
                loop {
                    match publisher.next() {
                        Said::Text(text) if text.contains(r#""id":1"#) => break,
                        Said::Text(_) => {}
                        said @ (Said::Ping | Said::Pong | Said::Close(_) | Said::End) => {
                            panic!("{said:?} for the answer")
                        }
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
            for reader in readers {
                let (more, wrong) = reader.join().expect("a reader");
                gaps += more;
                faults.extend(wrong);
            }
        });
    }
    println!("{} of {gaps} gaps are wrong", faults.len());
    assert!(gaps > GAPS, "{gaps} gaps: nothing was tried");
    assert!(faults.is_empty(), "{} of {gaps}: {faults:?}", faults.len());
}

#[test]
fn a_gap_is_told_where_it_is_on_one_thread() {
    on_threads(1);
}

#[test]
fn a_gap_is_told_where_it_is_on_two_threads() {
    on_threads(2);
}

#[test]
fn a_gap_is_told_where_it_is_on_four_threads() {
    on_threads(4);
}
