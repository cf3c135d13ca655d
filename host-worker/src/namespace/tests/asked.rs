//! A backend that is asked, on a platform that fails and loses state.

use std::time::Duration;

use roomcast_core::{Handshake, Identity};
use roomcast_hooks::{AskEvent, AskOutcome, AskSettings, Keys, Verdict};
use roomcast_http::Problem;

use super::bench::{Bench, Gone, Setup, Text, Wait};
use crate::hooks::{Backends, Post, PostKind};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const JOIN: &str = r#"{"event":"$join","id":1,"room":"den"}"#;
const JOINED: &str = r#"0 < {"event":"$join","id":1,"room":"den","data":{"epoch":"e""#;
const SAY: &str = r#"{"event":"said","id":2,"room":"den"}"#;
const RIGHTS: &str = r#"{"grants":[{"rooms":"den","can":["join","publish"]}]}"#;

fn asking() -> Setup {
    let url = "https://backend.example/ask?secret=1"
        .parse()
        .expect("a URL");
    let on = [AskEvent::Connect, AskEvent::Join].into_iter().collect();
    let settings = AskSettings::new(url, on, vec![KEY.parse().expect("a source")]);
    let keys = Keys::new([KEY.parse().expect("a key")]).expect("one");
    Setup {
        backends: Backends {
            told: Vec::new(),
            asked: Some((settings.expect("settings"), keys)),
        },
        ..Setup::default()
    }
}

impl Bench {
    fn posts(&self) -> Vec<Post> {
        std::mem::take(&mut self.fake.0.borrow_mut().posts)
    }

    /// The one question that was sent: its number and its body.
    fn question(&self) -> (u64, String) {
        let [post] = &self.posts()[..] else {
            panic!("one question")
        };
        assert_eq!(post.url, "https://backend.example/ask?secret=1");
        assert!(post.headers.iter().any(|text| text.starts_with("v1,")));
        match post.kind {
            PostKind::Ask(number, time) if time <= Duration::from_secs(1) => {
                (number, post.body.clone())
            }
            PostKind::Ask(..) | PostKind::Tell(_) => panic!("{post:?}"),
        }
    }

    /// Delivers the backend's answer; returns its visible effects. Status 0 means no answer.
    fn answer(&mut self, number: u64, status: u16, body: &str) -> Vec<String> {
        let body = body.as_bytes();
        let (outcome, fault) = if status == 0 {
            (AskOutcome::Failed, Some("no answer"))
        } else {
            (AskOutcome::Answered { status, body }, None)
        };
        self.namespace.asked(number, outcome, fault);
        self.turns()
    }

    /// Asks who a client is; returns its number, which the platform does not know yet.
    fn client(&mut self, cookie: &str) -> u64 {
        let headers = vec![("cookie".to_owned(), cookie.to_owned())];
        let client = self.namespace.ask_client(None, headers);
        assert_eq!(self.answered(), [0; 0]);
        client.expect("a backend is asked")
    }

    fn answered(&self) -> Vec<u64> {
        std::mem::take(&mut self.fake.0.borrow_mut().answered)
    }

    fn identify(&mut self, client: Option<u64>) -> Result<Identity, Problem> {
        let handshake = Handshake::new().with_unidentified(true);
        let handshake = self.namespace.identify(handshake, client)?;
        assert!(!handshake.unidentified);
        Ok(handshake.identity)
    }

    /// A client whose rights in rooms the backend gives.
    fn enter(&mut self) {
        let client = self.client("ann");
        let (number, _) = self.question();
        self.answer(number, 200, r#"{"user":"ann"}"#);
        assert_eq!(self.answered(), [client]);
        let identity = self.identify(Some(client)).expect("it is in");
        let connected = self
            .namespace
            .connect(Handshake::new().with_identity(identity));
        assert_eq!(connected.expect("saved"), Ok(()));
        self.fake.0.borrow_mut().commit();
    }

    /// Starts a join, which waits together with the message after it.
    fn join_and_say(&mut self) -> u64 {
        for text in [JOIN, SAY] {
            assert_eq!(self.run(Text(0, text)), [""; 0]);
        }
        let (number, body) = self.question();
        assert_eq!(
            body,
            r#"{"type":"join","namespace":"d","user":"ann","room":"den"}"#
        );
        let world = self.fake.0.borrow();
        assert_eq!((world.works.len(), world.waiting.len()), (1, 1));
        number
    }
}

const UNAVAILABLE: Problem = Problem::Backend(Verdict::Unavailable);

#[test]
fn equal_questions_about_clients_share_a_request_and_its_answer() {
    let mut bench = Bench::new(&asking());
    let (first, second) = (bench.client("a"), bench.client("a"));
    let (number, body) = bench.question();
    assert_eq!(
        body,
        r#"{"type":"connect","namespace":"d","headers":{"cookie":"a"}}"#
    );
    bench.answer(number, 200, r#"{"user":"ann","ttl_s":5,"expires_in_s":60}"#);
    assert_eq!(bench.answered(), [first, second]);
    for client in [first, second] {
        let identity = bench.identify(Some(client)).expect("it is in");
        assert_eq!(identity.user.as_deref(), Some("ann"));
        assert!(identity.grants.is_some() && identity.deadline.is_some());
    }
    // An answer serves one client, and is reused for equal questions as long as the backend allows.
    assert_eq!(bench.identify(Some(first)), Err(UNAVAILABLE));
    let kept = bench.client("a");
    assert_eq!(bench.turns(), [""; 0]);
    assert_eq!((bench.answered(), bench.posts()), (vec![kept], vec![]));
    bench.identify(Some(kept)).expect("it is in");
    bench.run(Wait(5_000));
    bench.client("a");
    bench.question();
}

#[test]
fn without_the_word_of_the_backend_nobody_comes_in() {
    let mut bench = Bench::new(&asking());
    assert_eq!(bench.identify(None), Err(UNAVAILABLE));
    let refused = Problem::Backend(Verdict::Forbidden("pay first".into()));
    for (number, (status, body, problem)) in [
        (0, "", UNAVAILABLE),
        (302, "", UNAVAILABLE),
        (200, "[]", UNAVAILABLE),
        (403, r#"{"message":"pay first"}"#, refused),
        (500, RIGHTS, UNAVAILABLE),
        (404, RIGHTS, UNAVAILABLE),
        (500, "", UNAVAILABLE),
        (500, "", UNAVAILABLE),
        (500, "", UNAVAILABLE),
        (500, "", UNAVAILABLE),
    ]
    .into_iter()
    .enumerate()
    {
        let client = bench.client(&number.to_string());
        let (question, _) = bench.question();
        bench.answer(question, status, body);
        assert_eq!(bench.answered(), [client]);
        assert_eq!(
            bench.identify(Some(client)),
            Err(problem),
            "{status} {body}"
        );
    }
    // A backend that answers is asked again, whatever the answer; after five failures in a row (no
    // answer or 503) it is left alone.
    for number in 10..16 {
        let client = bench.client(&number.to_string());
        if number < 15 {
            let (question, _) = bench.question();
            bench.answer(question, if number % 2 == 0 { 503 } else { 0 }, "");
        } else {
            assert_eq!((bench.posts(), bench.turns()), (vec![], vec![]));
        }
        assert_eq!(bench.answered(), [client]);
        assert_eq!(bench.identify(Some(client)), Err(UNAVAILABLE));
    }
}

#[test]
fn no_more_requests_are_under_way_than_the_platform_opens() {
    let mut bench = Bench::new(&asking());
    let clients: Vec<_> = (0..9).map(|n| bench.client(&n.to_string())).collect();
    let posts = bench.posts();
    assert_eq!(posts.len(), 6);
    // The end of a question starts the next one. Questions whose turn does not come in time are
    // refused as overloaded.
    let number = |post: &Post| match post.kind {
        PostKind::Ask(number, _) => number,
        PostKind::Tell(_) => panic!("{post:?}"),
    };
    bench.answer(number(&posts[0]), 200, "{}");
    assert_eq!(bench.posts().len(), 1);
    bench.run(Wait(1_000));
    for post in &posts[1..] {
        bench.answer(number(post), 0, "");
    }
    let mut answered = bench.answered();
    answered.sort_unstable();
    assert_eq!(answered, clients);
    assert!(bench.identify(Some(clients[0])).is_ok());
    assert_eq!(bench.identify(Some(clients[6])), Err(UNAVAILABLE));
    let overloaded = Problem::Backend(Verdict::Overloaded(6));
    assert_eq!(bench.identify(Some(clients[8])), Err(overloaded));
}

#[test]
fn what_is_sent_behind_a_join_waits_for_it() {
    let mut bench = Bench::new(&asking());
    bench.enter();
    let number = bench.join_and_say();
    let seen = bench.answer(number, 200, RIGHTS);
    assert!(seen[0].starts_with(JOINED), "{seen:?}");
    assert!(
        seen[1].starts_with(r#"0 < {"event":"said","id":2,"#),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 2);
    let world = bench.fake.0.borrow();
    assert_eq!((world.works.len(), world.waiting.len()), (0, 0));
}

#[test]
fn a_join_is_refused_by_what_the_backend_says() {
    let mut bench = Bench::new(&asking());
    bench.enter();
    for (status, body, code) in [
        (403, "", "forbidden"),
        (401, "", "unauthorized"),
        (200, "{}", "forbidden"),
        (200, r#"{"user":"bob"}"#, "unavailable"),
        (0, "", "unavailable"),
    ] {
        assert_eq!(bench.run(Text(0, JOIN)), [""; 0]);
        let (number, _) = bench.question();
        let seen = bench.answer(number, status, body);
        let error =
            format!(r#"0 < {{"event":"$join","id":1,"room":"den","error":{{"code":"{code}""#);
        assert!(seen[0].starts_with(&error), "{seen:?}");
    }
}

#[test]
fn rights_that_the_backend_gave_outlive_an_eviction() {
    let mut bench = Bench::new(&asking());
    bench.enter();
    let number = bench.join_and_say();
    bench.answer(number, 200, RIGHTS);
    bench.evict();
    let seen = bench.run(Text(0, SAY));
    assert!(
        seen[0].starts_with(r#"0 < {"event":"said","id":2,"room":"den","data""#),
        "{seen:?}"
    );
    // The answer was not to be kept.
    bench.run(Text(0, r#"{"event":"$leave","room":"den"}"#));
    bench.run(Text(0, JOIN));
    bench.question();
}

/// No client keeps waiting for an answer that is lost.
#[test]
fn who_waits_when_the_namespace_begins_anew_is_told() {
    let mut bench = Bench::new(&asking());
    bench.enter();
    let number = bench.join_and_say();
    let client = bench.client("b");
    bench.evict();
    bench.namespace.wake().expect("it wakes");
    let seen = bench.turns();
    let lost = r#"0 < {"event":"$join","id":1,"room":"den","error":{"code":"unavailable""#;
    assert!(seen[0].starts_with(lost), "{seen:?}");
    assert_eq!(seen[1..], ["0 lost messages"]);
    // Late answers are ignored.
    bench.posts();
    assert_eq!(bench.answer(number, 200, RIGHTS), [""; 0]);
    assert_eq!(bench.identify(Some(client)), Err(UNAVAILABLE));
}

/// A join that cannot be saved is reported, and no client waits for it.
#[test]
fn an_answer_that_cannot_be_saved_is_told() {
    for writes in 0..3 {
        let mut bench = Bench::new(&asking());
        bench.enter();
        let number = bench.join_and_say();
        bench.fake.0.borrow_mut().writes_left = Some(writes);
        let body = RIGHTS.as_bytes();
        let answered = AskOutcome::Answered { status: 200, body };
        bench.namespace.asked(number, answered, None);
        if bench.namespace.turn().is_ok() {
            assert!(writes > 0, "nothing is written");
            continue;
        }
        bench.fake.0.borrow_mut().rollback();
        bench.namespace.wake().expect("it wakes");
        let seen = bench.turns();
        assert!(seen[0].contains(r#""code":"unavailable""#), "{seen:?}");
        let world = bench.fake.0.borrow();
        assert_eq!((world.works.len(), world.waiting.len()), (0, 0));
    }
}

#[test]
fn a_connection_that_ends_while_it_waits_is_no_matter() {
    let mut bench = Bench::new(&asking());
    bench.enter();
    let number = bench.join_and_say();
    bench.run(Gone(0));
    // The next one has its slot, and waits as well.
    bench.fake.0.borrow_mut().waiting.clear();
    bench.enter();
    bench.run(Text(0, r#"{"event":"$join","id":1,"room":"other"}"#));
    bench.run(Text(0, SAY));
    let (other, _) = bench.question();
    assert_eq!(bench.answer(number, 200, RIGHTS), [""; 0]);
    assert_eq!(bench.fake.0.borrow().waiting.len(), 1);
    let seen = bench.answer(other, 403, "");
    assert!(seen[0].contains(r#""code":"forbidden""#), "{seen:?}");
    let world = bench.fake.0.borrow();
    assert_eq!((world.works.len(), world.waiting.len()), (0, 0));
}
