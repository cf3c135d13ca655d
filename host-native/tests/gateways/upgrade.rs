//! The hook before a WebSocket opens.

use roomcast::{Admission, CloseCode, Context, Rejection, Router};

use super::running::{Running, listen_to_log, logged};

fn members_only() -> Router {
    Router::default()
        .guard_upgrade(|request, _| match request.param("blocked") {
            Some(_) => Err(Rejection::overloaded("come back later")),
            None => Ok(()),
        })
        .on_upgrade(|request, _| {
            if request.param("pay").is_some() {
                return Err(Rejection::forbidden("pay first")
                    .with_status(402)
                    .with_close_code(CloseCode::new(4402).expect("a code")));
            }
            if request.param("broken").is_some() {
                let _: u8 = "many".parse()?;
            }
            let user = request.cookie("user").or(request.header("x-user"));
            let user = user.ok_or(Rejection::unauthorized("say who you are"))?;
            let mut admission = Admission::new().with_user(user);
            if let Some(peer) = request.peer {
                admission = admission.with_session(&(peer.to_string(), request.path))?;
            }
            match request
                .subprotocols()
                .find(|item| item.starts_with("chat."))
            {
                Some(chosen) => Ok(admission.with_subprotocol(chosen)),
                None => Ok(admission),
            }
        })
        .on("me", |cx: &mut Context| {
            let session = cx.session::<(String, String)>()?;
            Ok::<_, roomcast::Failure>((cx.user().map(str::to_owned), session))
        })
}

async fn start() -> Running {
    Running::start(|host| host.gateway("default", |_| members_only())).await
}

#[tokio::test]
async fn it_says_who_connects_by_cookie_or_header() {
    let running = start().await;
    for headers in [("cookie", "theme=dark; user=\"ann\""), ("x-user", "ann")] {
        let mut client = running
            .try_connect("/ws", &[headers])
            .await
            .expect("admitted");
        assert_eq!(client.subprotocol, None);
        assert_eq!(
            client.ask(r#"{"event":"me"}"#).await,
            r#"{"event":"me","data":["ann",["127.0.0.1","/ws"]]}"#
        );
    }
    let connections = running.server.connections().await.expect("running");
    assert!(
        connections
            .iter()
            .all(|conn| conn.user.as_deref() == Some("ann"))
    );
}

#[tokio::test]
async fn it_selects_a_subprotocol() {
    let running = start().await;
    let user = ("x-user", "ann");
    let offer = |list| [user, ("sec-websocket-protocol", list)];
    let client = running
        .try_connect("/ws", &offer("other, chat.2, chat.1"))
        .await;
    assert_eq!(
        client.expect("admitted").subprotocol.as_deref(),
        Some("chat.2")
    );

    // Roomcast's subprotocol has a greeting, whether the application chose it or left the choice
    // open.
    let echo = || {
        Router::default().on_upgrade(|request, ()| {
            let first = request.subprotocols().next().unwrap_or_default();
            Ok(Admission::new().with_user("ann").with_subprotocol(first))
        })
    };
    let wished = Running::start(|host| host.gateway("default", move |_| echo()));
    for running in [&running, &wished.await] {
        let client = running
            .try_connect("/ws", &offer("roomcast.v1, other"))
            .await;
        let mut client = client.expect("admitted");
        assert_eq!(client.subprotocol.as_deref(), Some("roomcast.v1"));
        let welcome = client.next().await;
        assert!(
            welcome.starts_with(r#"{"event":"$welcome","data":{"conn":""#),
            "{welcome}"
        );
        assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
    }

    let client = running
        .try_connect("/ws", &offer("roomcast.v1, chat.1"))
        .await;
    let mut client = client.expect("admitted");
    assert_eq!(client.subprotocol.as_deref(), Some("chat.1"));
    let first = client.ask(r#"{"event":"me","id":1}"#).await;
    assert!(first.starts_with(r#"{"event":"me","id":1"#), "{first}");
}

#[tokio::test]
async fn it_refuses_with_an_http_status() {
    let running = start().await;
    for (query, status, code, detail) in [
        ("", 401, "unauthorized", "say who you are"),
        ("?pay", 402, "forbidden", "pay first"),
        ("?blocked", 503, "overloaded", "come back later"),
    ] {
        let refused = running.try_connect(&format!("/ws{query}"), &[]).await.err();
        let refused = refused.expect("refused");
        assert_eq!(refused.status, status);
        let body = format!(
            r#"{{"type":"about:blank","status":{status},"detail":"{detail}","code":"{code}"}}"#
        );
        assert_eq!(refused.body, body);
    }
    let counts = running.server.counts().await.expect("running");
    assert_eq!(counts.connections, 0);
}

#[tokio::test]
async fn it_refuses_through_the_socket_for_whoever_asks() {
    let running = start().await;
    for (query, code, close) in [("", "unauthorized", 4401), ("&pay", "forbidden", 4402)] {
        let mut client = running.connect(&format!("/ws?refuse=close{query}")).await;
        let (texts, closed, reason) = client.closed().await;
        assert_eq!(closed, close);
        let frame =
            format!(r#"{{"event":"$error","error":{{"code":"{code}","message":"{reason}"}}}}"#);
        assert_eq!(texts, [frame]);
    }
}

#[tokio::test]
async fn what_fails_in_it_is_opaque_outside_and_whole_in_the_log() {
    listen_to_log();
    let running = Running::start(|host| host.gateway("brittle", |_| members_only())).await;
    let refused = running.try_connect("/ws/brittle?broken", &[]).await.err();
    let refused = refused.expect("refused");
    assert_eq!(refused.status, 500);
    assert!(!refused.body.contains("digit"), "{}", refused.body);
    logged(&[
        "ERROR",
        r#"namespace="brittle""#,
        r#"event="upgrade""#,
        "invalid digit",
    ])
    .await;
}

/// The hook runs on the namespace's thread, whichever thread owns the socket.
#[tokio::test]
async fn it_is_asked_on_the_thread_of_its_namespace() {
    let running = Running::on_threads(2, |host| host.gateway("a", |_| members_only())).await;
    for _ in 0..8 {
        let user = ("cookie", "user=ben");
        let mut client = running
            .try_connect("/ws/a", &[user])
            .await
            .expect("admitted");
        let me = client.ask(r#"{"event":"me"}"#).await;
        assert_eq!(me, r#"{"event":"me","data":["ben",["127.0.0.1","/ws/a"]]}"#);
        let refused = running.try_connect("/ws/a", &[]).await.err();
        assert_eq!(refused.map(|refused| refused.status), Some(401));
    }
}
