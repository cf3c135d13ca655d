//! A namespace without envelopes: the application defines its text and binary frames.

use std::{future::ready, time::Duration};

use roomcast_core::{
    Audience, CloseCode, Config, Context, Frame, Handshake, Hub, Outbox, Router, Timestamp, later,
};

use super::stage::Stage;

/// `join:room`, `msg:room:text`, `bye`; binary comes back reversed.
fn raw() -> Router<usize> {
    Router::new(0).on_frame(|cx: &mut Context, count, frame| {
        *count += 1;
        match frame {
            Frame::Text(text) => match text.splitn(3, ':').collect::<Vec<_>>()[..] {
                ["join", room] => {
                    cx.join(room).expect("a room name");
                    cx.emit_frame(Frame::Text("ok"));
                }
                ["msg", room, text] => {
                    let others = cx.room(room).except_self();
                    cx.to(others)
                        .emit_frame(Frame::Text(text))
                        .expect("a room name");
                }
                ["bye"] => cx.close(CloseCode::NORMAL, "bye"),
                _ => {
                    cx.emit_frame(Frame::Text("what?"));
                }
            },
            Frame::Binary(bytes) => {
                let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
                cx.to(Audience::all())
                    .emit_frame(Frame::Binary(&reversed))
                    .expect("no room");
            }
        }
    })
}

#[test]
fn frames_go_as_they_are() {
    let (mut stage, [a, b]) = Stage::connected(raw());
    stage.text(a, "join:r");
    stage.text(b, "join:r");
    stage.text(a, "msg:r:hello: b");
    stage.text(a, r#"{"event":"$join","room":"q"}"#);
    stage.text(a, "");
    stage.frame(b, Frame::Binary(&[1, 2, 3]));
    stage.frame(b, Frame::Binary(&[]));
    stage.text(b, "bye");
    stage.expect([
        "send a ok",
        "send b ok",
        "send b hello: b",
        "send a what?",
        "send a what?",
        "send a,b [3, 2, 1]",
        "send a,b []",
        "close b 1000 bye",
    ]);
    assert_eq!(stage.app.gateway().state(), &8);
    assert_eq!(stage.app.hub().rooms_of(a), Some(vec!["r"]));
}

#[test]
fn there_is_no_word_of_the_protocol() {
    let mut stage = Stage::new(raw());
    let handshake = Handshake::new().with_welcome(true);
    let a = stage.connect_with(handshake).expect("room");
    stage.text(a, &"x".repeat(70_000));
    stage.expect(["close a 1009 message of more than 65536 bytes"]);
}

#[test]
fn what_is_over_the_rate_is_dropped_and_a_flood_is_closed() {
    let (mut stage, [a]) = Stage::connected(raw());
    for _ in 0..200 {
        stage.text(a, "join:r");
    }
    // The burst allows 100 frames.
    assert_eq!(stage.app.gateway().state(), &100);
    stage.take();
    stage.text(a, "join:r");
    stage.expect(["close a 4429 over the inbound rate for too long"]);
}

#[test]
fn frames_wait_as_they_are_and_those_without_a_place_are_dropped() {
    let router = raw().on_connect(|_, _| later(ready(Ok(()))));
    let mut stage = Stage::new(router);
    let a = stage.connect("ann").expect("admitted");
    stage.text(a, r#"{"event":"$ping"}"#);
    stage.frame(a, Frame::Binary(&[1, 2]));
    for _ in 2..70 {
        stage.text(a, "join:r");
    }
    stage.expect([]);
    let work = stage.one_work();
    stage.finish(work);
    let lines = stage.take();
    let sent: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("send"))
        .collect();
    assert_eq!(sent[..3], ["send a what?", "send a [2, 1]", "send a ok"]);
    assert_eq!((sent.len(), stage.app.gateway().state()), (64, &64));
}

#[test]
fn a_raw_namespace_sleeps_like_any_other() {
    let (mut stage, [a, b]) = Stage::connected(raw());
    stage.text(a, "join:r");
    stage.sleep(raw());
    stage.take();
    stage.text(b, "msg:r:awake");
    stage.expect(["send a awake"]);
}

#[test]
fn without_an_application_nobody_reads_it() {
    let mut config = Config::new("e");
    config.raw = true;
    let (mut hub, mut out) = (Hub::new(config), Outbox::new());
    let now = Timestamp::ZERO + Duration::from_secs(1);
    let conn = hub.connect(now, Handshake::new(), &mut out).expect("room");
    out.clear();
    let received = hub.receive(now, conn, Frame::Text("x"), &mut out);
    assert!(matches!(received, Ok(None)) && out.is_empty());
}
