//! SIGTERM with a thousand clients that publish: nothing that was acknowledged is lost, and they
//! leave spread over the window.
#![allow(clippy::print_stdout)] // the figures

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::crowd::{Client, Position, number, policies, raise_descriptors, store};
use roomcast_tests::{Server, Settings};
use tokio::{
    runtime::Builder,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

/// Each room has so many members, of whom one publishes.
const MEMBERS: usize = 10;
/// Time between two messages of a publisher.
const PERIOD: Duration = Duration::from_millis(100);
/// The time within which a shutdown completes.
const LONGEST: Duration = Duration::from_secs(30);
/// Largest part of all closes in any one second.
const SHARE_MAX: f64 = 0.15;
/// The time between two looks for a pause of this process, and the shortest pause.
const LOOK: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The end of a client's connection: its time and close code, and the acknowledgements received, by
/// offset.
struct Left {
    at: Instant,
    code: u16,
    bye_ms: Option<u64>,
    acks: BTreeMap<u64, u64>,
}

/// Reads until the close; publishes meanwhile when it is to.
async fn stay(mut client: Client, room: usize, publishes: bool, stop: watch::Receiver<()>) -> Left {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut next, mut acks, mut bye_ms) = (0_u64, BTreeMap::new(), None);
    // Held, so that the sender knows when all clients have left.
    let _stop = stop;
    loop {
        tokio::select! {
            _ = ticks.tick(), if publishes => {
                let text = format!(r#"{{"event":"n","id":{next},"room":"chat:{room}","data":{next}}}"#);
                // An error means that the connection was closed, which is read next.
                let _ = client.send(text).await;
                next += 1;
            }
            message = client.next() => match message {
                Ok(message) if message["event"] == "$bye" => {
                    bye_ms = message["data"]["after_ms"].as_u64();
                }
                Ok(message) => if let Some(number) = message["id"].as_u64() {
                    let offset = message["data"]["offset"].as_u64().expect("an offset");
                    acks.insert(offset, number);
                }
                Err(code) => return Left { at: Instant::now(), code, bye_ms, acks },
            }
        }
    }
}

/// Looks for pauses of this process until all clients have left; gives the end and the length of
/// each. What the server closes meanwhile is read in one go when it is over.
async fn pauses(keep: watch::Sender<()>) -> Vec<(Instant, Duration)> {
    let (mut pauses, mut looked) = (Vec::new(), Instant::now());
    while !keep.is_closed() {
        sleep(LOOK).await;
        let length = looked.elapsed();
        looked = Instant::now();
        if length > PAUSE {
            pauses.push((looked, length));
        }
    }
    pauses
}

async fn drain(clients: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    let policy = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 1000\n";
    flags.push(policies(folder.path(), policy));
    flags.push(store(folder.path()));
    let server = Server::start(&flags);
    let (keep, stop) = watch::channel(());
    let (mut staying, mut starts) = (Vec::new(), BTreeMap::new());
    for index in 0..clients {
        let (room, publishes) = (index / MEMBERS, index % MEMBERS == 0);
        let mut client = Client::connect(server.authority()).await;
        let joined = client.join(&format!("chat:{room}"), None).await;
        starts.entry(room).or_insert(Position {
            offset: 0,
            ..joined.position
        });
        let task = tokio::spawn(stay(client, room, publishes, stop.clone()));
        staying.push((room, task));
    }
    drop(stop);
    let begun = Instant::now();
    let pausing = tokio::spawn(pauses(keep));
    server.signal("TERM");
    let ended = tokio::task::spawn_blocking(|| {
        let code = server.wait();
        (code, Instant::now())
    });
    let mut left = Vec::new();
    for (room, task) in staying {
        left.push((room, task.await.expect("no panic")));
    }
    let (code, end) = ended.await.expect("no panic");
    let pauses = pausing.await.expect("no panic");
    let took = end.duration_since(begun);
    assert_eq!(code, Some(0), "the exit code");
    assert!(took < LONGEST, "it took {took:?}");
    let share = share_of_a_second(begun, &left, &pauses);
    // Includes messages acknowledged during the shutdown.
    let acked = recovered(&Server::start(&flags), &starts, &left).await;
    let all: usize = left.iter().map(|(_, left)| left.acks.len()).sum();
    assert_eq!(acked, all, "every acknowledged publish is recovered");
    println!(
        "SIGTERM with {clients} clients: exit 0 after {:.1} s, {all} acknowledged publishes \
         recovered, at most {:.1} % of the closes in one second",
        took.as_secs_f64(),
        share * 100.0
    );
}

/// Checks the closes; returns the largest part of them in any one second.
#[allow(clippy::cast_precision_loss)] // of numbers of clients
fn share_of_a_second(
    begun: Instant,
    left: &[(usize, Left)],
    pauses: &[(Instant, Duration)],
) -> f64 {
    let mut seconds = BTreeMap::<u64, usize>::new();
    for (_, left) in left {
        assert_eq!(left.code, 1001, "the code of the close");
        let is_soon = left.bye_ms.is_some_and(|ms| ms < 30_000);
        assert!(is_soon, "{:?}", left.bye_ms);
        let second = left.at.duration_since(begun).as_secs();
        *seconds.entry(second).or_default() += 1;
    }
    let mut most = 0.0_f64;
    for (second, closes) in &seconds {
        // The closes of a pause are read in the second in which it ends, or in the next one.
        let is_behind = |end: Instant| {
            let end = end.duration_since(begun).as_secs();
            (end..=end + 1).contains(second)
        };
        let behind = pauses.iter().filter(|(end, _)| is_behind(*end));
        let paused: Duration = behind.map(|(_, length)| *length).sum();
        let share = *closes as f64 / left.len() as f64;
        assert!(
            share <= SHARE_MAX * (1.0 + paused.as_secs_f64()),
            "{share:.3} of the closes in one second: {seconds:?}, {paused:?} were paused"
        );
        most = most.max(share);
    }
    most
}

/// Reads from another server what each room missed; returns the number of acknowledged messages in
/// it.
async fn recovered(
    server: &Server,
    starts: &BTreeMap<usize, Position>,
    left: &[(usize, Left)],
) -> usize {
    let (mut acked, mut client) = (0, Client::connect(server.authority()).await);
    for (room, left) in left.iter().filter(|(_, left)| !left.acks.is_empty()) {
        let since = &starts[room];
        let joined = client
            .join(&format!("chat:{room}"), Some((since, "0")))
            .await;
        assert_eq!(joined.recovered, Some(true), "room {room}: {joined:?}");
        assert_eq!(joined.position.epoch, since.epoch);
        for expected in 1..=joined.missed {
            let message = client.next().await.expect("what was missed");
            assert_eq!(message["offset"].as_u64(), Some(expected), "in order, once");
            if let Some(number) = left.acks.get(&expected) {
                assert_eq!(message["data"].as_u64(), Some(*number));
                acked += 1;
            }
        }
        let top = left.acks.keys().next_back().copied();
        assert!(top <= Some(joined.missed), "{top:?} was acknowledged");
        let leave = format!(r#"{{"event":"$leave","room":"chat:{room}"}}"#);
        assert!(client.send(leave).await, "the socket is open");
        client.next().await.expect("an answer");
    }
    acked
}

#[test]
fn a_shutdown_is_spread_and_loses_nothing() {
    raise_descriptors();
    let runtime = Builder::new_current_thread().enable_all().build();
    let clients = number("ROOMCAST_DRAIN_CLIENTS", 1_000);
    let clients = usize::try_from(clients).expect("a number of clients");
    runtime.expect("a runtime").block_on(drain(clients));
}
