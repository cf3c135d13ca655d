//! Rooms named by a token, for connections whose hook waits.

use std::future::ready;

use roomcast_core::{ConnId, Context, Handshake, Identity, Limits, Router, later};

use crate::gateway::stage::Stage;

fn waits() -> Router {
    Router::default()
        .on_connect(|_, ()| later(ready(Ok(()))))
        .on("say", |_: &mut Context, text: String| text)
}

fn named(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("r{number}"))
}

fn comes(stage: &mut Stage<Router>, rooms: usize) -> ConnId {
    let mut identity = Identity::user("ann");
    identity.rooms = named(rooms).map(Into::into).collect();
    let handshake = Handshake::new().with_identity(identity);
    stage.connect_with(handshake).expect("admitted")
}

fn many() -> Stage<Router> {
    let mut limits = Limits::default();
    limits.heartbeat = None;
    Stage::with_policies_and_limits(waits(), r#"{"rooms":[]}"#, limits)
}

/// Returns the joined rooms and the texts of `say`, in order.
fn order(stage: &mut Stage<Router>) -> Vec<String> {
    let lines = stage.take().into_iter();
    let lines = lines.filter_map(|line| {
        let (_, rest) = line.split_once("send a ")?;
        let key = if rest.contains(r#""event":"$join""#) {
            r#""room":""#
        } else {
            r#""data":""#
        };
        assert!(!rest.contains("error"), "{rest}");
        let (_, value) = rest.split_once(key)?;
        Some(value.split_once('"')?.0.to_owned())
    });
    lines.collect()
}

#[test]
fn rooms_of_a_token_are_joined_before_what_the_client_said() {
    let mut stage = many();
    let a = comes(&mut stage, 3);
    stage.text(a, r#"{"event":"say","data":"first"}"#);
    stage.text(a, r#"{"event":"$leave","room":"r1"}"#);
    stage.take();
    let work = stage.one_work();
    stage.finish(work);
    assert_eq!(order(&mut stage)[..4], ["r0", "r1", "r2", "first"]);
    assert_eq!(stage.app.hub().rooms_of(a), Some(vec!["r0", "r2"]));
    assert!(stage.app.is_idle());
}

#[test]
fn rooms_of_a_token_are_no_messages_of_the_client() {
    let mut stage = many();
    let a = comes(&mut stage, 128);
    for number in 0..64 {
        let text = format!(r#"{{"event":"say","data":"s{number}"}}"#);
        stage.text(a, &text);
    }
    assert_eq!(order(&mut stage), [""; 0]);
    let work = stage.one_work();
    stage.finish(work);
    let said = (0..64).map(|number| format!("s{number}"));
    let expected: Vec<_> = named(128).chain(said).collect();
    assert_eq!(order(&mut stage), expected);
}

#[test]
fn rooms_of_a_token_that_wait_for_a_guard_hold_up_their_number_alone() {
    let mut limits = Limits::default();
    limits.heartbeat = None;
    let router = waits().guard_rooms(|_, (), _, _| later(ready(Ok(()))));
    let mut stage = Stage::with_policies_and_limits(router, r#"{"rooms":[]}"#, limits);
    let a = comes(&mut stage, 100);
    let work = stage.one_work();
    stage.finish(work);
    for number in 0..64 {
        let text = format!(r#"{{"event":"say","data":"s{number}"}}"#);
        stage.text(a, &text);
    }
    assert_eq!(order(&mut stage), [""; 0]);
    stage.text(a, r#"{"event":"say","id":1,"data":"one more"}"#);
    let full = stage.take().pop().expect("an answer");
    assert!(full.contains(r#""details":{"limit":64}"#), "{full}");
    for _ in 0..100 {
        let work = stage.one_work();
        stage.finish(work);
    }
    let said = (0..64).map(|number| format!("s{number}"));
    let expected: Vec<_> = named(100).chain(said).collect();
    assert_eq!(order(&mut stage), expected);
    assert!(stage.app.is_idle());
}
