//! A reader that stops, among a thousand: the others do not notice, and it loses nothing.
//!
//! The reader is a process of its own, this test again, so that it can be stopped as a whole. The
//! others have everything while it still stands. How long it takes is printed, and compared by the
//! benchmark `slow`, which has a quiet machine.
#![allow(clippy::print_stdout)] // the figures

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    crowd::{self, Client, Position, number, policies, raise_descriptors},
    peer::metric,
};
use roomcast_tests::{Server, Settings};
use tokio::{
    runtime::Builder,
    time::{MissedTickBehavior, interval},
};

/// The room of all, and one of the reader alone.
const ROOMS: [&str; 2] = ["chat:crowd", "chat:flood"];
/// Publishes in a round to all, how often, and bytes of payload.
const MESSAGES: u64 = 100;
const PERIOD: Duration = Duration::from_millis(25);
const BYTES: usize = 128;
/// Publishes to the reader alone when a round begins, and bytes of payload: more than the kernel
/// holds for one that is stopped, so that it is too slow soon.
const FLOOD: u64 = 110;
const FLOOD_BYTES: usize = 60_000;
/// Rounds of each kind.
const ROUNDS: usize = 2;
const READER: &str = "ROOMCAST_READER";

/// The process that is stopped.
struct Reader {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start(authority: &str) -> Self {
        let mut process = Command::new(env::current_exe().expect("this test"))
            .args([
                "--exact",
                "slow_reader::the_reader",
                "--ignored",
                "--nocapture",
            ])
            .env(READER, authority)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        Self { process, lines }
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// The rest of the next line that it says with this word.
    fn says(&mut self, word: &str) -> String {
        let mut lines = self.lines.by_ref().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once(word)?.1.trim().to_owned()));
        said.unwrap_or_else(|| panic!("the reader ended without `{word}`"))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads both rooms without a gap, whatever happens to its connections, up to a last message.
async fn read(authority: &str) {
    let say = |text: String| {
        let mut out = std::io::stdout();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .expect("a pipe");
    };
    let mut client = Client::connect(authority).await;
    let mut at = Vec::new();
    for room in ROOMS {
        at.push(client.join(room, None).await.position);
    }
    let (mut was, mut count, mut codes) = (client.conn.clone(), 0_u64, Vec::new());
    say("reader joined".into());
    loop {
        match client.next().await {
            Ok(message) if message["event"] == "n" => {
                let offset = message["offset"].as_u64().expect("an offset");
                let room = ROOMS.iter().position(|room| message["room"] == *room);
                let at = &mut at[room.expect("one of the rooms")];
                assert_eq!(offset, at.offset + 1, "no gap and no duplicate");
                at.offset = offset;
                count += 1;
                if message["data"]["last"] == true {
                    say(format!("reader read {count} {codes:?}"));
                    return;
                }
            }
            Ok(_) => {}
            Err(code) => {
                codes.push(code);
                client = Client::connect(authority).await;
                // The room with the last message comes last.
                for (room, at) in ROOMS.iter().zip(&mut at).rev() {
                    let joined = client.join(room, Some((at, &was))).await;
                    if joined.recovered == Some(false) {
                        // More than one join replays.
                        assert_eq!(joined.position.epoch, at.epoch);
                        count += catch_up(&mut client, room, at).await;
                        continue;
                    }
                    for _ in 0..joined.missed {
                        let message = client.next().await.expect("what was missed");
                        at.offset += 1;
                        assert_eq!(message["offset"].as_u64(), Some(at.offset), "no gap");
                        count += 1;
                        if message["data"]["last"] == true {
                            say(format!("reader read {count} {codes:?}"));
                            return;
                        }
                    }
                }
                was.clone_from(&client.conn);
            }
        }
    }
}

/// Reads what follows a position from the history, page by page; gives how many messages.
async fn catch_up(client: &mut Client, room: &str, at: &mut Position) -> u64 {
    let mut count = 0;
    loop {
        let after = at.offset;
        let ask = format!(
            r#"{{"event":"$history","id":"h","room":"{room}","data":{{"after":{after}}}}}"#
        );
        assert!(client.send(ask).await, "the socket is open");
        let answer = client.next().await.expect("an answer");
        assert_eq!(answer["event"], "$history", "nobody speaks here now");
        let data = &answer["data"];
        assert_eq!(data["epoch"].as_str(), Some(&*at.epoch));
        assert!(data["first"].as_u64() <= Some(after + 1), "nothing is lost");
        let messages = data["messages"].as_array().expect("messages");
        for message in messages {
            at.offset += 1;
            assert_eq!(message["offset"].as_u64(), Some(at.offset), "no gap");
            count += 1;
        }
        if messages.is_empty() {
            return count;
        }
    }
}

#[test]
#[ignore = "a process of the other test"]
fn the_reader() {
    let authority = env::var(READER).expect("its server");
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(read(&authority));
}

type Latencies = Arc<Mutex<Vec<u64>>>;

/// Notes how long each message took, but for the last of a round: the next round may have begun.
async fn listen(mut client: Client, start: Instant, latencies: Latencies) {
    while let Ok(text) = client.text().await {
        if text.contains(r#""last":true"#) {
            continue;
        }
        let sent = text.split_once(r#""us":"#).map(|(_, rest)| rest);
        let end = sent.and_then(|rest| rest.find(|c: char| !c.is_ascii_digit()));
        if let (Some(sent), Some(end)) = (sent, end) {
            let sent: u64 = sent[..end].parse().expect("a time");
            let now = u64::try_from(start.elapsed().as_micros()).expect("short");
            latencies.lock().expect("no panic").push(now - sent);
        }
    }
}

struct Crowd {
    server: Server,
    publisher: Client,
    start: Instant,
    latencies: Latencies,
    members: usize,
}

impl Crowd {
    /// Publishes a round, and waits until everybody here has it; gives the 99th percentile in µs.
    async fn round(&mut self) -> u64 {
        self.latencies.lock().expect("no panic").clear();
        for _ in 0..FLOOD {
            self.publish(ROOMS[1], FLOOD_BYTES, false).await;
        }
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..MESSAGES {
            ticks.tick().await;
            self.publish(ROOMS[0], BYTES, false).await;
        }
        let all = usize::try_from(MESSAGES).expect("a number") * self.members;
        let patience = Instant::now();
        loop {
            let count = self.latencies.lock().expect("no panic").len();
            if count == all {
                break;
            }
            assert!(
                patience.elapsed() < crowd::PATIENCE,
                "{count} of {all} arrived"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut latencies = self.latencies.lock().expect("no panic").clone();
        latencies.sort_unstable();
        latencies[latencies.len() * 99 / 100]
    }

    async fn publish(&mut self, room: &str, bytes: usize, last: bool) {
        let (us, pad) = (self.start.elapsed().as_micros(), "x".repeat(bytes));
        let data = format!(r#"{{"us":{us},"last":{last},"pad":"{pad}"}}"#);
        let text = format!(r#"{{"event":"n","id":1,"room":"{room}","data":{data}}}"#);
        assert!(self.publisher.send(text).await, "the socket is open");
        self.publisher.next().await.expect("an answer");
    }
}

async fn crowd(members: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    let policy =
        "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 1000\nhistory.bytes = 16777216\n";
    flags.push(policies(folder.path(), policy));
    // Who takes nothing for so long is too slow, even if the queue has room: longer than this
    // machine may let the reader stand when it catches up. One that is stopped passes the queue.
    let limits = ["--write-stall-ms=8000", "--close-wait-ms=500"];
    flags.extend(limits.map(str::to_owned));
    let server = Server::start(&flags);
    let (start, latencies) = (Instant::now(), Latencies::default());
    for _ in 0..members {
        let mut client = Client::connect(server.authority()).await;
        client.join(ROOMS[0], None).await;
        tokio::spawn(listen(client, start, latencies.clone()));
    }
    let publisher = Client::connect(server.authority()).await;
    let mut crowd = Crowd {
        server,
        publisher,
        start,
        latencies,
        members,
    };
    crowd.round().await; // warms up
    let (mut without, mut with, mut outcomes) = (u64::MAX, u64::MAX, Vec::new());
    for _ in 0..ROUNDS {
        without = without.min(crowd.round().await);
        let authority = crowd.server.authority().to_owned();
        let mut reader = Reader::start(&authority);
        reader.says("reader joined");
        reader.signal("STOP");
        // It ends when all others have all messages: none of them waits for the one that stands.
        with = with.min(crowd.round().await);
        reader.signal("CONT");
        crowd.publish(ROOMS[0], BYTES, true).await;
        let read = tokio::task::spawn_blocking(move || reader.says("reader read"));
        let read = read.await.expect("no panic");
        let (count, codes) = read.split_once(' ').expect("two words");
        assert_eq!(count.parse(), Ok(MESSAGES + FLOOD + 1), "nothing is lost");
        // It may find its connection reset when it looks.
        assert!(["[]", "[4409]", "[1006]"].contains(&codes), "{codes}");
        outcomes.push(codes.to_owned());
    }
    let closed = closed_as_slow(&crowd.server);
    println!(
        "{members} members: p99 {without} µs, with a stopped reader {with} µs: ratio {:.2}; the \
         reader's closes by round {outcomes:?}, {closed} with 4409; it lost nothing",
        ratio(with, without)
    );
    assert!(
        closed > 0,
        "the reader was never too slow: the test tests nothing"
    );
}

#[allow(clippy::cast_precision_loss)] // of microseconds
fn ratio(with: u64, without: u64) -> f64 {
    with as f64 / without.max(1) as f64
}

/// The number of connections that were closed as too slow.
fn closed_as_slow(server: &Server) -> u64 {
    let name = "roomcast_connections_closed_total{code=\"4409\"}";
    metric(server.authority(), name).unwrap_or(0)
}

#[test]
fn a_stopped_reader_changes_nothing_for_others_and_loses_nothing() {
    raise_descriptors();
    let runtime = Builder::new_current_thread().enable_all().build();
    let members = number("ROOMCAST_CROWD_MEMBERS", 999);
    let members = usize::try_from(members).expect("a number of members");
    runtime.expect("a runtime").block_on(crowd(members));
}
