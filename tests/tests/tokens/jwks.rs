//! Published keys, of an issuer that a test plays.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use super::{OFFER, PRIVATE, PUBLIC, ask, auth, ends, text, token_for, unidentified};
use crate::process::child::Process;

/// An issuer that gives every request the same answer, and counts them.
pub(crate) struct Issuer {
    pub(crate) url: String,
    fetches: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) fn new(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let fetches = Arc::<AtomicUsize>::default();
        let count = fetches.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                count.fetch_add(1, SeqCst);
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                answer(&mut stream);
            }
        });
        let url = format!("http://{address}/jwks.json");
        Self { url, fetches }
    }

    /// An issuer that publishes these keys.
    pub(crate) fn of(keys: &str) -> Self {
        let body = format!(r#"{{"keys":[{keys}]}}"#);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Self::new(move |stream| {
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }

    pub(super) fn server(&self, flags: &[&str]) -> Process {
        Process::start(&[&["--jwks", &*self.url], flags].concat())
    }
}

fn status(server: &Process, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let (_, head) = ask(&server.authority, "", &[OFFER, &bearer]);
    head[9..12].to_owned()
}

pub(crate) fn other_key(number: usize) -> String {
    PRIVATE.replace("first", &format!("k{number}"))
}

#[test]
fn a_thousand_unknown_keys_are_one_fetch_and_known_ones_go_on() {
    let issuer = Issuer::of(PUBLIC);
    for flags in [&["--threads=1"][..], &["--threads=2"]] {
        let before = issuer.fetches();
        let server = issuer.server(flags);
        let good = token_for(PRIVATE, "ann", 60);
        assert_eq!(status(&server, &good), "101");
        for number in 0..1000 {
            let unknown = token_for(&other_key(number), "ann", 60);
            assert_eq!(status(&server, &unknown), "401", "{number}");
        }
        assert_eq!(status(&server, &good), "101");
        assert_eq!(issuer.fetches() - before, 1);
    }
}

#[test]
fn a_message_waits_for_the_keys_and_what_comes_behind_it_too() {
    // The first answer comes when the client waits already.
    let issuer = Issuer::new(|stream| {
        thread::sleep(std::time::Duration::from_millis(300));
        let body = format!(r#"{{"keys":[{PUBLIC}]}}"#);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes());
    });
    for threads in ["--threads=1", "--threads=3"] {
        let server = issuer.server(&[threads]);
        let (mut peer, _) = unidentified(&server.authority);
        peer.say(&auth(&token_for(PRIVATE, "ann", 60)));
        peer.say(super::JOIN);
        let known = text(&mut peer);
        assert!(known.contains(r#""user":"ann""#), "{known}");
        assert!(text(&mut peer).contains(r#""epoch""#));
    }
}

/// Issuers that give no keys, with a word of what each host logs: the native one, and the worker.
pub(crate) fn useless_issuers() -> [(Issuer, &'static str, &'static str); 6] {
    let wrong = |bytes: &'static [u8]| {
        Issuer::new(move |stream| {
            let _ = stream.write_all(bytes);
        })
    };
    let endless = Issuer::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
        let mut left = 10_000_000 / 4096;
        while left > 0 && stream.write_all(&[b' '; 4096]).is_ok() {
            left -= 1;
        }
    });
    let silent = Issuer::new(|stream| {
        // Until the server goes.
        let _ = stream.read(&mut [0]);
    });
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n";
    let down = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    let list = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
    [
        (wrong(redirect), "redirect (302)", "redirect (302)"),
        (wrong(down), "500", "500"),
        (wrong(list), "--jwks", "ROOMCAST_JWKS"),
        (wrong(b"nonsense"), "--jwks", "ROOMCAST_JWKS"),
        (endless, "length limit", "over 65536 bytes"),
        (silent, "no whole answer within", "no whole answer within"),
    ]
}

#[test]
fn an_issuer_that_misbehaves_is_no_reason_to_wait_or_to_believe() {
    for (issuer, says, _) in useless_issuers() {
        let mut server = issuer.server(&[]);
        let refused = status(&server, &token_for(PRIVATE, "ann", 60));
        assert_eq!(refused, "503", "{says}");
        let line = server.logged("--jwks: ");
        assert!(line.contains(says), "{line}");
        let (mut peer, _) = unidentified(&server.authority);
        peer.say(&auth(&token_for(PRIVATE, "ann", 60)));
        let told = text(&mut peer);
        assert!(told.contains(r#""code":"unavailable""#), "{told}");
        ends(&mut peer, 1013);
        // The next begins 30 s behind it, which a busy machine may take.
        assert!((1..=2).contains(&issuer.fetches()), "{says}");
    }
}
