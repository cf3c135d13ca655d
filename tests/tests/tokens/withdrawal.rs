//! Users who are withdrawn while the server runs.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::{
    KEY, OFFER, ask, auth, ends, hostile::Way, serve, text, token, token_made_at, unidentified,
    unix_s,
};
use crate::peer::Said;

/// The answer to a DELETE of the API, with a line for each further field.
fn delete(authority: &str, fields: &str, path: &str) -> String {
    call(authority, fields, &format!("DELETE /api/v1/default/{path}"))
}

fn call(authority: &str, fields: &str, what: &str) -> String {
    let mut stream = TcpStream::connect(authority).expect("it listens");
    let request =
        format!("{what} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// Withdraws the tokens of ann from before a time.
fn withdraw(authority: &str, fields: &str, not_before_s: u64) -> String {
    withdraw_user(authority, fields, "ann", not_before_s)
}

fn withdraw_user(authority: &str, fields: &str, user: &str, not_before_s: u64) -> String {
    let path = format!("users/{user}/connections?not_before={not_before_s}");
    delete(authority, fields, &path)
}

/// Withdraws three users on a host that remembers two, then clears its memory with `forgets`, which
/// returns its address.
pub(crate) fn outlast_memory(authority: &str, fields: &str, mut forgets: impl FnMut() -> String) {
    let now_s = unix_s();
    for (user, age_s) in [("ann", 500), ("bob", 400), ("cid", 300)] {
        let withdrawn = withdraw_user(authority, fields, user, now_s - age_s);
        assert!(withdrawn.ends_with(r#"{"disconnected":0}"#), "{withdrawn}");
    }
    let mut authority = authority.to_owned();
    for memory in 0..3 {
        if memory > 0 {
            authority = forgets();
        }
        for (user, age_s, taken) in [
            ("ann", 550, false),
            ("ann", 450, true),
            ("bob", 450, false),
            ("bob", 350, true),
            ("cid", 350, false),
            ("cid", 250, true),
            // Nobody withdrew him.
            ("dan", 550, false),
            ("dan", 450, true),
        ] {
            let token = token_made_at(now_s - age_s, KEY, user, 3600);
            let way = Way::Query.send(&authority, "default", &token);
            let mut peer = way.expect("short");
            if taken {
                let welcome = text(&mut peer);
                assert!(
                    welcome.contains(&format!(r#""user":"{user}""#)),
                    "{welcome}"
                );
            } else {
                let said = peer.rest();
                assert_eq!(said.last(), Some(&Said::Close(4401)), "{user}: {said:?}");
            }
        }
    }
}

fn status(authority: &str, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let (_, head) = ask(authority, "?refuse=close", &[OFFER, &bearer]);
    head[9..12].to_owned()
}

/// Brings a withdrawn token on each way to a host that is started anew, since a host tells of a
/// cause once a minute: the log names the cause, and not the token.
pub(crate) fn log_each_withdrawn_token<F: FnMut() -> String>(
    fields: &str,
    start: impl Fn() -> (String, F),
) {
    for way in Way::ALL {
        let (authority, mut logged) = start();
        let withdrawn = withdraw(&authority, fields, unix_s());
        assert!(withdrawn.ends_with(r#"{"disconnected":0}"#), "{withdrawn}");
        let token = token("ann");
        let mut peer = way.send(&authority, "default", &token).expect("short");
        let said = peer.rest();
        assert_eq!(said.last(), Some(&Said::Close(4401)), "{way:?}: {said:?}");
        let line = logged();
        assert!(line.contains("withdrawn"), "{way:?}: {line}");
        assert!(line.contains("have a new one signed"), "{way:?}: {line}");
        let mut parts = token.split('.');
        assert!(!parts.any(|part| line.contains(part)), "{way:?}: {line}");
    }
}

/// Withdraws at the very second in which a token was made, and at the next.
pub(crate) fn take_a_token_of_the_second(authority: &str, fields: &str) {
    let now_s = unix_s();
    let token = token_made_at(now_s, KEY, "ann", 3600);
    let (mut peer, _) = unidentified(authority);
    peer.say(&auth(&token));
    text(&mut peer);
    let none = withdraw(authority, fields, now_s);
    assert!(none.ends_with(r#"{"disconnected":0}"#), "{none}");
    assert!(peer.join("chat:a").contains(r#""epoch""#));
    let mut other = Way::Query
        .send(authority, "default", &token)
        .expect("short");
    assert!(text(&mut other).contains(r#""user":"ann""#));
    let both = withdraw(authority, fields, now_s + 1);
    assert!(both.ends_with(r#"{"disconnected":2}"#), "{both}");
    ends(&mut peer, 4401);
    ends(&mut other, 4401);
    let mut refused = Way::Query
        .send(authority, "default", &token)
        .expect("short");
    let said = refused.rest();
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
}

#[test]
fn the_log_names_a_withdrawal_and_no_token() {
    for threads in ["--threads=1", "--threads=3"] {
        log_each_withdrawn_token("", || {
            let mut server = serve(&[threads]);
            let authority = server.authority.clone();
            (authority, move || server.logged("refused a token"))
        });
    }
}

#[test]
fn a_token_of_the_second_of_not_before_is_taken() {
    let server = serve(&[]);
    take_a_token_of_the_second(&server.authority, "");
}

#[test]
fn withdrawals_survive_a_kill_and_a_restart_with_a_store() {
    for threads in ["--threads=1", "--threads=3"] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = format!("--store={}", folder.path().display());
        let flags = [threads, &store, "--withdrawn-users-max=2"];
        let mut server = serve(&flags);
        let authority = server.authority.clone();
        let mut signals = ["KILL", "TERM"].into_iter();
        outlast_memory(&authority, "", || {
            let told = call(&server.authority, "", "GET /metrics");
            let folds = u8::from(server.authority == authority);
            let line = format!("\nroomcast_withdrawals_folded_total {folds}\n");
            assert!(told.contains(&line), "{told}");
            if folds == 1 {
                let line = server.logged("more users are withdrawn");
                assert!(line.contains("--withdrawn-users-max"), "{line}");
            }
            server.signal(signals.next().expect("two"));
            server.ended();
            server = serve(&flags);
            server.authority.clone()
        });
    }
}

#[test]
fn a_withdrawn_user_is_out_and_comes_back_with_a_newer_token() {
    let server = serve(&[]);
    let delete = |path: &str| delete(&server.authority, "", path);
    let (mut peer, _) = unidentified(&server.authority);
    peer.say(&auth(&token("ann")));
    text(&mut peer);
    let ended = delete("users/ann/connections");
    assert!(ended.ends_with(r#"{"disconnected":1}"#), "{ended}");
    ends(&mut peer, 4410);
    assert_eq!(status(&server.authority, &token("ann")), "101");

    let (mut peer, _) = unidentified(&server.authority);
    peer.say(&auth(&token("ann")));
    text(&mut peer);
    // Tokens here are ten seconds old.
    let withdrawn = withdraw(&server.authority, "", unix_s());
    assert!(withdrawn.ends_with(r#"{"disconnected":1}"#), "{withdrawn}");
    ends(&mut peer, 4401);
    let bearer = format!("Authorization: Bearer {}", token("ann"));
    let (mut refused, _) = ask(&server.authority, "", &[OFFER, &bearer]);
    let said = refused.rest();
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
    let bearer = format!("Authorization: Bearer {}", token("bob"));
    let (mut other, _) = ask(&server.authority, "", &[OFFER, &bearer]);
    assert!(text(&mut other).contains(r#""user":"bob""#));
    let ahead = withdraw(&server.authority, "", unix_s() + 3600);
    assert!(
        ahead.starts_with("HTTP/1.1 400") && ahead.contains(r#""details":{"limit":60}"#),
        "{ahead}"
    );
    let wrong = delete("users/ann/connections?not_before=1700000000000");
    assert!(
        wrong.starts_with("HTTP/1.1 400") && wrong.contains("milliseconds"),
        "{wrong}"
    );
}
