//! Texts for people: they state the limits in force, and use correct plurals.

use roomcast_core::{Config, Frame, Handshake, Hub, Limits, Policies};

use super::harness::{Harness, lines};

/// A harness with two connections; its `den` rooms show one user and allow `members` members.
fn harness(limits: Limits, members: usize) -> Harness {
    let policies =
        format!(r#"{{"rooms":[{{"match":"den","presence":"members","members":{members}}}]}}"#);
    let policies: Policies = serde_json::from_str(&policies).expect("policies");
    let mut harness = Harness::new();
    harness.hub = Hub::new(Config::new("e").with_limits(limits).with_policies(policies));
    harness
}

/// Returns the answer to the last request.
fn answered(harness: &mut Harness, texts: &[&str]) -> String {
    for text in texts {
        harness.out.clear();
        let conn = harness.hub.connections().next().expect("a connection").id;
        harness.text(conn, text);
    }
    lines(&harness.out).pop().expect("an answer")
}

#[test]
fn every_text_about_a_room_name_names_the_limit_in_force() {
    for bytes_max in [1, 7, 200, 300] {
        let mut limits = Limits::default();
        limits.room_name_bytes = bytes_max;
        let mut harness = harness(limits, 9);
        harness.connect(Handshake::new()).expect("room for it");
        let noun = if bytes_max == 1 { "1 byte " } else { "bytes" };
        let long = "x".repeat(bytes_max + 1);
        for verb in ["$join", "$leave", "$members", "$history", "said"] {
            for room in [None, Some("\\u0000"), Some(&*long)] {
                let room = room.map_or(String::new(), |room| format!(r#","room":"{room}""#));
                let text = answered(&mut harness, &[&format!(r#"{{"event":"{verb}"{room}}}"#)]);
                if verb == "said" && room.is_empty() {
                    continue; // no verb of the protocol
                }
                assert!(text.contains("bad_room"), "{text}");
                assert!(text.contains(&format!("1 to {bytes_max} ")), "{text}");
                assert!(text.contains(noun), "{text}");
            }
        }
    }
}

#[test]
fn a_limit_of_one_is_told_in_the_singular() {
    let mut limits = Limits::default();
    (limits.rooms_per_connection, limits.meta_bytes) = (1, 1);
    let mut harness = harness(limits, 1);
    let conns = [(); 2].map(|()| harness.connect(Handshake::new()).expect("room for it"));
    let den = r#"{"event":"$join","room":"den"}"#;
    let full = [den, r#"{"event":"$join","room":"other"}"#];
    let full = answered(&mut harness, &full);
    assert!(full.contains("room limit of 1 reached"), "{full}");
    let large = answered(
        &mut harness,
        &[den, r#"{"event":"$join","room":"den","data":{"meta":12}}"#],
    );
    assert!(large.contains("at most 1 byte of JSON"), "{large}");
    harness.out.clear();
    let received = harness
        .hub
        .receive(harness.now, conns[1], Frame::Text(den), &mut harness.out);
    assert!(received.is_ok_and(|message| message.is_none()));
    let members = lines(&harness.out).pop().expect("an answer");
    assert!(members.contains("its policy allows 1 member"), "{members}");
}

#[test]
fn a_namespace_for_one_says_so() {
    let mut limits = Limits::default();
    limits.connections = 1;
    let mut harness = harness(limits, 9);
    harness.connect(Handshake::new()).expect("room for it");
    let fault = harness.connect(Handshake::new()).expect_err("full");
    assert_eq!(
        fault.to_string(),
        "the namespace is full: it takes 1 connection at a time"
    );
}
