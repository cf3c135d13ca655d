//! Hooks and guards that wait for an external answer, usually from a database.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, UNIX_EPOCH},
};

use roomcast::{Admission, CloseCode, Context, Failure, Rejection, Router, later};
use roomcast_core::{
    Command, Outbox,
    journal::{Entry, Replay},
};
use tokio::{sync::Semaphore, task::JoinSet};

use super::running::{Running, crowd, settings, until};

/// A database that answers when the test lets it.
#[derive(Clone)]
struct Database {
    gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Database {
    fn new(permits: usize) -> Self {
        Self {
            gate: Arc::new(Semaphore::new(permits)),
            asked: Arc::default(),
            dropped: Arc::default(),
        }
    }

    /// The user of a session; `eve` has none.
    fn user(&self, session: String) -> impl Future<Output = Result<String, Failure>> + use<> {
        let (gate, dropped) = (self.gate.clone(), Dropped(self.dropped.clone()));
        self.asked.fetch_add(1, SeqCst);
        async move {
            let _dropped = dropped;
            gate.acquire().await?.forget();
            match &*session {
                "eve" => Err(Failure::unauthorized("no such session")),
                "broken" => Ok("x".parse::<u8>()?.to_string()),
                "panics" => panic!("planted"),
                _ => Ok(session),
            }
        }
    }

    async fn is_asked(&self, times: usize) {
        let asked = || async { self.asked.load(SeqCst) };
        until(asked, |&asked| asked >= times).await;
    }
}

/// Looks sessions up before the connection opens or when it does, as the query says.
fn club(database: &Database) -> Router<usize> {
    let (first, second) = (database.clone(), database.clone());
    Router::new(0)
        .on_upgrade(move |request, _| {
            let session = request.query.strip_prefix("upgrade=").map(str::to_owned);
            let found = session.map(|session| first.user(session));
            let early = request.query.strip_prefix("connect=").map(str::to_owned);
            later(async move {
                let mut admission = Admission::new();
                if let Some(found) = found {
                    admission = admission.with_user(found.await?);
                }
                match early {
                    Some(session) => Ok(admission.with_session(&session)?),
                    None => Ok(admission),
                }
            })
        })
        .on_connect(move |cx, _| {
            let session = cx.session::<String>();
            let found = session.map(|session| session.map(|session| second.user(session)));
            let found = later(async move {
                match found? {
                    Some(found) => found.await.map(Some),
                    None => Ok(None),
                }
            });
            found.and_then(
                |cx: &mut Context, members: &mut usize, user: Option<String>| {
                    if let Some(user) = user {
                        cx.set_user(&user)?;
                    }
                    *members += 1;
                    cx.join("club")?;
                    roomcast::ok(())
                },
            )
        })
        .on("who", |cx: &mut Context| cx.user().map(str::to_owned))
        .on("members", |_: &mut Context, members: &mut usize| *members)
        .on("say", |cx: &mut Context, text: String| {
            cx.to(cx.room("club")).emit("said", &text).map(|_| ())
        })
}

async fn start(threads: usize, permits: usize) -> (Running, Database) {
    let database = Database::new(permits);
    let opened = database.clone();
    let build = |host: roomcast::Host| host.gateway("default", move |_| club(&opened));
    (Running::on_threads(threads, build).await, database)
}

fn who(user: &str) -> String {
    format!(r#"{{"event":"who","data":"{user}"}}"#)
}

#[tokio::test]
async fn a_user_is_looked_up_before_or_after_the_connection_opens() {
    for threads in [1, 2] {
        let (running, _) = start(threads, 3).await;
        for way in ["upgrade", "connect"] {
            let mut client = running.connect(&format!("/ws?{way}=ann")).await;
            assert_eq!(client.ask(r#"{"event":"who"}"#).await, who("ann"));
        }
        let refused = running.try_connect("/ws?upgrade=eve", &[]).await.err();
        assert_eq!(refused.expect("refused").status, 401);
    }
}

/// The user is identified by the upgrade hook or by the connect hook.
#[tokio::test]
async fn a_withdrawn_user_who_is_looked_up_anew_comes_back() {
    let (running, _) = start(1, 4).await;
    let ways = ["/ws?upgrade=ann", "/ws?connect=ann"];
    let mut before = Vec::new();
    for way in ways {
        let mut client = running.connect(way).await;
        assert_eq!(client.ask(r#"{"event":"who"}"#).await, who("ann"));
        before.push(client);
    }
    let unix = || async { UNIX_EPOCH.elapsed().expect("after 1970") };
    let next = unix().await.as_secs() + 1;
    assert_eq!(running.server.withdraw("ann", next).await, Ok(2));
    for mut client in before {
        assert_eq!(client.closed().await.1, 4401);
    }
    // A namespace counts whole milliseconds from its start, so its time may be some behind.
    let begun = Duration::from_secs(next) + Duration::from_millis(20);
    until(unix, |&now| now >= begun).await;
    for way in ways {
        let mut client = running.connect(way).await;
        assert_eq!(client.ask(r#"{"event":"who"}"#).await, who("ann"));
    }
}

#[tokio::test]
async fn a_connection_is_refused_as_by_a_hook_that_does_not_wait() {
    let (running, _) = start(1, 3).await;
    for (session, code, name, reason) in [
        ("eve", 4401, "unauthorized", "no such session"),
        ("broken", 1011, "internal", "internal server error (logged)"),
        ("panics", 1011, "internal", "internal server error (logged)"),
    ] {
        let protocol = [("sec-websocket-protocol", "roomcast.v1")];
        let path = format!("/ws?connect={session}");
        let client = running.try_connect(&path, &protocol).await;
        let (texts, closed, why) = client.expect("upgraded").closed().await;
        let error =
            format!(r#"{{"event":"$error","error":{{"code":"{name}","message":"{reason}"}}}}"#);
        assert_eq!((texts, closed, &*why), (vec![error], code, reason));
    }
    crowd(&running.server, 0).await;
}

#[tokio::test]
async fn a_lookup_that_fails_refuses_the_request() {
    let (running, _) = start(1, 2).await;
    for session in ["broken", "panics"] {
        let path = format!("/ws?upgrade={session}");
        let refused = running.try_connect(&path, &[]).await.err();
        assert_eq!(refused.expect("refused").status, 500);
    }
}

/// An application that revokes access finds the connection in the list.
#[tokio::test]
async fn a_connection_whose_lookup_waits_is_listed_and_can_be_disconnected() {
    let (running, database) = start(2, 0).await;
    let mut client = running.connect("/ws?connect=ann").await;
    database.is_asked(1).await;
    let listed = running.server.connections().await.expect("running");
    let [waiting] = &listed[..] else {
        panic!("{listed:?}");
    };
    let code = CloseCode::new(4000).expect("a code");
    let closed = running
        .server
        .disconnect(waiting.id, code, "no right")
        .await;
    assert_eq!((closed, client.closed().await.1), (Ok(()), 4000));
    let dropped = || async { database.dropped.load(SeqCst) };
    until(dropped, |&dropped| dropped == 1).await;
}

/// Before the upgrade, the lookup continues: an HTTP client may close its half and still be
/// answered.
#[tokio::test]
async fn a_lookup_is_dropped_with_its_connection() {
    let (running, database) = start(2, 0).await;
    let client = running.connect("/ws?connect=ann").await;
    database.is_asked(1).await;
    client.leave().await;
    let gone = || async { database.dropped.load(SeqCst) };
    until(gone, |&gone| gone == 1).await;
    crowd(&running.server, 0).await;
}

/// The server does not wait for the lookup, and the client is told why.
#[tokio::test]
async fn a_request_whose_lookup_waits_is_refused_when_the_server_drains() {
    for threads in [1, 2] {
        let (running, database) = start(threads, 0).await;
        let address = running.address;
        let asking = tokio::spawn(async move {
            let client = super::client::Client::connect(address, "/ws?upgrade=ann", &[]).await;
            client.err()
        });
        database.is_asked(1).await;
        running.stop().await.expect("ended in order");
        let refused = asking.await.expect("an answer").expect("refused");
        assert_eq!(refused.status, 503);
        assert!(refused.body.contains("shutting down"), "{}", refused.body);
        assert_eq!(database.dropped.load(SeqCst), 1);
    }
}

#[tokio::test]
async fn a_lookup_that_takes_too_long_is_given_up() {
    let database = Database::new(0);
    let opened = database.clone();
    let mut settings = settings();
    settings.hub.admission_timeout = Duration::from_millis(50);
    let build = |host: roomcast::Host| host.gateway("default", move |_| club(&opened));
    let running = Running::with_settings(settings, build).await;
    let refused = running.try_connect("/ws?upgrade=ann", &[]).await.err();
    let refused = refused.expect("refused");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(database.dropped.load(SeqCst), 1);
    let protocol = [("sec-websocket-protocol", "roomcast.v1")];
    let client = running.try_connect("/ws?connect=ann", &protocol).await;
    let (texts, closed, why) = client.expect("upgraded").closed().await;
    assert_eq!((texts.len(), closed), (1, 1013), "{texts:?}");
    assert!(texts[0].contains(r#""code":"unavailable""#), "{texts:?}");
    assert!(why.contains("did not decide in time"), "{why}");
    let dropped = || async { database.dropped.load(SeqCst) };
    until(dropped, |&dropped| dropped == 2).await;
    crowd(&running.server, 0).await;
}

/// The journal of the one run.
fn only_file(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a folder");
    let file = files.next().expect("a file").expect("a name");
    std::fs::read_to_string(file.path()).expect("a journal")
}

/// Half of the lookups run before the connection opens, half when it does.
#[tokio::test]
async fn a_thousand_lookups_at_once_hold_up_nobody_and_are_replayed() {
    const CLIENTS: usize = 1_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings();
    settings.record = Some(folder.path().join("journal"));
    settings.hub.admission_timeout = Duration::from_secs(3_600);
    let path = settings.record.clone().expect("a path");
    let database = Database::new(2);
    let opened = database.clone();
    let build = |host: roomcast::Host| host.gateway("default", move |_| club(&opened));
    let running = Running::with_settings(settings, build).await;
    let mut ann = running.connect("/ws?upgrade=ann").await;
    let mut ben = running.connect("/ws?connect=ben").await;
    assert_eq!(ben.ask(r#"{"event":"who"}"#).await, who("ben"));

    let (mut clients, address) = (JoinSet::new(), running.address);
    for at in 0..CLIENTS {
        clients.spawn(async move {
            let way = ["upgrade", "connect"][at % 2];
            let path = format!("/ws?{way}=user{at}");
            let client = super::client::Client::connect(address, &path, &[]).await;
            let mut client = client.expect("admitted");
            assert_eq!(
                client.ask(r#"{"event":"who"}"#).await,
                who(&format!("user{at}"))
            );
            client
        });
    }
    database.is_asked(2 + CLIENTS).await;
    // All lookups wait, and no other client does.
    for number in 0..20 {
        ann.send(&format!(r#"{{"event":"say","data":"{number}"}}"#))
            .await;
        let said = format!(r#"{{"event":"said","room":"club","data":"{number}"}}"#);
        assert_eq!((ann.next().await, ben.next().await), (said.clone(), said));
    }
    assert_eq!(
        ann.ask(r#"{"event":"members"}"#).await,
        r#"{"event":"members","data":2}"#
    );
    database.gate.add_permits(CLIENTS);
    let clients = clients.join_all().await;
    let members = format!(r#"{{"event":"members","data":{}}}"#, 2 + CLIENTS);
    assert_eq!(ann.ask(r#"{"event":"members"}"#).await, members);
    drop((clients, ann, ben));
    crowd(&running.server, 0).await;
    running.stop().await.expect("ended in order");

    // A replay queries no database: its gate stays shut.
    let shut = Database::new(0);
    let replayed = shut.clone();
    let mut replay = Replay::with_gateways(move |_| club(&replayed));
    let (mut opened, mut answers) = (0, 0);
    for line in only_file(&path).lines() {
        let mut out = Outbox::new();
        let entry = Entry::parse(line).expect("an entry");
        replay.apply(&entry, &mut out).expect("an opened namespace");
        for command in &out {
            if let Command::Send { frame, .. } = command {
                let text = frame.as_bytes();
                let has = |part: &str| text.windows(part.len()).any(|at| at == part.as_bytes());
                opened += usize::from(has(r#""event":"who","data":"user"#));
                answers += usize::from(text == members.as_bytes());
            }
        }
    }
    assert_eq!((opened, answers), (CLIENTS, 1));
}

/// The lookup of a right delays only messages of its own connection.
#[tokio::test]
async fn a_guard_waits_for_its_own_connection_alone() {
    let database = Database::new(0);
    let opened = database.clone();
    let build = |host: roomcast::Host| {
        host.gateway("default", move |_| {
            let database = opened.clone();
            Router::default().guard_rooms(move |_, (), _, room| {
                let found = database.user(room.to_owned());
                later(async move { found.await.map(|_| ()) })
            })
        })
    };
    let running = Running::on_threads(2, build).await;
    let mut ann = running.connect("/ws").await;
    ann.send(r#"{"event":"$join","room":"eve","id":1}"#).await;
    ann.send(r#"{"event":"$join","room":"r","id":2}"#).await;
    ann.send(r#"{"event":"$rooms","id":3}"#).await;
    database.is_asked(1).await;
    let mut ben = running.connect("/ws").await;
    let rooms = r#"{"event":"$rooms","id":1,"data":[]}"#;
    assert_eq!(ben.ask(r#"{"event":"$rooms","id":1}"#).await, rooms);
    assert!(ann.received().await.is_empty());
    database.gate.add_permits(2);
    let refused = ann.next().await;
    assert!(
        refused.contains(r#""id":1,"room":"eve","error":{"code":"unauthorized""#),
        "{refused}"
    );
    let joined = ann.next().await;
    assert!(joined.contains(r#""event":"$join","id":2"#), "{joined}");
    let rooms = r#"{"event":"$rooms","id":3,"data":["r"]}"#;
    assert_eq!(ann.next().await, rooms);
}

#[tokio::test]
async fn a_guard_that_takes_too_long_refuses_its_message_alone() {
    let database = Database::new(0);
    let opened = database.clone();
    let mut settings = settings();
    settings.hub.admission_timeout = Duration::from_millis(50);
    let build = |host: roomcast::Host| {
        host.gateway("default", move |_| {
            let database = opened.clone();
            Router::default().guard_rooms(move |_, (), _, room| {
                let found = database.user(room.to_owned());
                later(async move { found.await.map(|_| ()) })
            })
        })
    };
    let running = Running::with_settings(settings, build).await;
    let mut ann = running.connect("/ws").await;
    ann.send(r#"{"event":"$join","room":"r","id":1}"#).await;
    ann.send(r#"{"event":"$rooms","id":2}"#).await;
    let refused = ann.next().await;
    let told = r#""id":1,"room":"r","error":{"code":"unavailable""#;
    assert!(refused.contains(told), "{refused}");
    let rooms = r#"{"event":"$rooms","id":2,"data":[]}"#;
    assert_eq!(ann.next().await, rooms);
    let dropped = || async { database.dropped.load(SeqCst) };
    until(dropped, |&dropped| dropped == 1).await;
}

/// Compile-time proof that early returns of a hook need no future.
#[test]
fn a_hook_may_decide_at_once_or_later() {
    let _ = Router::default().on_connect(|cx, ()| {
        if cx.user().is_none() {
            return later(async { Err(Rejection::unauthorized("sign in first")) });
        }
        later(async { Ok(()) })
    });
}
