//! Answers about connections, good and bad.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use super::{Asked, KEY, asked, backend, client, config, connect, is_quiet, join, serve};
use crate::{
    peer::metric,
    process::child::{Process, run},
    tokens::{KEY as TOKEN_KEY, OFFER, ask, text, token},
};

/// Returns the refusal of a client; `then` handles its question.
pub(super) fn refused(server: &Process, cookie: &str, then: impl FnOnce() + Send) -> (u16, String) {
    let cookie = format!("Cookie: session={cookie}");
    thread::scope(|scope| {
        scope.spawn(then);
        connect(server, &[&cookie])
    })
}

#[test]
fn a_question_has_the_configured_headers_alone_and_equal_ones_are_asked_once() {
    let (url, questions) = backend();
    let folder = config(&url, "");
    let server = serve(&folder, &[]);
    let cookie = "Cookie: session=1";
    let secret = "X-Secret: hush";
    thread::scope(|scope| {
        scope.spawn(|| {
            let asked = asked(&questions);
            assert_eq!(
                asked.question.to_string(),
                r#"{"headers":{"cookie":"session=1"},"namespace":"default","type":"connect"}"#
            );
            assert!(
                asked.head.starts_with("post /ask?a=secret http/1.1"),
                "{}",
                asked.head
            );
            for field in [
                "webhook-id: ",
                "webhook-timestamp: ",
                "webhook-signature: v1,",
            ] {
                assert!(asked.head.contains(field), "{}", asked.head);
            }
            assert!(!asked.head.contains("hush"), "{}", asked.head);
            asked.answer(200, r#"{"user":"ann","ttl_s":600,"expires_in_s":3600}"#);
        });
        let (_, head) = ask(&server.authority, "?token=hush", &[OFFER, cookie, secret]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    });
    let (mut peer, _) = ask(&server.authority, "", &[OFFER, cookie]);
    let welcome = text(&mut peer);
    assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
    assert!(welcome.contains(r#""expires_in_ms":3"#), "{welcome}");
    assert!(is_quiet(&questions), "asked again");
    let cached = metric(&server.authority, "roomcast_ask_questions_cached_total");
    assert_eq!(cached, Some(1));
}

#[test]
fn whatever_a_backend_does_nobody_comes_in_without_its_word() {
    let (url, questions) = backend();
    // Every other answer has to come within this time, also on a busy machine.
    let folder = config(&url, "timeout_ms = 5000\n");
    let mut server = serve(&folder, &[]);
    let redirect = |asked: Asked| {
        let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\
                      Content-Length: 0\r\n\r\n";
        asked.answer.send(answer.to_owned()).expect("it waits");
    };
    let slow = |asked: Asked| {
        // The answer is never given, and the connection stays open.
        std::mem::forget(asked.answer);
    };
    let huge = |asked: Asked| asked.answer(200, &" ".repeat(10_000_000));
    type Backend = Box<dyn FnOnce(Asked) + Send>;
    let faults: [(&str, Backend); 9] = [
        ("redirects are not followed", Box::new(redirect)),
        (
            "the answer is no object in JSON",
            Box::new(|asked| asked.answer(200, "<html>hush")),
        ),
        ("length limit exceeded", Box::new(huge)),
        // The connection ends without an answer.
        ("connection closed before", Box::new(drop)),
        ("status 503", Box::new(|asked| asked.answer(503, "hush"))),
        ("no answer within 5s", Box::new(slow)),
        ("no answer", Box::new(slow)),
        ("status 502", Box::new(|asked| asked.answer(502, "hush"))),
        (
            "the backend is asked again in",
            Box::new(|asked| asked.answer(504, "hush")),
        ),
    ];
    // Repeated failures are logged less and less often: the others are not.
    let logged = [0, 1, 3, 4, 5, 7, 8];
    for (number, (told, answer)) in faults.into_iter().enumerate() {
        let answer = || answer(asked(&questions));
        let (status, body) = refused(&server, &number.to_string(), answer);
        assert_eq!(status, 503, "{told}: {body}");
        assert!(body.contains(r#""code":"unavailable""#), "{told}: {body}");
        if logged.contains(&number) {
            let line = server.logged(told);
            assert!(!line.contains("hush") && !line.contains("secret"), "{line}");
        }
    }
    // The last five in a row were timeouts or 502 to 504, so the backend is left alone.
    let (status, _) = connect(&server, &["Cookie: session=late"]);
    assert_eq!(status, 503);
    assert!(is_quiet(&questions), "asked in spite of its failures");
    assert_eq!(
        metric(&server.authority, "roomcast_ask_circuit_open"),
        Some(1)
    );
}

/// A client controls its question, and thereby how the backend fails.
#[test]
fn a_stranger_whose_questions_the_backend_cannot_answer_keeps_nobody_out() {
    let (url, questions) = backend();
    let folder = config(&url, "timeout_ms = 10000\n");
    let server = serve(&folder, &[]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| !is_over.load(Relaxed)) {
                let asked = asked(&questions);
                if asked.question.to_string().contains("good") {
                    asked.answer(200, r#"{"user":"ann"}"#);
                    continue;
                }
                match number % 4 {
                    0 => drop(asked),
                    1 => asked.answer(200, "<html>"),
                    2 => asked.answer(404, ""),
                    _ => asked.answer(500, ""),
                }
            }
        });
        for stranger in 0..3 {
            let (server, is_over) = (&server, &is_over);
            scope.spawn(move || {
                for number in (0..).take_while(|_| !is_over.load(Relaxed)) {
                    let cookie = format!("Cookie: bad={stranger}-{number}");
                    assert_eq!(connect(server, &[&cookie]).0, 503);
                }
            });
        }
        let refused = r#"roomcast_ask_questions_total{outcome="unavailable"}"#;
        for number in 0..20 {
            // Between two connections of the client there are some of the strangers.
            let before = metric(&server.authority, refused);
            while metric(&server.authority, refused) < before.map(|it| it + 10) {
                thread::yield_now();
            }
            let cookie = format!("Cookie: session=good{number}");
            assert_eq!(connect(&server, &[&cookie]).0, 101);
        }
        is_over.store(true, Relaxed);
        // A question for the backend that waits for one.
        connect(&server, &["Cookie: session=good"]);
    });
    let open = metric(&server.authority, "roomcast_ask_circuit_open");
    assert_eq!(open, Some(0));
}

#[test]
fn a_client_with_a_token_is_asked_for_where_the_settings_say_so() {
    let bearer = format!("Authorization: Bearer {}", token("ann"));
    let flags = ["--token-key", TOKEN_KEY];
    let (url, questions) = backend();
    let folder = config(&url, "");
    let server = serve(&folder, &flags);
    let (mut peer, head) = ask(&server.authority, "", &[OFFER, &bearer]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(text(&mut peer).contains("$welcome"));
    let joined = join(&mut peer, "chat:1");
    assert!(joined.contains(r#""data":{"epoch""#), "{joined}");
    assert!(is_quiet(&questions), "asked in spite of a token");
    // Without a token the backend identifies the client; a bad token is always refused.
    let (status, _) = refused(&server, "1", || asked(&questions).answer(403, "{}"));
    assert_eq!(status, 403);
    let (status, _) = connect(&server, &["Authorization: Bearer x.y.z"]);
    assert_eq!(status, 401);
    assert!(is_quiet(&questions), "asked in spite of a bad token");
    drop(server);

    let folder = config(&url, "with_token = true\n");
    let server = serve(&folder, &flags);
    for (user, status) in [("ann", "101"), ("ben", "503")] {
        thread::scope(|scope| {
            scope.spawn(|| {
                let asked = asked(&questions);
                assert_eq!(asked.question["user"], "ann");
                asked.allow(user, &["join"]);
            });
            let (_, head) = ask(&server.authority, "", &[OFFER, &bearer]);
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        });
    }
}

#[test]
fn a_browser_is_told_why_through_the_open_socket() {
    let (url, questions) = backend();
    let folder = config(&url, "");
    let server = serve(&folder, &[]);
    let told = thread::scope(|scope| {
        scope.spawn(|| asked(&questions).answer(403, r#"{"message":"pay first"}"#));
        let (mut peer, head) = ask(&server.authority, "?refuse=close", &[OFFER]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        peer.rest()
    });
    let told = format!("{told:?}");
    assert!(
        told.contains("pay first") && told.contains("4403"),
        "{told}"
    );
}

#[test]
fn a_backend_that_answers_is_there_for_all_who_ask_at_once() {
    let (url, questions) = backend();
    let folder = config(&url, "timeout_ms = 5000\n");
    let server = serve(&folder, &["--threads=2"]);
    let all = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                asked(&questions).answer(200, r#"{"user":"ann","ttl_s":600}"#);
            }
        });
        let server = &server;
        let clients: Vec<_> = (0..40)
            .map(|number: usize| scope.spawn(move || client(server, &(number % 20).to_string())))
            .collect();
        let joined = clients.into_iter().map(|client| client.join().expect("in"));
        joined.collect::<Vec<_>>()
    });
    assert_eq!(all.len(), 40);
}

#[test]
fn settings_that_cannot_be_used_end_the_start() {
    let (url, _) = backend();
    let folder = config(&url, "");
    let file = folder.path().join("rooms.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    for (from, to, told) in [
        (
            KEY,
            "env:NO_SUCH_KEY",
            "the variable NO_SUCH_KEY of `keys` is not set",
        ),
        ("headers", "header", "rooms.toml:5: unknown field `header`"),
        ("[ask]", "[asks]", "`ask` may be meant"),
    ] {
        std::fs::write(&file, text.replace(from, to)).expect("written");
        let (code, said) = run(&[
            "serve",
            "--listen=127.0.0.1:0",
            "--config",
            &file.to_string_lossy(),
        ]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
}
