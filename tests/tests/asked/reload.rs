//! Backends that change while the server runs.

use std::fs;

use super::{
    asked, backend, backends::refused, client, config, connect, is_quiet, join, serve, write,
};
use crate::{
    peer::metric,
    process::child::Process,
    tokens::{OFFER, ask, text},
};

const NOBODY: &str = "# nobody is asked\n";

/// The number of threads that ask.
fn threads(server: &Process) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.id())).expect("a process");
    let names = tasks.flatten().map(|task| task.path().join("comm"));
    let names = names.filter_map(|comm| fs::read_to_string(comm).ok()); // or it has just ended
    names.filter(|name| name.trim() == "roomcast-ask").count()
}

#[test]
fn a_backend_is_added_exchanged_and_removed_by_sighup() {
    let (url, questions) = backend();
    let (other_url, others) = backend();
    let folder = config(&url, "");
    let file = folder.path().join("rooms.toml");
    fs::write(&file, NOBODY).expect("written");
    let mut server = serve(&folder, &["--threads=2"]);
    let (_anyone, head) = ask(&server.authority, "", &[OFFER]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");

    write(&folder, &url, "");
    server.signal("HUP");
    let line = server.logged(" again");
    assert!(line.contains("changed=ask +http://127.0.0.1:"), "{line}");
    assert!(!line.contains("secret"), "{line}");
    let mut ann = std::thread::scope(|scope| {
        let entering = scope.spawn(|| client(&server, "1"));
        asked(&questions).answer(200, r#"{"user":"ann"}"#);
        entering.join().expect("in")
    });
    ann.say(r#"{"event":"$join","id":1,"room":"r"}"#);
    asked(&questions).allow("ann", &["join"]);
    assert!(text(&mut ann).contains(r#""data":{"epoch""#));

    // The old backend still answers its pending questions.
    ann.say(r#"{"event":"$join","id":1,"room":"late"}"#);
    let late = asked(&questions);
    write(&folder, &other_url, "");
    server.signal("HUP");
    let line = server.logged(" again");
    assert!(
        line.contains("+http://") && line.contains(" -http://"),
        "{line}"
    );
    late.allow("ann", &["join"]);
    assert!(text(&mut ann).contains(r#""data":{"epoch""#));
    server.until("one thread asks", |server| threads(server) == 1);
    let (status, _) = refused(&server, "2", || asked(&others).answer(403, "{}"));
    assert_eq!(status, 403);
    assert!(is_quiet(&questions));
    // One request to connect, two for joins, and one to the other.
    let requests = "roomcast_ask_requests_total";
    assert_eq!(metric(&server.authority, requests), Some(4));

    fs::write(&file, NOBODY).expect("written");
    server.signal("HUP");
    server.logged("[ask] is gone, without tokens and grants");
    let line = server.logged(" again");
    assert!(line.contains("changed=ask -http://"), "{line}");
    // Granted rights remain, and there are no others.
    let again = join(&mut ann, "r");
    assert!(again.contains(r#""already":true"#), "{again}");
    let forbidden = join(&mut ann, "x");
    assert!(forbidden.contains(r#""code":"forbidden""#), "{forbidden}");
    let (status, body) = connect(&server, &["Cookie: session=3"]);
    assert_eq!(status, 101, "{body}");
    assert!(is_quiet(&others));
    server.until("no thread asks", |server| threads(server) == 0);
    assert_eq!(metric(&server.authority, requests), Some(4));
    let refused = r#"roomcast_ask_questions_total{outcome="refused"}"#;
    assert_eq!(metric(&server.authority, refused), Some(1));
}

#[test]
fn a_backend_whose_settings_stay_keeps_its_answers_and_a_wrong_file_changes_nothing() {
    let (url, questions) = backend();
    let folder = config(&url, "");
    let mut server = serve(&folder, &[]);
    let enter = |server: &Process| {
        let (_peer, head) = ask(&server.authority, "", &[OFFER, "Cookie: session=1"]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| asked(&questions).answer(200, r#"{"user":"ann","ttl_s":600}"#));
        enter(&server);
    });
    for (more, told) in [
        ("timeout_ms = 0\n", "rooms.toml:6: `timeout_ms` must be 10"),
        ("on_join = true\n", "rooms.toml:7: unknown field `on_join`"),
        (
            "[[hooks]]\ntell = \"http://127.0.0.1:1/\"\nkeys = [\"env:NO_SUCH_KEY\"]\n\
             events = [\"room.vacated\"]\n[[rooms]]\nmatch = \"a\"\n",
            "[[hooks]]: http://127.0.0.1:1/: the variable NO_SUCH_KEY of `keys` is not set",
        ),
    ] {
        write(&folder, &url, more);
        server.signal("HUP");
        let line = server.logged("nothing was changed");
        assert!(line.contains(told), "{line}");
    }
    fs::write(folder.path().join("rooms.toml"), "\n").expect("written");
    server.signal("HUP");
    let line = server.logged("nothing was changed");
    assert!(line.contains("is empty"), "{line}");
    // The wrong files leave no trace, not even the policy of the last one.
    write(&folder, &url, "");
    server.signal("HUP");
    let line = server.logged(" again");
    assert!(line.contains("changed=nothing"), "{line}");
    enter(&server);
    assert!(is_quiet(&questions), "asked again");
    write(&folder, &url, "timeout_ms = 9000\n");
    server.signal("HUP");
    let line = server.logged(" again");
    assert!(line.contains("changed=ask ~http://127.0.0.1:"), "{line}");
    std::thread::scope(|scope| {
        scope.spawn(|| asked(&questions).answer(200, r#"{"user":"ann"}"#));
        enter(&server);
    });
}
