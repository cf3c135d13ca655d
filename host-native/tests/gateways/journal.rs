//! A recorded server, played again.

use std::{path::Path, time::Duration};

use roomcast::{Audience, Context, Frame, Router};
use roomcast_core::{
    Command, ConnId, Outbox,
    journal::{Entry, Record, Replay},
};

use super::running::{Running, settings};

/// Everything that an application can do and a client sees.
fn busy() -> Router<u32> {
    Router::new(0)
        .on_connect(|cx, _| {
            cx.emit("hello", &cx.id())?;
            Ok(())
        })
        .on("add", |cx: &mut Context, sum: &mut u32, more: u32| {
            *sum += more;
            cx.join("adders").map(|_| *sum)
        })
        .on("slow", |cx: &mut Context, text: String| {
            cx.spawn(async move {
                tokio::task::yield_now().await;
                text
            })
        })
        .on_joined(|cx, sum, room| {
            cx.to(Audience::room(room))
                .emit("sum", sum)
                .expect("a number");
        })
        .every(Duration::from_millis(30), |namespace, sum| {
            namespace.broadcast("tick", sum).expect("a number");
        })
        .on_drain(|namespace, _| {
            namespace.broadcast("closing", &()).expect("null");
        })
}

/// The journal of the one run.
fn only_file(folder: &Path) -> String {
    let mut files = std::fs::read_dir(folder).expect("a folder");
    let file = files.next().expect("a file").expect("a name");
    assert!(files.next().is_none(), "more than one file");
    std::fs::read_to_string(file.path()).expect("a journal")
}

#[tokio::test]
async fn its_application_says_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings();
    settings.record = Some(folder.path().join("journal"));
    let path = settings.record.clone().expect("a path");
    let running =
        Running::with_settings(settings, |host| host.gateway("default", |_| busy())).await;

    let mut client = running.connect("/ws").await;
    let mut heard = vec![client.next().await];
    for message in [
        r#"{"event":"add","id":1,"data":2}"#,
        r#"{"event":"slow","id":2,"data":"a"}"#,
        r#"{"event":"add","id":3,"data":3}"#,
        r#"{"event":"$join","id":4,"room":"red"}"#,
        r#"{"event":"add","id":5,"data":"no number"}"#,
    ] {
        client.send(message).await;
    }
    running.server.broadcast("news", &[7]).await.expect("sent");
    let everybody = Audience::all();
    let own = running
        .server
        .send_frame(everybody, Frame::Text("of one's own"));
    own.await.expect("sent");
    while !heard.iter().any(|text| text.contains("tick")) {
        heard.push(client.next().await);
    }
    heard.extend(client.received().await);
    heard.push(r#"{"event":"$pong"}"#.into());
    let stopped = tokio::spawn(running.stop());
    heard.extend(client.closed().await.0);
    client.leave().await;
    stopped.await.expect("no panic").expect("ended in order");

    let id = heard[0]
        .strip_prefix(r#"{"event":"hello","data":""#)
        .expect("an id");
    let id: ConnId = id.trim_end_matches("\"}").parse().expect("an id");
    let journal = only_file(&path);
    let (mut replay, mut replayed) = (Replay::with_gateways(|_| busy()), Vec::new());
    for line in journal.lines() {
        let mut out = Outbox::new();
        let entry = Entry::parse(line).expect("an entry");
        replay.apply(&entry, &mut out).expect("an opened namespace");
        for command in &out {
            if let Command::Send { to, frame, .. } = command
                && to.contains(&id)
            {
                replayed.push(String::from_utf8(frame.as_bytes().to_vec()).expect("text"));
            }
        }
    }
    assert_eq!(replayed, heard);
    for event in [
        "slow",
        "sum",
        "news",
        "tick",
        "closing",
        "bad_payload",
        "own",
    ] {
        assert!(
            heard.iter().any(|text| text.contains(event)),
            "{event}: {heard:?}"
        );
    }
}

/// The marker lets `roomcast replay` refuse a journal that it cannot replay.
#[tokio::test]
async fn it_says_which_namespaces_have_an_application() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = settings();
    settings.record = Some(folder.path().join("journal"));
    let path = settings.record.clone().expect("a path");
    let running = Running::with_settings(settings, |host| {
        host.gateway("busy", |_| busy())
            .gateway("raw", |_| Router::default().on_frame(|_, (), _| ()))
    })
    .await;
    running.connect("/ws").await.leave().await;
    running.stop().await.expect("ended in order");

    let journal = only_file(&path);
    let mut opened = Vec::new();
    for line in journal.lines() {
        let entry = Entry::parse(line).expect("an entry");
        if let Record::Open(opening) = entry.record {
            let (name, raw) = (entry.namespace.into_owned(), opening.config.raw);
            opened.push((name, opening.application, raw));
        }
    }
    opened.sort();
    let expected = [
        ("busy", true, false),
        ("default", false, false),
        ("raw", true, true),
    ];
    let expected = expected.map(|(name, application, raw)| (name.to_owned(), application, raw));
    assert_eq!(opened, expected);
}
