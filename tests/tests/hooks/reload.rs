//! Endpoints that change while the server runs.

use std::{path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{KEY, ann, serve, talk};
use crate::{
    asked::{Asked, Questions, asked, backend, is_quiet},
    peer::{Said, metric},
    process::child::{Process, roomcast, write},
};

const OTHER_KEY: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const OPENED: &str = "connection.opened";
const CLOSED: &str = "connection.closed";

/// A visit that is over for the server too: it ends a stream after its hub has processed the
/// disconnect. Otherwise an endpoint that the next reload adds may be told of that end.
fn chat(authority: &str) {
    assert_eq!(talk(authority).next(), Said::End);
}

/// A table of an endpoint that is told of one event.
fn table(url: &str, event: &str, key: &str) -> String {
    format!("[[hooks]]\ntell = \"{url}\"\nkeys = [\"{key}\"]\nevents = [\"{event}\"]\n")
}

/// A folder with a file of settings.
fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("rooms.toml"), text);
    folder
}

/// Reloads a file; returns the log line with the result.
fn reload(server: &mut Process, folder: &Path, text: &str, told: &str) -> String {
    write(&folder.join("rooms.toml"), text);
    server.signal("HUP");
    server.logged(told)
}

/// The next request: its epoch, the numbers of its events, and their only type.
fn told(request: &Asked, kind: &str) -> (String, Vec<u64>) {
    let Value::Array(events) = &request.question["events"] else {
        panic!("{}", request.question);
    };
    let numbers = events.iter().map(|event| {
        assert_eq!(event["type"], kind, "{}", request.question);
        event["seq"].as_u64().expect("a number")
    });
    let epoch = request.question["epoch"].as_str().expect("an epoch");
    (epoch.to_owned(), numbers.collect())
}

/// Accepts requests until the event with this number; gives the epoch of all, and their numbers.
fn accept(told_to: &Questions, kind: &str, last: u64) -> (String, Vec<u64>) {
    let (mut epochs, mut all) = (Vec::new(), Vec::new());
    while all.last() != Some(&last) {
        let request = asked(told_to);
        let (epoch, numbers) = told(&request, kind);
        request.answer(204, "");
        epochs.push(epoch);
        all.extend(numbers);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
    (epochs.swap_remove(0), all)
}

#[test]
fn endpoints_are_added_changed_and_removed_by_sighup() {
    let (first, first_told) = backend();
    let (second, second_told) = backend();
    let folder = folder("# nobody is told\n");
    let path = folder.path();
    let mut server = serve(&folder, &["--threads=2"]);
    // Connected before any hook exists; its end is reported.
    let before = ann(&server.authority);
    let added = table(&first, OPENED, KEY);
    let line = reload(&mut server, path, &added, " again");
    assert!(line.contains("changed=hooks +http://127.0.0.1:"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    chat(&server.authority);
    let (epoch, numbers) = accept(&first_told, OPENED, 1);
    assert_eq!(numbers, [1]);
    // Other events: the numbers go on.
    let changed = table(&first, CLOSED, KEY) + &table(&second, CLOSED, KEY);
    let line = reload(&mut server, path, &changed, " again");
    assert!(
        line.contains("~http://127.0.0.1:") && line.contains(" +http://127.0.0.1:"),
        "{line}"
    );
    drop(before);
    assert_eq!(accept(&first_told, CLOSED, 2), (epoch, vec![2]));
    assert_eq!(accept(&second_told, CLOSED, 1).1, [1]);
    let requests = "roomcast_hook_requests_total";
    server.until("all is counted", |server| {
        metric(&server.authority, requests) == Some(3)
    });
    let line = reload(&mut server, path, &table(&second, CLOSED, KEY), " again");
    assert!(line.contains("changed=hooks -http://127.0.0.1:"), "{line}");
    assert_eq!(metric(&server.authority, requests), Some(3));
    chat(&server.authority);
    assert_eq!(accept(&second_told, CLOSED, 2).1, [2]);
    reload(&mut server, path, "# nobody is told\n", " again");
    chat(&server.authority);
    server.until("the last is counted", |server| {
        metric(&server.authority, requests) == Some(4)
    });
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(is_quiet(&first_told) && is_quiet(&second_told));
}

#[test]
fn lines_go_on_whatever_the_order_of_the_endpoints_and_nothing_is_told_twice() {
    let (one, one_told) = backend();
    let (two, two_told) = backend();
    // Two with the same URL are told apart by what they are told of.
    let tables = [
        table(&one, OPENED, KEY),
        table(&one, CLOSED, KEY),
        table(&two, CLOSED, KEY),
    ];
    let folder = folder(&tables.concat());
    let store = folder.path().join("store");
    let mut server = serve(&folder, &["--store", &store.to_string_lossy()]);
    chat(&server.authority);
    let mut under_way = [asked(&one_told), asked(&one_told)];
    under_way.sort_by_key(|request| request.question["events"][0]["type"] == CLOSED);
    let [opened, closed] = under_way;
    let (opened_epoch, numbers) = told(&opened, OPENED);
    assert_eq!(numbers, [1]);
    let (closed_epoch, numbers) = told(&closed, CLOSED);
    assert_eq!(numbers, [1]);
    let other = asked(&two_told);
    // More waits behind what is under way.
    chat(&server.authority);
    let mut turned = tables.clone();
    turned.reverse();
    let line = reload(&mut server, folder.path(), &turned.concat(), " again");
    assert!(line.contains("changed=nothing"), "{line}");
    assert!(is_quiet(&one_told) && is_quiet(&two_told), "told again");
    for request in [opened, closed, other] {
        request.answer(204, "");
    }
    assert_eq!(accept(&two_told, CLOSED, 2).1, [2]);
    let mut next = [asked(&one_told), asked(&one_told)];
    next.sort_by_key(|request| request.question["events"][0]["type"] == CLOSED);
    let [opened, closed] = next;
    assert_eq!(told(&opened, OPENED), (opened_epoch, vec![2]));
    assert_eq!(told(&closed, CLOSED), (closed_epoch.clone(), vec![2]));
    opened.answer(204, "");
    // The remaining events wait for the next start, with one table fewer.
    let rest = [&*tables[1], &*tables[2]].concat();
    let line = reload(&mut server, folder.path(), &rest, " again");
    assert!(line.contains("changed=hooks -http://"), "{line}");
    server.signal("KILL");
    server.ended();
    drop(closed);
    let _server = serve(&folder, &["--store", &store.to_string_lossy()]);
    assert_eq!(accept(&one_told, CLOSED, 2), (closed_epoch, vec![2]));
}

#[test]
fn what_waits_for_an_endpoint_that_goes_is_dropped() {
    let (url, requests) = backend();
    let text = table(&url, CLOSED, KEY);
    let folder = folder(&text);
    let store = folder.path().join("store");
    let mut server = serve(&folder, &["--store", &store.to_string_lossy()]);
    chat(&server.authority);
    let held = asked(&requests);
    let (epoch, _) = told(&held, CLOSED);
    let nobody = "# nobody is told\n";
    let line = reload(&mut server, folder.path(), nobody, "is gone were dropped");
    assert!(line.contains("events=1"), "{line}");
    let dropped = "roomcast_hook_events_dropped_total";
    assert_eq!(metric(&server.authority, dropped), Some(1));
    chat(&server.authority);
    reload(&mut server, folder.path(), &text, "changed=hooks +");
    chat(&server.authority);
    let (other, numbers) = accept(&requests, CLOSED, 1);
    assert_eq!(numbers, [1]);
    assert_ne!(other, epoch);
    // The answer to the old request is ignored.
    held.answer(204, "");
    chat(&server.authority);
    assert_eq!(accept(&requests, CLOSED, 2).1, [2]);
    assert_eq!(metric(&server.authority, dropped), Some(1));
}

#[test]
fn an_endpoint_that_was_gone_begins_anew() {
    let (url, requests) = backend();
    let text = table(&url, OPENED, KEY);
    let folder = folder(&text);
    let mut server = serve(&folder, &[]);
    chat(&server.authority);
    asked(&requests).answer(410, "");
    server.logged("answered 410");
    let line = reload(&mut server, folder.path(), &text, " again");
    assert!(line.contains("changed=hooks ~http://"), "{line}");
    chat(&server.authority);
    assert_eq!(accept(&requests, OPENED, 1).1, [1]);
}

#[test]
fn files_of_keys_are_read_again_and_a_pipe_holds_nothing_up() {
    let (url, requests) = backend();
    let keys = tempfile::tempdir().expect("a folder");
    let (key, pipe) = (keys.path().join("key"), keys.path().join("pipe"));
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    write(&key, KEY);
    let text = table(&url, OPENED, &format!("file:{}", key.display()));
    let folder = folder(&text);
    let mut server = serve(&folder, &[]);
    for (key_is, told) in [
        (KEY, "changed=nothing"),
        (OTHER_KEY, "changed=hooks ~http://"),
    ] {
        write(&key, key_is);
        let line = reload(&mut server, folder.path(), &text, " again");
        assert!(line.contains(told), "{line}");
    }
    let piped = table(&url, CLOSED, &format!("file:{}", pipe.display()));
    let line = reload(&mut server, folder.path(), &piped, "nothing was changed");
    assert!(line.contains("it is no regular file"), "{line}");
    chat(&server.authority);
    assert_eq!(accept(&requests, OPENED, 1).1, [1]);
}

#[test]
fn a_reload_of_hooks_is_in_the_journal() {
    let (url, requests) = backend();
    let folder = folder("# nobody is told\n");
    let journal = folder.path().join("journal");
    let flag = format!("--record={}", journal.display());
    let mut server = serve(&folder, &[&flag]);
    // The namespace is there, and stays.
    let stays = ann(&server.authority);
    let text = table(&url, OPENED, KEY);
    reload(&mut server, folder.path(), &text, "changed=hooks +");
    chat(&server.authority);
    accept(&requests, OPENED, 1);
    drop(stays);
    server.signal("TERM");
    server.ended();
    let output = roomcast().arg("replay").arg(&journal).output();
    let output = output.expect("a process");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let set =
        r#"{"set_backends":{"subscriptions":[{"events":["connection.opened"],"rooms":"*"}]}}"#;
    assert!(text.contains(set), "{text}");
}
