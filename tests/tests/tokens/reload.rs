//! Keys that change, and users who are withdrawn, while the server runs.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{
    KEY, OFFER, PRIVATE, PUBLIC, ask, auth, ends, serve, text, token, token_for, unidentified,
    unix_s,
};
use crate::{
    peer::Said,
    process::child::{Process, run, write},
};

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

fn delete(server: &Process, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.authority).expect("it listens");
    let request = format!(
        "DELETE /api/v1/default/{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.authority
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[test]
fn a_withdrawn_user_is_out_and_comes_back_with_a_newer_token() {
    let server = serve(&[]);
    let (mut peer, _) = unidentified(&server.authority);
    peer.say(&auth(&token("ann")));
    text(&mut peer);
    let ended = delete(&server, "users/ann/connections");
    assert!(ended.ends_with(r#"{"disconnected":1}"#), "{ended}");
    ends(&mut peer, 4410);
    assert_eq!(status(&server, &token("ann")), "101");

    let (mut peer, _) = unidentified(&server.authority);
    peer.say(&auth(&token("ann")));
    text(&mut peer);
    // Tokens here are ten seconds old.
    let withdrawn = delete(
        &server,
        &format!("users/ann/connections?not_before={}", unix_s()),
    );
    assert!(withdrawn.ends_with(r#"{"disconnected":1}"#), "{withdrawn}");
    ends(&mut peer, 4401);
    let bearer = format!("Authorization: Bearer {}", token("ann"));
    let (mut refused, _) = ask(&server.authority, "", &[OFFER, &bearer]);
    let said = refused.rest();
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
    let bearer = format!("Authorization: Bearer {}", token("bob"));
    let (mut other, _) = ask(&server.authority, "", &[OFFER, &bearer]);
    assert!(text(&mut other).contains(r#""user":"bob""#));
    let wrong = delete(&server, "users/ann/connections?not_before=1700000000000");
    assert!(
        wrong.starts_with("HTTP/1.1 400") && wrong.contains("milliseconds"),
        "{wrong}"
    );
}
