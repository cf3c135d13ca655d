//! `kill -9` while clients publish: acknowledged messages are there after a restart, in order,
//! once.
#![allow(clippy::print_stdout)] // the figures

use std::{collections::BTreeMap, time::Duration};

use crate::crowd::{Client, Position, number, policies, store};
use roomcast_tests::{Server, Settings};
use tokio::{
    runtime::Builder,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

const ROOM: &str = "chat:kill";
const SUBSCRIBERS: usize = 5;
/// Publishes in a burst, and how often: 1,000 a second.
const BURST: u64 = 5;
const PERIOD: Duration = Duration::from_millis(5);
/// The number of acknowledgements before the kill: the least, and how many more at most. The store
/// makes a checkpoint every second, so some kills come before the first, some after it.
const ACKS: (u64, u64) = (150, 1_200);

/// Messages that one subscriber has seen, over all its connections.
#[derive(Default)]
struct Seen {
    at: Option<(Position, String)>,
    /// Numbers of publishes by their offsets.
    numbers: BTreeMap<u64, u64>,
}

impl Seen {
    fn take(&mut self, message: &serde_json::Value) {
        let offset = message["offset"].as_u64().expect("an offset");
        let number = message["data"].as_u64().expect("a number");
        let (position, _) = self.at.as_mut().expect("joined");
        assert_eq!(offset, position.offset + 1, "no gap and no duplicate");
        position.offset = offset;
        self.numbers.insert(offset, number);
    }

    /// Comes back and goes on.
    async fn join(&mut self, client: &mut Client) {
        let since = self.at.as_ref().map(|(position, was)| (position, &**was));
        let joined = client.join(ROOM, since).await;
        match &mut self.at {
            None => self.at = Some((joined.position, client.conn.clone())),
            Some((position, was)) => {
                assert_eq!(joined.recovered, Some(true), "{position:?}: {joined:?}");
                assert_eq!(joined.position.epoch, position.epoch);
                assert_eq!(joined.position.offset, position.offset + joined.missed);
                was.clone_from(&client.conn);
            }
        }
    }

    /// Reads until the connection ends, or until the message with this number.
    async fn read(&mut self, client: &mut Client, last: Option<u64>) {
        while let Ok(message) = client.next().await {
            if message["event"] == "n" {
                self.take(&message);
                if last.is_some() && message["data"].as_u64() == last {
                    return;
                }
            }
        }
        assert_eq!(last, None, "the connection ended");
    }
}

/// Connects all subscribers to a server, where they come back and go on.
async fn join_all(server: &Server, seen: &mut [Seen]) -> Vec<Client> {
    let mut clients = Vec::new();
    for seen in seen {
        let mut client = Client::connect(server.authority()).await;
        seen.join(&mut client).await;
        clients.push(client);
    }
    clients
}

/// Publishes from a number on until the connection ends; gives the offsets that were acknowledged,
/// by number. Rings when there are enough.
fn publish(
    mut client: Client,
    first: u64,
    enough: u64,
    ring: tokio::sync::oneshot::Sender<()>,
) -> JoinHandle<BTreeMap<u64, u64>> {
    tokio::spawn(async move {
        let (mut next, mut acks, mut ring) = (first, BTreeMap::new(), Some(ring));
        let mut ticks = interval(PERIOD);
        // What a pause of this process left out is not made up for in one go: that could be more
        // than the history keeps, between a commit and its delivery.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut open = true;
        loop {
            tokio::select! {
                _ = ticks.tick(), if open => {
                    for _ in 0..BURST {
                        let text = format!(r#"{{"event":"n","id":{next},"room":"{ROOM}","data":{next}}}"#);
                        open &= client.send(text).await;
                        next += 1;
                    }
                }
                answer = client.next() => {
                    let Ok(answer) = answer else {
                        return acks;
                    };
                    let number = answer["id"].as_u64().expect("an answer");
                    let offset = answer["data"]["offset"].as_u64().expect("an offset");
                    assert_eq!(acks.insert(number, offset), None, "one answer each");
                    if acks.len() as u64 >= enough && let Some(ring) = ring.take() {
                        let _ = ring.send(());
                    }
                }
            }
        }
    })
}

async fn rounds(count: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    let policy = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 2000\n";
    flags.push(policies(folder.path(), policy));
    flags.push(store(folder.path()));
    let mut seen: Vec<Seen> = (0..SUBSCRIBERS).map(|_| Seen::default()).collect();
    let (mut acked, mut next) = (BTreeMap::new(), 0);
    for round in 0..count {
        let mut flags = flags.clone();
        // The room is at home on one of them, its members are on all.
        flags.push(format!("--threads={}", 1 + round % 3));
        let server = Server::start(&flags);
        let clients = join_all(&server, &mut seen).await;
        let publisher = Client::connect(server.authority()).await;
        let (ring, enough) = tokio::sync::oneshot::channel();
        // Some moment of its own for each round.
        let acks = ACKS.0 + round * 397 % ACKS.1;
        let publishing = publish(publisher, next, acks, ring);
        let reading = seen.drain(..).zip(clients).map(|(mut seen, mut client)| {
            tokio::spawn(async move {
                seen.read(&mut client, None).await;
                seen
            })
        });
        let reading: Vec<_> = reading.collect();
        enough.await.expect("acknowledgements");
        server.kill();
        acked.extend(publishing.await.expect("no panic"));
        for reader in reading {
            seen.push(reader.await.expect("no panic"));
        }
        // More than can have been sent.
        next += 1_000_000;
    }
    let server = Server::start(&flags);
    let mut clients = join_all(&server, &mut seen).await;
    let mut publisher = Client::connect(server.authority()).await;
    let last = format!(r#"{{"event":"n","room":"{ROOM}","data":{next}}}"#);
    assert!(publisher.send(last).await, "the socket is open");
    for (seen, client) in seen.iter_mut().zip(&mut clients) {
        seen.read(client, Some(next)).await;
        for (number, offset) in &acked {
            assert_eq!(seen.numbers.get(offset), Some(number), "offset {offset}");
        }
        let numbers: Vec<_> = seen.numbers.values().collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "each once, in order");
    }
    let received = seen[0].numbers.len();
    println!(
        "{count} rounds of kill -9: {} acknowledged, {received} received by each of {SUBSCRIBERS}, \
         none lost, none twice",
        acked.len()
    );
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let runtime = Builder::new_current_thread().enable_all().build();
    let count = number("ROOMCAST_KILL_ROUNDS", 20);
    runtime.expect("a runtime").block_on(rounds(count));
}
