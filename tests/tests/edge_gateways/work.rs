//! Answers that take time.

use std::thread;

use roomcast_tests::Sockets;

use super::world::World;

/// Messages of a connection are answered one after the other, and wait until a slow answer is
/// released; messages of other connections do not wait.
#[test]
fn a_connection_waits_for_its_answers_in_order() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.send(r#"{"event":"wait","id":1,"data":"a"}"#);
    ann.send(r#"{"event":"count","id":2}"#);
    bob.asks_for("count", "1");
    bob.releases("a", 42, true);
    ann.gets(r#"{"event":"wait","id":1,"data":42}"#);
    ann.gets(r#"{"event":"count","id":2,"data":2}"#);
    world.is_calm();
}

#[test]
fn answers_that_may_overtake_each_other_do() {
    let world = World::start();
    let mut ann = world.connect("trials");
    ann.send(r#"{"event":"wait_concurrent","id":1,"data":"a"}"#);
    ann.send(r#"{"event":"wait_concurrent","id":2,"data":"b"}"#);
    for (name, id) in [("b", 2), ("a", 1)] {
        // The answer to the release and the released one, in either order.
        ann.send(&format!(
            r#"{{"event":"release","id":9,"data":["{name}",5]}}"#
        ));
        let mut got = [ann.next(), ann.next()].map(|next| next.expect("a frame").to_string());
        got.sort();
        let expected = [
            r#"{"event":"release","id":9,"data":true}"#.to_owned(),
            format!(r#"{{"event":"wait_concurrent","id":{id},"data":5}}"#),
        ];
        assert_eq!(got, expected);
    }
    world.is_calm();
}

#[test]
fn the_work_of_a_connection_ends_with_it() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.send(r#"{"event":"wait","id":1,"data":"a"}"#);
    ann.send(r#"{"event":"count","id":2}"#);
    bob.asks_for("dropped", "0");
    ann.close();
    bob.asks_for("dropped", "1");
    bob.releases("a", 42, false);
    bob.asks_for("count", "1");
    world.is_calm();
}

/// An object does not leave memory before its work is done.
#[test]
fn an_object_stays_awake_while_it_works() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.send(r#"{"event":"wait","id":1,"data":"a"}"#);
    bob.asks_for("count", "1");
    thread::scope(|scope| {
        // It waits until the object has nothing to do.
        let evicting = scope.spawn(|| world.edge.evict(0, "trials", Sockets::Hibernate));
        for number in 2..100 {
            bob.asks_for("count", &number.to_string());
        }
        bob.releases("a", 42, true);
        ann.gets(r#"{"event":"wait","id":1,"data":42}"#);
        let evicted = evicting.join().expect("it does not panic");
        assert_eq!(evicted, Ok(true));
    });
    bob.asks_for("count", "100");
}

/// The handle of the namespace itself: what it does is an input of its own.
#[test]
fn work_acts_on_its_namespace() {
    let world = World::sleepless();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.send(r#"{"event":"server","id":1}"#);
    ann.gets(r#"{"event":"told","data":true}"#);
    bob.gets(r#"{"event":"told","data":true}"#);
    let answer = ann.next().expect("an answer").to_string();
    assert!(
        answer.starts_with(r#"{"event":"server","id":1,"data":[2,["#),
        "{answer}"
    );
    world.is_calm();
}

/// A panic ends all work that is under way in the module; every client that waits is told, in
/// whatever object.
#[test]
fn work_that_panics_is_answered_and_so_is_what_it_took_along() {
    let world = World::start();
    let (mut ann, mut bob) = world.connect_two("trials");
    ann.send(r#"{"event":"wait","id":1,"data":"a"}"#);
    bob.asks_for("count", "1");
    let failed = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;
    bob.asks(
        r#"{"event":"panic_later","id":2}"#,
        &format!(r#"{{"event":"panic_later","id":2,{failed}"#),
    );
    ann.gets(&format!(r#"{{"event":"wait","id":1,{failed}"#));
    bob.asks_for("count", "2");
    ann.asks_for("count", "3");
    world.has_logged(&["the work was told to"]);
}
