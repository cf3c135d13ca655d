//! The time that servers get to stop before they are killed.

use std::fs;

use super::{
    cluster::compose,
    container::{MANIFESTS, documents, template},
    passes, path, text,
};
use crate::process::child::roomcast;

/// Seconds added by hooks, a collector of spans and a relay that do not answer, as in
/// docs/settings.md.
const ANSWERS_S: u64 = 12;

/// The first number behind a text.
fn number(text: &str, before: &str) -> u64 {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("{before}"));
    let digits = rest.find(|c: char| !c.is_ascii_digit());
    let number = rest[..digits.unwrap_or(rest.len())].parse();
    number.unwrap_or_else(|_| panic!("no number behind {before}"))
}

/// The most that a server takes from the signal on, without a delay: in seconds.
fn stop_s() -> u64 {
    let settings = passes(roomcast().args(["config", "default"]));
    let page = fs::read_to_string(path("../docs/settings.md")).expect("a page");
    assert!(page.contains(&format!("and {ANSWERS_S} s for")), "{page}");
    let times = ["drain_window_ms = ", "close_wait_ms = "];
    let times = times.map(|setting| number(&settings, setting) / 1000);
    times.iter().sum::<u64>() + ANSWERS_S
}

#[test]
fn servers_have_the_time_to_stop() {
    let stop = stop_s();

    let page = fs::read_to_string(path("../docs/operations.md")).expect("a page");
    let delay = number(&page, "--drain-delay-ms ") / 1000;
    let unit = number(&text("systemd/roomcast.service"), "\nTimeoutStopSec=");
    assert!(unit >= delay + stop, "{unit} {delay} {stop}");

    for (file, _) in MANIFESTS {
        let documents = documents(file);
        let server = &template(&documents)["spec"];
        let sleep = &server["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"];
        let sleep = sleep.as_u64().expect("a number");
        let grace = server["terminationGracePeriodSeconds"].as_u64();
        assert!(
            grace.expect("a number") >= sleep + stop,
            "{file}: {grace:?}"
        );
    }

    let compose = compose();
    for name in ["one", "two", "three"] {
        let service = &compose["services"][name];
        // Our nginx does not check readiness, so a delay would change nothing.
        let delay = &service["environment"]["ROOMCAST_DRAIN_DELAY_MS"];
        assert!(delay.is_null(), "{name}: {delay}");
        let grace = service["stop_grace_period"].as_str().expect("a time");
        let grace = grace
            .strip_suffix('s')
            .and_then(|it| it.parse::<u64>().ok());
        assert!(grace.expect("seconds") >= stop, "{name}: {grace:?}");
    }
}
