//! Keys of the HTTP API with scopes, over all of its calls; and `roomcast key`, which makes them.

use std::{collections::BTreeSet, fs};

use crate::{
    peer::{self, metric},
    process::child::{Process, roomcast, run, write},
};

/// Every call of the API, with the scope that it needs.
const CALLS: [(&str, &str, &str); 17] = [
    ("POST", "send", "publish"),
    ("GET", "rooms", "read"),
    ("HEAD", "rooms", "read"),
    ("GET", "rooms/r", "read"),
    ("GET", "rooms/r/members", "read"),
    ("GET", "rooms/r/history", "read"),
    ("GET", "room?room=r", "read"),
    ("GET", "room/members?room=r", "read"),
    ("GET", "room/history?room=r", "read"),
    ("GET", "connections", "read"),
    ("GET", "connections/1", "read"),
    ("PUT", "rooms/r/members/1", "admin"),
    ("DELETE", "rooms/r/members/1", "admin"),
    ("PUT", "room/members/1?room=r", "admin"),
    ("DELETE", "room/members/1?room=r", "admin"),
    ("DELETE", "connections?user=ann", "admin"),
    ("DELETE", "connections/1", "admin"),
];

/// A key as `roomcast key` makes it.
pub(crate) struct NewKey {
    scope: &'static str,
    pub(crate) text: String,
    hash: String,
}

impl NewKey {
    fn new(scope: &'static str) -> Self {
        let made = roomcast().args(["key", "--scope", scope]).output();
        let made = made.expect("a process");
        assert!(made.status.success(), "{made:?}");
        let lines = String::from_utf8(made.stdout).expect("text");
        let lines: Vec<&str> = lines.lines().collect();
        let [text, hash] = lines[..] else {
            panic!("a key and its hash: {lines:?}");
        };
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(!said.contains(text), "the key is told once: {said}");
        Self {
            scope,
            text: text.into(),
            hash: hash.into(),
        }
    }

    pub(crate) fn two_of_each_scope() -> Vec<Self> {
        let scopes = ["publish", "read", "admin", "publish", "read", "admin"];
        scopes.map(Self::new).into()
    }
}

/// The setting that has these keys by their hashes.
pub(crate) fn hashes(keys: &[NewKey]) -> String {
    let hashes: Vec<&str> = keys.iter().map(|key| key.hash.as_str()).collect();
    hashes.join(", ")
}

/// Status and body of the answer to a call.
fn call(authority: &str, method: &str, path: &str, key: &str) -> (u16, String) {
    let body = match method {
        "POST" => r#"{"audience":{"all":true},"event":"said"}"#,
        _ => "",
    };
    peer::call(authority, (method, path), key, body)
}

/// Asserts that each key may make the calls of its scope, and no other; gives the number of calls
/// that were refused for their scope.
pub(crate) fn assert_scopes(authority: &str, keys: &[NewKey]) -> u64 {
    let mut refused = 0;
    for key in keys {
        for (method, path, needed) in CALLS {
            let (status, body) = call(authority, method, path, &key.text);
            let what = format!("{method} {path} with {}: {status} {body}", key.scope);
            if key.scope == needed || key.scope == "admin" {
                // The room and the connection do not exist, which only a key with the scope is
                // told.
                assert!([200, 404, 403].contains(&status), "{what}");
                assert!(!body.contains("the scope"), "{what}");
                continue;
            }
            assert_eq!(status, 403, "{what}");
            let named = body.contains(&format!("the scope `{needed}`"));
            assert!(method == "HEAD" || named, "{what}");
            refused += 1;
        }
        let (status, body) = call(authority, "GET", "rooms", &key.hash);
        assert_eq!(status, 401, "a hash is no key: {body}");
        assert!(!body.contains(&key.hash), "{body}");
    }
    refused
}

#[test]
fn a_key_does_what_its_scope_allows() {
    let keys = NewKey::two_of_each_scope();
    let texts: BTreeSet<&str> = keys.iter().map(|key| key.text.as_str()).collect();
    assert_eq!(texts.len(), keys.len(), "each key is new");
    let mut flags = vec!["--log=debug"];
    for key in &keys {
        flags.extend(["--api-key", &key.hash]);
    }
    let mut process = Process::start(&flags);
    let refused = assert_scopes(&process.authority, &keys);
    let count = |reason| {
        let name = format!("roomcast_refused_total{{reason=\"{reason}\"}}");
        metric(&process.authority, &name)
    };
    assert_eq!(count("scope"), Some(refused));
    assert_eq!(count("key"), Some(keys.len() as u64));
    process.signal("TERM");
    let log = process.rest_of_log();
    assert!(log.contains("scope"), "refusals are logged: {log}");
    assert!(!keys.iter().any(|key| log.contains(&key.text)), "{log}");
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn keys_with_scopes_change_without_a_gap() {
    let [old, new, other] = ["read", "read", "publish"].map(NewKey::new);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roomcast.toml");
    let file = |keys: &[&NewKey]| {
        let hashes: Vec<&str> = keys.iter().map(|key| key.hash.as_str()).collect();
        write(&path, &format!("api_keys = {hashes:?}\n"));
    };
    file(&[&old, &other]);
    let mut process = Process::start(&[&format!("--config={}", path.display())]);
    let reads = |process: &Process| {
        [&old, &new].map(|key| call(&process.authority, "GET", "rooms", &key.text).0)
    };
    assert_eq!(reads(&process), [200, 401]);
    for (keys, line, answers) in [
        (
            &[&old, &new, &other][..],
            "API keys 1 new, 0 gone",
            [200, 200],
        ),
        (&[&new, &other], "API keys 0 new, 1 gone", [401, 200]),
    ] {
        file(keys);
        process.signal("HUP");
        let said = process.logged("again");
        assert!(said.contains(line), "{said}");
        assert_eq!(reads(&process), answers);
    }
    // The same key gets more rights.
    let more = other.hash.replace("publish:", "read:");
    let text = fs::read_to_string(&path).expect("the file");
    write(&path, &text.replace('[', &format!("[{more:?}, ")));
    process.signal("HUP");
    process.logged("API keys 1 new, 0 gone");
    assert_eq!(call(&process.authority, "GET", "rooms", &other.text).0, 200);
    assert_eq!(call(&process.authority, "POST", "send", &other.text).0, 200);
}

#[test]
fn a_key_that_looks_like_a_hash_or_a_scope_stops_the_server_and_is_not_told() {
    for text in [
        "read:s3cret",
        "publish:sha256:5ec2e7",
        "s3cret:sha256:5ec2e7",
    ] {
        for flags in [
            vec!["serve".to_owned(), format!("--api-key={text}")],
            vec![
                "serve".to_owned(),
                "--api-key".to_owned(),
                format!("good,{text}"),
            ],
        ] {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let (code, said) = run(&flags);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains("--api-key"), "{said}");
            assert!(said.contains("read:sha256:"), "the form is named: {said}");
            assert!(
                !said.contains("s3cret") && !said.contains("5ec2e7"),
                "{said}"
            );
        }
    }
    let (code, said) = run(&["key", "--scope", "write"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("publish, read or admin"), "{said}");
}

#[test]
fn a_command_sends_with_the_key_and_not_with_a_hash() {
    let key = NewKey::new("publish");
    let process = Process::start(&["--api-key", &key.hash]);
    let send = |keys: &str| {
        let url = format!("http://{}", process.authority);
        let mut command = roomcast();
        command.args(["send", "--all", "said", "--url", &url]);
        command.env("ROOMCAST_API_KEY", keys);
        command.output().expect("a process")
    };
    for keys in [key.text.clone(), format!("{},{}", key.hash, key.text)] {
        let sent = send(&keys);
        assert!(sent.status.success(), "{sent:?}");
    }
    let refused = send(&key.hash);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("give the key itself"), "{said}");
}
