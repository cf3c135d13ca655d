//! Keys that change while the server runs.

use super::{KEY, OFFER, PRIVATE, PUBLIC, ask, token, token_for};
use crate::process::child::{Process, run, write};

fn status(server: &Process, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let (_, head) = ask(&server.authority, "", &[OFFER, &bearer]);
    head[9..12].to_owned()
}

#[test]
fn a_file_of_a_key_is_read_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    write(&path, PUBLIC);
    let file = path.to_str().expect("text");
    let mut server = Process::start(&["--token-key", file]);
    let (by_file, by_secret) = (token_for(PRIVATE, "ann", 60), token("ann"));
    assert_eq!(status(&server, &by_file), "101");
    assert_eq!(status(&server, &by_secret), "401");
    write(&path, "nothing of a key");
    server.signal("HUP");
    let line = server.logged("nothing was changed");
    assert!(line.contains("--token-key has a key 1 in a file"), "{line}");
    assert!(!line.contains("nothing of a key"), "{line}");
    assert_eq!(status(&server, &by_file), "101");
    write(&path, KEY);
    server.signal("HUP");
    let line = server.logged("read the files of --token-key again");
    assert!(line.contains("tokens"), "{line}");
    assert_eq!(status(&server, &by_file), "401");
    assert_eq!(status(&server, &by_secret), "101");
}

#[test]
fn a_key_that_cannot_be_used_stops_the_server_without_a_word_of_it() {
    for (value, says) in [
        ("hs256:short-s3cret", "openssl rand"),
        ("s3cret-without-its-prefix", "hs256:"),
    ] {
        let (code, said) = run(&["serve", "--token-key", value]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("--token-key") && said.contains(says),
            "{said}"
        );
        assert!(!said.contains("s3cret"), "{said}");
    }
}
