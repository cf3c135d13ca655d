//! Clients that stop and reconnect: all at once, or before the end of their old connection is
//! noticed.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout)] // the figures

use std::{fs, thread, time::Instant};

use serde_json::Value;

use crate::{
    crowd::{policies, raise_descriptors, store},
    peer::{PATIENCE, Peer, Said, metric, text},
    process::child::Process,
};

fn closed(authority: &str, code: u16) -> u64 {
    let name = format!(r#"roomcast_connections_closed_total{{code="{code}"}}"#);
    metric(authority, &name).unwrap_or_default()
}

/// A number of `/proc/PID/status`; sizes are in KiB.
fn status(process: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.and_then(|number| number.parse().ok());
    number.expect("a number")
}

fn json(said: &Said) -> Value {
    let Said::Text(text) = said else {
        panic!("no message: {said:?}");
    };
    serde_json::from_str(text).expect("JSON")
}

/// The next text, with an answer to each ping before it.
fn next(peer: &mut Peer) -> Value {
    let begun = Instant::now();
    loop {
        let said = peer.next();
        if said != Said::Ping {
            return json(&said);
        }
        // A ping extends nothing: otherwise a missing message would be waited for without an end.
        assert!(begun.elapsed() < PATIENCE, "nothing but pings");
        peer.write(&crate::peer::frame(0x8a, b""));
    }
}

/// A position in a room, as the member `since` of a join.
fn since(joined: &Value, offset: u64, conn: &str) -> String {
    let epoch = &joined["data"]["epoch"];
    format!(r#""data":{{"since":{{"epoch":{epoch},"offset":{offset},"conn":"{conn}"}}}}"#)
}

/// Growing the table under load would stop a thread for some 10 ms each time.
#[test]
fn the_table_of_descriptors_has_room_for_all_connections_from_the_start() {
    let process = Process::start(&["--connections-max=600"]);
    let room = status(process.id(), "FDSize:");
    assert!(room > 600, "{room}");
}

/// Readers that all stop at the same time, and bytes of each message meanwhile.
const READERS: u64 = 50;
const BYTES: usize = 16_000;

#[test]
fn readers_that_all_stop_are_closed_and_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let room = "[[rooms]]\nmatch = \"log\"\nhistory.messages = 10000\nhistory.bytes = 50000000\n";
    let mut process = Process::start(&[
        &policies(folder.path(), room),
        // Of 30 s without a reader it takes 10.
        "--write-stall-ms=500",
        "--close-wait-ms=300",
        "--outbox-bytes-max=16777216",
        "--outbox-frames-max=10000",
        "--inbound-rate=off",
        "--recovery-messages-max=10000",
        "--recovery-bytes-max=100000000",
    ]);
    let authority = process.authority.clone();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let mut peer = Peer::connect_small(&authority, "");
            let joined = serde_json::from_str::<Value>(&peer.join("log")).expect("JSON");
            (peer, joined)
        })
        .collect();
    let mut publisher = Peer::connect(&authority, "");
    let publish = format!(
        r#"{{"event":"n","id":1,"room":"log","data":"{}"}}"#,
        "x".repeat(BYTES)
    );
    let before = status(process.id(), "VmRSS:");
    let mut sent = 0;
    process.until("all of them are closed as too slow", |process| {
        let slow = metric(&authority, "roomcast_slow_readers").unwrap_or_default();
        let gone = closed(&authority, 4409);
        if slow + gone < READERS {
            publisher.say(&publish);
            let answer = next(&mut publisher);
            assert!(answer["error"].is_null(), "{answer}");
            sent += 1;
        }
        let growth = status(process.id(), "VmRSS:").saturating_sub(before);
        assert!(growth < 64 * 1024, "{growth} KiB for {sent} messages");
        gone == READERS
    });
    let growth = status(process.id(), "VmRSS:").saturating_sub(before);
    println!("{READERS} readers closed after {sent} messages; {growth} KiB more");
    for (mut old, joined) in readers {
        let mut seen = 0;
        for said in old.rest() {
            if let Said::Text(text) = &said
                && text.contains(r#""event":"n""#)
            {
                seen += 1;
                assert_eq!(json(&said)["offset"], seen, "no gap");
            }
        }
        let mut new = Peer::connect(&authority, "");
        let since = since(&joined, seen, "0");
        new.say(&format!(
            r#"{{"event":"$join","id":1,"room":"log",{since}}}"#
        ));
        let answer = next(&mut new);
        let data = &answer["data"];
        assert_eq!(data["recovered"], true, "{answer}");
        assert_eq!(data["missed"], sent - seen, "{answer}");
        for offset in seen + 1..=sent {
            assert_eq!(next(&mut new)["offset"], offset, "no gap and no duplicate");
        }
    }
}

/// Clients of a storm, and the rooms of each, out of all that there are.
const CLIENTS: usize = 5_000;
const ROOMS_EACH: usize = 10;
const ROOMS: usize = 500;
/// Memory that they may take at most together: 16 KiB each.
const STORM_KIB_MAX: u64 = 16 * CLIENTS as u64;
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: roomcast.v1\r\n\r\n";

fn rooms(client: usize) -> impl Iterator<Item = usize> {
    (0..ROOMS_EACH).map(move |step| (client + step * 50) % ROOMS)
}

/// Connects at once, and joins the rooms of each; from the beginning of an epoch, where there is
/// one. Gives the connections, the epoch of each room, and the messages that came again.
fn storm(authority: &str, clients: std::ops::Range<usize>, epochs: &[String]) -> Came {
    let connect = |_| {
        let mut peer = Peer::silent(authority);
        peer.write(UPGRADE.as_bytes());
        peer
    };
    let mut peers: Vec<_> = clients.clone().map(connect).collect();
    for (client, peer) in clients.zip(&mut peers) {
        let head = peer.head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert_eq!(json(&peer.next())["event"], "$welcome");
        let joins = rooms(client).flat_map(|room| {
            let since = epochs
                .get(room)
                .map(|epoch| format!(r#","data":{{"since":{{"epoch":"{epoch}","offset":0}}}}"#));
            let since = since.unwrap_or_default();
            text(&format!(
                r#"{{"event":"$join","id":{room},"room":"r{room}"{since}}}"#
            ))
        });
        peer.write(&joins.collect::<Vec<_>>());
    }
    let (mut seen, mut again, mut joined) = (vec![String::new(); ROOMS], 0, 0);
    for peer in &mut peers {
        let (mut answers, mut missed) = (0, 0);
        while answers < ROOMS_EACH || missed > 0 {
            let said = json(&peer.next());
            if said["event"] != "$join" {
                assert_eq!(said["offset"], 1, "{said}");
                (missed, again) = (missed - 1, again + 1);
                continue;
            }
            let (room, data) = (said["id"].as_u64().expect("an id"), &said["data"]);
            let room = usize::try_from(room).expect("small");
            data["epoch"]
                .as_str()
                .expect("joined")
                .clone_into(&mut seen[room]);
            assert_eq!(data["recovered"] == true, !epochs.is_empty(), "{said}");
            missed += data["missed"].as_u64().unwrap_or_default();
            answers += 1;
        }
        joined += answers;
    }
    Came {
        peers,
        seen,
        again,
        joined,
    }
}

struct Came {
    peers: Vec<Peer>,
    seen: Vec<String>,
    again: usize,
    joined: usize,
}

/// The same on two threads.
fn two_storms(authority: &str, epochs: &[String]) -> Came {
    thread::scope(|scope| {
        let halves = [0..CLIENTS / 2, CLIENTS / 2..CLIENTS];
        let halves = halves.map(|clients| scope.spawn(|| storm(authority, clients, epochs)));
        let [mut first, second] = halves.map(|half| half.join().expect("all are served"));
        first.peers.extend(second.peers);
        first.again += second.again;
        first.joined += second.joined;
        first
    })
}

#[test]
fn five_thousand_clients_are_back_in_ten_rooms_each_after_a_restart() {
    raise_descriptors();
    let folder = tempfile::tempdir().expect("a folder");
    let room = "[[rooms]]\nmatch = \"*\"\nhistory.messages = 10\n";
    let flags = [policies(folder.path(), room), store(folder.path())];
    let flags = [
        flags[0].as_str(),
        flags[1].as_str(),
        "--inbound-rate=off",
        // They do not answer pings.
        "--heartbeat-ms=off",
    ];
    let process = Process::start(&flags);
    let authority = process.authority.clone();
    let before = two_storms(&authority, &[]);
    assert_eq!(before.joined, CLIENTS * ROOMS_EACH);
    let mut publisher = Peer::connect(&authority, "");
    for room in 0..ROOMS {
        publisher.say(&format!(r#"{{"event":"n","id":1,"room":"r{room}"}}"#));
        let answer = next(&mut publisher);
        assert_eq!(
            answer["data"]["reached"],
            CLIENTS * ROOMS_EACH / ROOMS,
            "{answer}"
        );
    }
    // Killed.
    drop(process);
    drop(before.peers);
    // On another port: a test beside this one may have taken the first one meanwhile.
    let process = Process::start(&flags);
    let authority = process.authority.clone();
    let (fresh, begun) = (status(process.id(), "VmRSS:"), Instant::now());
    let after = two_storms(&authority, &before.seen);
    let took = begun.elapsed();
    let peak = status(process.id(), "VmHWM:") - fresh;
    let kept = status(process.id(), "VmRSS:").saturating_sub(fresh);
    println!(
        "{} clients back with {} joins and {} messages in {took:.1?}: {peak} KiB at most, \
         {kept} KiB then",
        after.peers.len(),
        after.joined,
        after.again
    );
    assert_eq!(after.joined, CLIENTS * ROOMS_EACH);
    assert_eq!(
        after.again,
        CLIENTS * ROOMS_EACH,
        "each missed one message in each room"
    );
    let counted = |name| metric(&authority, name);
    assert_eq!(
        counted("roomcast_memberships"),
        Some((CLIENTS * ROOMS_EACH) as u64)
    );
    assert_eq!(counted("roomcast_connections"), Some(CLIENTS as u64));
    assert_eq!(counted("roomcast_refused_total"), Some(0));
    assert!(peak < STORM_KIB_MAX, "{peak} KiB");
}

/// A connection of a user, and its id.
fn connect(authority: &str, user: &str) -> (Peer, String) {
    let (mut peer, welcome) = Peer::connect_with(authority, &format!("X-User: {user}\r\n"));
    let welcome: Value = serde_json::from_str(&welcome).expect("JSON");
    let conn = welcome["data"]["conn"].as_str().expect("an id").to_owned();
    peer.say(r#"{"event":"$ping"}"#);
    assert_eq!(next(&mut peer)["event"], "$pong");
    (peer, conn)
}

#[test]
fn a_reconnect_before_the_old_socket_is_dead_is_no_leave() {
    let folder = tempfile::tempdir().expect("a folder");
    // Without a grace time every leave would be visible.
    let room = "[[rooms]]\nmatch = \"den\"\nhistory.messages = 100\npresence = \"members\"\n\
        presence_grace_s = 0\n";
    let process = Process::start(&[
        &policies(folder.path(), room),
        "--trusted-proxy=127.0.0.1",
        "--user-header=X-User",
        // The others answer in time, also on a busy machine.
        "--heartbeat-ms=3000",
        "--heartbeat-wait-ms=3000",
        "--close-wait-ms=300",
    ]);
    let authority = &process.authority;
    let (mut ben, _) = connect(authority, "ben");
    ben.join("den");
    // The half-open one: from here on it neither reads nor answers.
    let (mut old, old_conn) = connect(authority, "ann");
    let joined = serde_json::from_str::<Value>(&old.join("den")).expect("JSON");
    let mut seen_by_ben = Vec::new();
    let mut publish = |ben: &mut Peer, number: usize| {
        ben.say(&format!(
            r#"{{"event":"n","id":{number},"room":"den","data":{number}}}"#
        ));
        loop {
            let said = next(ben);
            let is_answer = said["id"] == number;
            seen_by_ben.push(said);
            if is_answer {
                return;
            }
        }
    };
    publish(&mut ben, 1);
    let (mut new, _) = connect(authority, "ann");
    let since = since(&joined, 0, &old_conn);
    new.say(&format!(
        r#"{{"event":"$join","id":1,"room":"den",{since}}}"#
    ));
    let answer = next(&mut new);
    assert_eq!(
        (&answer["data"]["recovered"], &answer["data"]["missed"]),
        (&true.into(), &1.into())
    );
    publish(&mut ben, 2);
    for number in 1..=2 {
        let message = next(&mut new);
        assert_eq!(
            (&message["data"], &message["offset"]),
            (&number.into(), &number.into())
        );
    }
    // The dead connection is detected, while the others answer pings.
    let mut number = 3;
    while closed(authority, 4408) == 0 {
        publish(&mut ben, number);
        let message = next(&mut new);
        assert_eq!(message["offset"], number, "once, and in order");
        new.say(r#"{"event":"$ping"}"#);
        assert_eq!(next(&mut new)["event"], "$pong");
        number += 1;
        thread::sleep(std::time::Duration::from_millis(100));
    }
    new.say(r#"{"event":"$members","id":2,"room":"den"}"#);
    let members = next(&mut new);
    assert_eq!(members["data"]["members"][0]["user"], "ann", "{members}");
    assert_eq!(members["data"]["members"][0]["conns"], 1, "{members}");
    publish(&mut ben, number);
    let of_ann = |said: &&Value| said["data"]["user"] == "ann";
    let notices: Vec<_> = seen_by_ben
        .iter()
        .filter(of_ann)
        .map(|said| &said["event"])
        .collect();
    assert_eq!(notices, ["$joined"], "ann was there all the time");
    // The old one was told the same messages, and then to go.
    let told = old.rest();
    assert_eq!(told.last(), Some(&Said::Close(4408)), "{told:?}");
}
