//! Servers with members whose hooks change.

use super::redis::Redis;
use crate::{
    asked::{Questions, asked, backend},
    hooks::KEY,
    peer::Peer,
    process::child::{Process, write},
};

/// Joins a room, leaves it, and waits for the answer.
fn visit(peer: &mut Peer, room: &str) {
    peer.join(room);
    leave(peer, room);
}

fn leave(peer: &mut Peer, room: &str) {
    peer.say(&format!(r#"{{"event":"$leave","id":"l","room":"{room}"}}"#));
    peer.answer(r#""id":"l""#);
}

/// The next events of rooms, so many, sorted: the relay answers of each room on its own.
fn told(requests: &Questions, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        let request = asked(requests);
        let events = request.question["events"].as_array().expect("events");
        let text = |name: &str, at: usize| events[at][name].as_str().expect("text").to_owned();
        let line = |at| format!("{} {}", text("type", at), text("room", at));
        told.extend((0..events.len()).map(line));
        request.answer(204, "");
    }
    told.sort();
    told
}

/// Ann was in two rooms before anybody was told of them. A visit by another server neither
/// occupies nor vacates hers, and her leaving vacates both.
#[test]
fn hooks_that_are_added_are_told_of_rooms_with_members_as_of_any() {
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut servers = ["a", "b"].map(|name| {
        let (file, backend) = (folder.path().join(name), backend());
        write(&file, &hook(&backend.0, "ready"));
        let config = format!("--config={}", file.display());
        let server = Process::start(&[&config, &format!("--relay={}", redis.url())]);
        (server, file, backend)
    });
    let [mut ann, mut bob] = [0, 1].map(|at| Peer::connect(&servers[at].0.authority, ""));
    for room in ["den", "alone", "ready"] {
        ann.join(room);
    }
    // By then the relay has answered of the rooms before.
    assert_eq!(told(&servers[0].2.1, 1), ["room.occupied ready"]);
    for (server, file, (url, _)) in &mut servers {
        write(file, &hook(url, "*"));
        server.signal("HUP");
        server.logged("changed=hooks");
    }
    let [(_, _, (_, of_a)), (_, _, (_, of_b))] = &servers;
    visit(&mut bob, "den");
    visit(&mut bob, "other");
    // The first events of that server: what it told of `den` would be before them.
    assert_eq!(told(of_b, 2), ["room.occupied other", "room.vacated other"]);
    leave(&mut ann, "den");
    leave(&mut ann, "alone");
    assert_eq!(told(of_a, 2), ["room.vacated alone", "room.vacated den"]);
}

/// A file with an endpoint that is told of some rooms.
fn hook(url: &str, rooms: &str) -> String {
    let events = r#"events = ["room.occupied", "room.vacated"]"#;
    format!("[[hooks]]\ntell = \"{url}\"\nkeys = [\"{KEY}\"]\n{events}\nrooms = \"{rooms}\"\n")
}
