//! Published keys, of an issuer that a test plays.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{KEY, OFFER, PRIVATE, PUBLIC, ask, auth, ends, text, token_for, unidentified};
use crate::process::child::Process;

/// The private key of RFC 7515, with another id than that of [`PRIVATE`].
pub(crate) const NEXT_PRIVATE: &str = r#"{"kty":"EC","crv":"P-256","kid":"second","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
/// Its public half.
pub(crate) const NEXT_PUBLIC: &str = r#"{"kty":"EC","crv":"P-256","kid":"second","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// An issuer that answers each request, and counts them.
pub(crate) struct Issuer {
    pub(crate) url: String,
    fetches: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

/// The answer of an issuer that publishes these keys.
pub(crate) fn published(keys: &str) -> Vec<u8> {
    let body = format!(r#"{{"keys":[{keys}]}}"#);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    (head + &body).into()
}

pub(crate) type Answer = Box<dyn Fn(&mut TcpStream) + Send>;

impl Issuer {
    pub(crate) fn new(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let fetches = Arc::<AtomicUsize>::default();
        let stopped = Arc::<AtomicBool>::default();
        let (count, ended) = (fetches.clone(), stopped.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                if ended.load(SeqCst) {
                    break;
                }
                count.fetch_add(1, SeqCst);
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                answer(&mut stream);
            }
        });
        let url = format!("http://{address}/jwks.json");
        Self {
            url,
            fetches,
            stopped,
        }
    }

    /// An issuer that publishes these keys.
    pub(crate) fn of(keys: &str) -> Self {
        Self::changing(keys).0
    }

    /// The same, with its answer, which a test may change.
    pub(crate) fn changing(keys: &str) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let answer = Arc::new(Mutex::new(published(keys)));
        let given = answer.clone();
        let issuer = Self::new(move |stream| {
            let given = given.lock().expect("no panic").clone();
            let _ = stream.write_all(&given);
        });
        (issuer, answer)
    }

    /// An issuer that publishes its key once, and then answers so.
    pub(crate) fn turning(answer: Answer) -> Self {
        let asked = AtomicBool::new(false);
        Self::new(move |stream| {
            if asked.swap(true, SeqCst) {
                answer(stream);
            } else {
                let _ = stream.write_all(&published(PUBLIC));
            }
        })
    }

    /// Ends it: nobody listens at its address any more.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        let rest = self.url.trim_start_matches("http://");
        let (address, _) = rest.split_once('/').expect("a path");
        while TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
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
    for threads in ["--threads=1", "--threads=2"] {
        let before = issuer.fetches();
        // A second fetch would be due in 30 s, which a busy machine may need for all of them.
        let server = issuer.server(&[
            threads,
            "--jwks-interval-ms=600000",
            "--jwks-refresh-ms=600000",
        ]);
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
        thread::sleep(Duration::from_millis(300));
        let _ = stream.write_all(&published(PUBLIC));
    });
    for threads in ["--threads=1", "--threads=3"] {
        let mut attempts = 0..20;
        let (_server, mut peer, known) = loop {
            attempts.next().expect("keys in time");
            let began = Instant::now();
            let server = issuer.server(&[threads]);
            let (mut peer, _) = unidentified(&server.authority);
            peer.say(&auth(&token_for(PRIVATE, "ann", 60)));
            peer.say(super::JOIN);
            let told = text(&mut peer);
            if !told.contains(r#""code":"unavailable""#) {
                break (server, peer, told);
            }
            // Where the issuer stands still for a second there are no keys, which is told as such.
            assert!(began.elapsed() >= Duration::from_secs(1), "{told}");
        };
        assert!(known.contains(r#""user":"ann""#), "{known}");
        assert!(text(&mut peer).contains(r#""epoch""#));
    }
}

/// Answers without keys, with a word of what each host logs: the native one, and the worker.
pub(crate) fn useless_answers() -> [(Answer, &'static str, &'static str); 6] {
    let wrong = |bytes: &'static [u8]| -> Answer {
        Box::new(move |stream| {
            let _ = stream.write_all(bytes);
        })
    };
    let endless: Answer = Box::new(|stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\nConnection: close\r\n\r\n");
        let mut left = 10_000_000 / 4096;
        while left > 0 && stream.write_all(&[b' '; 4096]).is_ok() {
            left -= 1;
        }
    });
    let silent: Answer = Box::new(|stream| {
        // Until the server goes.
        let _ = stream.read(&mut [0]);
    });
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let down = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let list = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";
    [
        (wrong(redirect), "redirect (302)", "redirect (302)"),
        (wrong(down), "500", "500"),
        (wrong(list), "--jwks", "ROOMCAST_JWKS"),
        (wrong(b"nonsense"), "--jwks", "ROOMCAST_JWKS"),
        (endless, "length limit", "over 65536 bytes"),
        (silent, "no whole answer within", "no whole answer within"),
    ]
}

/// Issuers that give such answers alone.
pub(crate) fn useless_issuers() -> [(Issuer, &'static str, &'static str); 6] {
    useless_answers().map(|(answer, native, worker)| (Issuer::new(answer), native, worker))
}

#[test]
fn a_new_key_is_one_fetch_and_an_old_one_is_taken_while_it_is_published() {
    let (issuer, answer) = Issuer::changing(PUBLIC);
    let publish = |keys: &str| *answer.lock().expect("no panic") = published(keys);
    let mut server = issuer.server(&["--jwks-interval-ms=100"]);
    let old = token_for(PRIVATE, "ann", 60);
    let new = token_for(NEXT_PRIVATE, "ann", 60);
    assert_eq!(status(&server, &old), "101");
    publish(&format!("{PUBLIC},{NEXT_PUBLIC}"));
    // Refused until the interval has passed, which may be so at once on a busy machine.
    let mut first_refused = "k0";
    while status(&server, &new) != "101" {
        first_refused = "second";
    }
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(status(&server, &old), "101");
    publish(NEXT_PUBLIC);
    assert_eq!(status(&server, &old), "101", "nothing was fetched since");
    let unknown = token_for(&other_key(0), "ann", 60);
    while issuer.fetches() == 2 {
        assert_eq!(status(&server, &unknown), "401");
    }
    assert_eq!(status(&server, &old), "401");
    assert_eq!(status(&server, &new), "101");
    let line = server.logged("refused a token");
    let cause = format!("no key has the id \"{first_refused}\"");
    assert!(line.contains(&cause), "{line}");
}

#[test]
fn a_key_that_is_published_no_more_is_refused_from_the_refresh_on() {
    let (issuer, answer) = Issuer::changing(PUBLIC);
    let server = issuer.server(&["--jwks-interval-ms=100", "--jwks-refresh-ms=100"]);
    let old = token_for(PRIVATE, "ann", 60);
    assert_eq!(status(&server, &old), "101");
    *answer.lock().expect("no panic") = published(NEXT_PUBLIC);
    while status(&server, &old) == "101" {}
    let new = token_for(NEXT_PRIVATE, "ann", 60);
    assert_eq!(status(&server, &new), "101");
}

#[test]
fn known_keys_go_on_when_the_issuer_misbehaves_or_is_down() {
    let stays = |issuer: Issuer, says: &str, stop: bool| {
        let mut server = issuer.server(&["--jwks-interval-ms=100", "--jwks-refresh-ms=100"]);
        let good = token_for(PRIVATE, "ann", 60);
        assert_eq!(status(&server, &good), "101", "{says}");
        if stop {
            issuer.stop();
        }
        let mut line = server.logged("the keys from before stay");
        // A fetch that the issuer has taken before it stopped ends in another way than the next.
        let mut others = 0..20;
        while stop && !line.contains(says) && others.next().is_some() {
            line = server.logged("the keys from before stay");
        }
        assert!(line.contains(says), "{line}");
        assert_eq!(status(&server, &good), "101", "{says}");
    };
    for (answer, says, _) in useless_answers() {
        stays(Issuer::turning(answer), says, false);
    }
    stays(Issuer::of(PUBLIC), "refused", true);
}

#[test]
fn a_renewal_without_keys_is_unavailable_and_changes_nothing() {
    for threads in ["--threads=1", "--threads=3"] {
        let issuer = Issuer::new(|stream| {
            let _ = stream
                .write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        });
        let server = issuer.server(&["--token-key", KEY, threads]);
        let (mut peer, _) = unidentified(&server.authority);
        peer.say(&auth(&token_for(KEY, "ann", 60)));
        assert!(text(&mut peer).contains(r#""user":"ann""#));
        peer.say(&auth(&token_for(PRIVATE, "ann", 60)));
        let told = text(&mut peer);
        assert!(told.contains(r#""code":"unavailable""#), "{told}");
        assert!(peer.join("chat:a").contains(r#""epoch""#));
    }
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
        // The next fetch starts 30 s later, which a busy machine may reach.
        assert!((1..=2).contains(&issuer.fetches()), "{says}");
    }
}
