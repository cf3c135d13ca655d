//! The story of a test: what was expected beside what came, and the trace that it is.

use roomcast_core::{Context, Router};
use roomcast_tests::{Core, Driver, World};

use super::world::{door, panics, quiet};

#[test]
fn what_is_expected_and_what_came_are_shown_side_by_side() {
    let mut world = World::new(|| {
        Router::default().on("go", |cx: &mut Context| {
            cx.broadcast("first", &1)?;
            cx.emit("second", &[1, 2, 3]).map(|_| 4)
        })
    });
    world.tell("ann connects");
    world.tell("ben connects");
    world.tell(r#"ann sends {"event":"go"}"#);
    let said = panics(|| {
        world.expect([
            r#"ann gets {"event":"first","data":1}"#,
            r#"ann gets {"event":"second","data":[1,2,4]}"#,
            r#"ann gets {"event":"go","data":4}"#,
            r#"ben gets {"event":"bye"}"#,
        ]);
    });
    let expected = r#"
ann connects
ben connects
ann sends {"event":"go"}
the last line led to something else:
  - expected, + got
    ann gets {"event":"first","data":1}
  - ann gets {"event":"second","data":[1,2,4]}
  + ben gets {"event":"first","data":1}
    ^
  + ann gets {"event":"second","data":[1,2,3]}
    ann gets {"event":"go","data":4}
  - ben gets {"event":"bye"}
"#;
    assert_eq!(said, expected);
}

#[test]
fn placeholders_stand_for_what_differs_between_runs() {
    let mut world = World::new(|| ());
    world.tell("ann connects with welcome");
    world.expect([
        r#"ann gets {"event":"$welcome","data":{"conn":"<ann>","user":"","heartbeat_ms":0,"limits":{"message_bytes":<number>,"rooms_per_connection":<number>,"room_name_bytes":200}}}"#,
    ]);
    world.tell(r#"ann sends {"event":"$join","room":"lobby"}"#);
    world.expect([
        r#"ann gets {"event":"$join","room":"lobby","data":{"epoch":"<epoch>","offset":0,"already":false}}"#,
    ]);
    world.tell(r#"ann sends {"event":"$join"}"#);
    world.expect([
        r#"ann gets {"event":"$join","error":{"code":"bad_room","message":"<message>","details":{"limit":200}}}"#,
    ]);
}

/// A story can be told again as it was heard: to the core, and to any host with the application.
#[test]
fn a_story_is_a_trace_that_holds() {
    let mut world = World::new(door);
    world.expect_refused("eve connects", 401);
    world.tell("ann connects with cookie sid=1 with welcome");
    world.tell("ben connects with query token=t");
    world.tell(r#"ann sends {"event":"$join","room":"lobby"}"#);
    world.tell(r#"ben sends {"event":"$join","room":"lobby"}"#);
    world.tell(r#"ann sends {"event":"hello","room":"lobby","data":"<U+003C>b>"}"#);
    world.tell(r#"ann sends {"event":"hello","id":1}"#);
    world.tell("server lists connections");
    world.tell(r#"server closes ben 4410 "out""#);
    let trace = world
        .trace("door", "Who may come in, and is heard.")
        .expect("a trace");
    let text = trace.to_string();
    for line in [
        "eve connects -> 401",
        r#"ben gets {"event":"hello","room":"lobby","from":{"conn":"<ann>","user":"ann"},"data":"<U+003C>b>"}"#,
        r#"ann gets {"event":"hello","id":1,"error":{"code":"unknown_event","message":"<message>"}}"#,
        r#"ben is closed 4410 "out""#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
    let mut core = Core::with_gateways(&quiet(), |_| door());
    trace
        .run(&mut core)
        .unwrap_or_else(|fault| panic!("{fault}"));
    // An action that no op performed cannot be part of a trace.
    let namespace = world.namespace();
    world.ask(namespace.broadcast("e", &1)).expect("sent");
    assert!(world.trace("door", "More.").is_err());
}

fn echo() -> Router {
    Router::default()
        .on("echo", |_: &mut Context, data: serde_json::Value| data)
        .on("who", |cx: &mut Context| {
            let id = cx.id();
            serde_json::json!({ "it": [id.to_string()], "room": format!("dm:{id}"), "n": id.as_u64() })
        })
}

/// On another server connections have other ids.
#[test]
fn a_trace_has_no_id_in_what_an_application_sends() {
    let mut world = World::new(echo);
    world.tell("ann connects");
    world.tell("bob connects");
    world.tell(r#"ann sends {"event":"echo","id":1,"data":{"<bob>":["<ann>"]}}"#);
    world.tell(r#"bob sends {"event":"who","id":2}"#);
    let trace = world
        .trace("ids", "Ids are told.\nann connects")
        .expect("a trace");
    let text = trace.to_string();
    assert!(
        text.starts_with("# Ids are told.<U+000A>ann connects\nann connects\n"),
        "{text}"
    );
    for line in [
        r#"ann gets {"event":"echo","id":1,"data":{"<bob>":["<ann>"]}}"#,
        r#"bob gets {"event":"who","id":2,"data":{"it":["<bob>"],"n":<bob>,"room":"dm:<bob>"}}"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
    // Where ids are others, the trace holds all the same.
    let mut core = Core::with_gateways(&quiet(), |_| echo());
    for line in ["zoe connects", "zoe disconnects"] {
        core.perform(&line.parse().expect("an op")).expect("done");
    }
    let ran = trace.run(&mut core);
    ran.unwrap_or_else(|fault| panic!("{fault}"));
    let blessed = trace.bless(&mut Core::with_gateways(&quiet(), |_| echo()));
    assert_eq!(blessed.expect("the same").to_string(), text);
}

#[test]
fn a_text_that_may_be_an_id_is_in_no_trace() {
    let mut world = World::new(echo);
    world.tell("ann connects");
    let id = world.conn("ann").expect("connected");
    world.tell(&format!(
        r#"ann sends {{"event":"echo","id":1,"data":"{id}"}}"#
    ));
    let fault = world
        .trace("ids", "A text.")
        .expect_err("ambiguous")
        .to_string();
    assert!(
        fault.contains("is the id of ann, or a text of the story"),
        "{fault}"
    );
    assert!(fault.contains(":3") || fault.contains("line 3"), "{fault}");
}
