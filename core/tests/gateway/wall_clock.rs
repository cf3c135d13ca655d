//! Wall-clock time, as given to applications.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

use roomcast_core::{
    App, Applied, Config, Context, Handshake, Input, Outbox, Router, Timestamp,
    hub::HubState,
    journal::{Entry, Opening, Record, Replay},
};

fn clock() -> Router {
    Router::default().on("time", |cx: &mut Context| cx.unix_time().to_string())
}

/// 2026-06-08T10:23:14Z.
const ZERO_MS: u64 = 1_780_914_194_000;

fn texts(out: &Outbox) -> Vec<String> {
    let texts = out.iter().map(|command| format!("{command:?}"));
    texts.filter(|text| text.contains("time")).collect()
}

/// Inputs with the host's times.
fn story() -> Vec<(u64, Input<'static>)> {
    let conn = {
        let mut app = App::new(Config::new("e"), clock());
        let connect = Input::Connect(Handshake::new());
        match app.apply(Timestamp::ZERO, &connect, &mut Outbox::new()) {
            Applied::Connected(Ok(conn)) => conn,
            refused => panic!("{refused:?}"),
        }
    };
    let ask = || Input::Text {
        conn,
        text: r#"{"event":"time"}"#.into(),
    };
    vec![
        (0, Input::Connect(Handshake::new())),
        (1_999, ask()),
        // The machine slept for an hour, which the host's clock does not count.
        (
            2_000,
            Input::WallClock {
                unix_zero_ms: ZERO_MS + 3_600_000,
            },
        ),
        (2_000, ask()),
    ]
}

const EXPECTED: [&str; 2] = ["2026-06-08T10:23:15Z", "2026-06-08T11:23:16Z"];

#[test]
fn a_handler_knows_it_also_when_it_was_set() {
    let config = Config::new("e").with_unix_zero_ms(ZERO_MS);
    let (mut app, mut out) = (App::new(config, clock()), Outbox::new());
    for (at, input) in story() {
        app.apply(Timestamp::from_millis(at), &input, &mut out);
    }
    let texts = texts(&out);
    assert_eq!(texts.len(), 2, "{texts:?}");
    for (text, time) in texts.iter().zip(EXPECTED) {
        assert!(text.contains(time), "{text}");
    }
}

#[test]
fn a_journal_replays_with_the_times_it_was_written_with() {
    let config = Config::new("e").with_unix_zero_ms(ZERO_MS);
    let opening = Opening::new(config, HubState::from_serial(0)).with_application(true);
    let inputs = story().into_iter();
    let inputs = inputs.map(|(at, input)| (at, Record::Input(input)));
    let (mut replay, mut out) = (Replay::with_gateways(|_| clock()), Outbox::new());
    for (at, record) in [(0, Record::Open(opening))].into_iter().chain(inputs) {
        let line = Entry::new(Timestamp::from_millis(at), "n", record).to_line();
        let entry = Entry::parse(&line).expect(&line);
        replay.apply(&entry, &mut out).expect("opened");
    }
    let texts = texts(&out);
    assert_eq!(texts.len(), 2, "{texts:?}");
    for (text, time) in texts.iter().zip(EXPECTED) {
        assert!(text.contains(time), "{text}");
    }
}

/// Hosts whose clock is the wall clock set no zero.
#[test]
fn without_a_zero_the_times_of_the_host_are_those_of_1970() {
    let (mut app, mut out) = (App::new(Config::new("e"), clock()), Outbox::new());
    for (at, input) in story().into_iter().take(2) {
        app.apply(Timestamp::from_millis(ZERO_MS + at), &input, &mut out);
    }
    let texts = texts(&out);
    assert!(texts[0].contains(EXPECTED[0]), "{texts:?}");
}
