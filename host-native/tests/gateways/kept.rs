//! Histories and presence, for applications and for tasks beside them.

use std::time::Duration;

use roomcast::{
    Admission, AskError, Audience, Context, Failure, HistoryPolicy, Host, Namespace, PageError,
    Policies, PresencePolicy, RoomPolicy, Router, Settings,
};
use roomcast_core::wire::{Coded, Details};
use tokio::{sync::mpsc, time::timeout};

use super::{
    client::Client,
    running::{PATIENCE, Running, crowd, settings},
};

/// Settings in code, as in an embedding program.
fn kept() -> Settings {
    let mut log = RoomPolicy::new("log".parse().expect("a pattern"));
    log.history = Some(HistoryPolicy::default());
    let mut den = RoomPolicy::new("den".parse().expect("a pattern"));
    den.presence = PresencePolicy::Members;
    den.members = Some(2);
    let mut settings = settings();
    settings.policies = Policies::new([log, den]).expect("policies");
    settings
}

fn host(host: Host) -> Host {
    host.gateway("default", namespace).gateway("far", namespace)
}

fn namespace(server: &Namespace) -> Router {
    let server = server.clone();
    Router::default()
        .on("enter", |cx: &mut Context, name: String| {
            cx.join_with("den", &name)?;
            Ok::<_, Failure>(cx.id())
        })
        .on("last", |cx: &mut Context, count: usize| {
            cx.history("log", .., count)
        })
        .on("note", move |_: &mut Context, text: String| {
            let server = server.clone();
            async move {
                let sent = server.send(Audience::room("log"), "noted", &text).await?;
                let page = server.history("log", .., 1).await?;
                Ok::<_, Failure>((sent.offset, page.offset))
            }
        })
}

async fn every_question(running: &Running, path: &str, server: Namespace) {
    let begun = server.position("log").await.expect("running");
    assert_eq!(begun.offset, 0);
    for n in 1..=3 {
        let sent = server.send(Audience::room("log"), "said", &n).await;
        assert_eq!(sent.map(|sent| sent.offset), Ok(Some(n)));
    }
    let page = server.history("log", ..3, 1).await.expect("kept");
    assert_eq!((page.offset, page.messages.len()), (3, 1));
    let said = &page.messages[0];
    assert_eq!((said.offset, said.data::<u64>().ok()), (2, Some(2)));
    let position = server.position("log").await.expect("running");
    assert_eq!((&*position.epoch, position.offset), (&*page.epoch, 3));

    let mut ann = running.connect(path).await;
    assert_eq!(
        ann.ask(r#"{"event":"last","data":1}"#).await,
        format!(
            r#"{{"event":"last","data":{{"epoch":"{}","offset":3,"messages":[{{"event":"said","room":"log","offset":3,"data":3}}],"first":1}}}}"#,
            page.epoch
        )
    );
    assert_eq!(
        ann.ask(r#"{"event":"note","data":"x"}"#).await,
        r#"{"event":"note","data":[4,4]}"#
    );

    let answer = ann.ask(r#"{"event":"enter","data":"Ann"}"#).await;
    let page = server.presence("den", None, 9).await.expect("shown");
    let [present] = &page.members[..] else {
        panic!("one is there: {page:?}");
    };
    let id = present.conn.expect("one without a user");
    assert_eq!(answer, format!(r#"{{"event":"enter","data":"{id}"}}"#));
    assert_eq!(
        present.meta::<String>().ok().flatten().as_deref(),
        Some("Ann")
    );
    let _ben = running.connect(path).await;
    crowd(&server, 2).await;
    let all = server.connections().await.expect("running");
    let ben = all.iter().map(|conn| conn.id).find(|&other| other != id);
    let ben = ben.expect("connected");
    assert_eq!(server.join_with(ben, "den", &7).await, Ok(true));
    assert_eq!(server.join_with(ben, "den", &8).await, Ok(false));
    assert_eq!(
        ann.next().await,
        format!(
            r#"{{"event":"$joined","room":"den","data":{{"user":"","conn":"{ben}","meta":7}}}}"#
        )
    );
    let page = server.presence("den", None, 1).await.expect("shown");
    let rest = server
        .presence("den", page.next.as_deref(), 1)
        .await
        .expect("shown");
    assert_eq!(
        rest.members
            .iter()
            .map(|member| member.conn)
            .collect::<Vec<_>>(),
        [Some(ben)]
    );
    assert_eq!((rest.users, rest.conns, rest.next), (2, 2, None));
    let _cat = running.connect(path).await;
    crowd(&server, 3).await;
    let all = server.connections().await.expect("running");
    let full = server.join(all[2].id, "den").await;
    let is_full = |full: &AskError| full.details() == Some(Details::limit(2));
    assert!(full.as_ref().is_err_and(is_full), "{full:?}");

    let refused = server.history("den", .., 9).await;
    assert_eq!(refused, Err(AskError::Page(PageError::NoHistory)));
    let refused = server.presence("log", None, 9).await;
    assert_eq!(refused, Err(AskError::Page(PageError::NoPresence)));
    let refused = server.presence("den", Some("?"), 9).await;
    assert_eq!(refused, Err(AskError::Page(PageError::Cursor)));
}

#[tokio::test]
async fn every_question_from_a_task() {
    let running = Running::with_settings(kept(), host).await;
    every_question(&running, "/ws", running.server.clone()).await;
}

#[tokio::test]
async fn every_question_across_threads() {
    let mut settings = kept();
    settings.threads = 3;
    let running = Running::with_settings(settings, host).await;
    let far = running.server.namespace("far");
    every_question(&running, "/ws/far", far).await;
}

/// A namespace that does not exist looks empty, with the configured policies.
#[tokio::test]
async fn where_nobody_is_there_is_nothing() {
    let running = Running::with_settings(kept(), |host| host).await;
    let server = running.server.namespace("nowhere");
    assert_eq!(
        server.position("log").await.map(|position| position.offset),
        Ok(0)
    );
    let page = server.history("log", .., 9).await.expect("none yet");
    assert_eq!((page.offset, page.messages.len()), (0, 0));
    let page = server.presence("den", None, 9).await.expect("nobody");
    assert_eq!((page.users, page.conns), (0, 0));
    let refused = server.history("other", .., 9).await;
    assert_eq!(refused, Err(AskError::Page(PageError::NoHistory)));
    // The first message to be stored starts the namespace.
    let sent = server
        .send(Audience::room("log"), "said", &1)
        .await
        .expect("sent");
    assert_eq!((sent.matched, sent.offset), (0, Some(1)));
    let page = server.history("log", .., 9).await.expect("kept");
    assert_eq!(page.messages.len(), 1);
}

#[tokio::test]
async fn a_history_outlives_the_server_where_there_is_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = || {
        let mut settings = kept();
        settings.store = Some(folder.path().into());
        settings
    };
    let running = Running::with_settings(stored(), host).await;
    let sent = running
        .server
        .send(Audience::room("log"), "said", "kept")
        .await;
    assert_eq!(sent.map(|sent| sent.offset), Ok(Some(1)));
    let before = running.server.position("log").await.expect("running");
    running.stop().await.expect("stopped");

    let running = Running::with_settings(stored(), host).await;
    assert_eq!(running.server.position("log").await, Ok(before));
    let page = running.server.history("log", .., 9).await.expect("kept");
    assert_eq!(
        page.messages[0].data::<String>().ok().as_deref(),
        Some("kept")
    );
    let mut ann = running.connect("/ws").await;
    let answer = ann.ask(r#"{"event":"last","data":1}"#).await;
    assert!(answer.contains(r#""offset":1,"data":"kept""#), "{answer}");
}

/// Answers the server's close, for which the server waits.
async fn goes(mut client: Client) {
    client.closed().await;
    client.leave().await;
}

/// Users who were there when the server ended are reported gone by the next server, unless they
/// come back in time.
#[tokio::test]
async fn who_is_gone_for_good_is_told_also_by_the_next_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = || {
        let mut settings = settings();
        settings.store = Some(folder.path().into());
        let mut den = RoomPolicy::new("den".parse().expect("a pattern"));
        den.presence = PresencePolicy::Members;
        // Within it a server ends, and the next one starts and takes a client, on a busy machine.
        den.presence_grace = Duration::from_secs(10);
        settings.policies = Policies::new([den]).expect("policies");
        settings
    };
    let (told, mut gone) = mpsc::unbounded_channel();
    let porter = move |_: &Namespace| {
        let told = told.clone();
        Router::default()
            .on_upgrade(|request, ()| {
                let user = request.param("user").unwrap_or_default();
                Ok(Admission::new().with_user(&*user))
            })
            .on_absent(move |_, (), room, user| {
                // The receiver may have been dropped.
                let _ = told.send(format!("{user} out of {room}"));
            })
    };
    let build = {
        let porter = porter.clone();
        move |host: Host| host.gateway("default", porter)
    };
    let running = Running::with_settings(stored(), build.clone()).await;
    let (mut ann, mut ben) = (
        running.connect("/ws?user=ann").await,
        running.connect("/ws?user=ben").await,
    );
    for client in [&mut ann, &mut ben] {
        client.ask(r#"{"event":"$join","room":"den"}"#).await;
    }
    let page = running
        .server
        .presence("den", None, 9)
        .await
        .expect("shown");
    assert_eq!(page.users, 2);
    let (stopped, ..) = tokio::join!(running.stop(), goes(ann), goes(ben));
    stopped.expect("stopped");
    assert!(gone.try_recv().is_err(), "both may come back");

    let running = Running::with_settings(stored(), build).await;
    let mut ann = running.connect("/ws?user=ann").await;
    ann.ask(r#"{"event":"$join","room":"den"}"#).await;
    let first = timeout(PATIENCE, gone.recv()).await.expect("told");
    assert_eq!(first.as_deref(), Some("ben out of den"));
    assert!(gone.try_recv().is_err(), "ann is there");
    let page = running
        .server
        .presence("den", None, 9)
        .await
        .expect("shown");
    assert_eq!((page.users, page.conns), (1, 1));
}
