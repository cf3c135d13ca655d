//! The end of an application with the server in it, and a client that comes back.

use std::time::Duration;

use roomcast::{Audience, Host, PresencePolicy, RoomPolicy, Settings};
use roomcast_core::{Policies, policy::HistoryPolicy};
use tokio::runtime::Builder;
use tower_service::Service as _;

use super::around::Around;
use crate::{
    crowd::Client,
    peer::{Peer, Said},
};

fn settings() -> Settings {
    let mut settings = Settings::default();
    let mut policy = RoomPolicy::new("chat:*".parse().expect("a pattern"));
    policy.history = Some(HistoryPolicy::default());
    policy.presence = PresencePolicy::Members;
    settings.policies = Policies::new([policy]).expect("policies");
    settings
}

#[test]
fn a_client_that_was_away_recovers() {
    let around = Around::start(settings());
    let base = format!("{}/live", around.authority());
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut ann = Client::connect(&base).await;
        let joined = ann.join("chat:a", None).await;
        let was = ann.conn.clone();
        drop(ann);
        for number in 0..3 {
            let audience = Audience::room("chat:a");
            let sent = around.server.send(audience, "n", &number).await;
            sent.expect("it runs");
        }
        let mut ann = Client::connect(&base).await;
        let back = ann.join("chat:a", Some((&joined.position, &was))).await;
        assert_eq!((back.recovered, back.missed), (Some(true), 3));
        for number in 0..3 {
            assert_eq!(ann.next().await.expect("a message")["data"], number);
        }
    });
}

#[test]
fn a_graceful_shutdown_is_one_for_both() {
    let mut settings = settings();
    settings.drain_window = Duration::from_millis(200);
    let around = Around::start(settings);
    let authority = around.authority().to_string();
    let mut peers: Vec<Peer> = (0..3)
        .map(|_| {
            let mut peer = Peer::silent(&authority);
            let head = peer.ask(&authority, "/live/ws", "");
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            assert!(matches!(peer.next(), Said::Text(_)), "a welcome");
            peer
        })
        .collect();
    around.stop();
    for peer in &mut peers {
        let said = peer.rest();
        let [Said::Text(bye), Said::Close(1001)] = &said[..] else {
            panic!("{said:?}");
        };
        assert!(bye.contains(r#""$bye""#), "{bye}");
        peer.write(&crate::peer::close(1001));
        assert_eq!(peer.next(), Said::End);
    }
    drop(around); // both have ended without a fault
}

#[test]
fn a_service_says_that_no_server_runs() {
    let host = Host::new(Settings::default());
    let mut service = host.service();
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut ask = || {
            let request = hyper::Request::get("http://here.example/healthz")
                .body(http_body_util::Empty::new());
            service.call(request.expect("a request"))
        };
        assert_eq!(ask().await.expect("an answer").status(), 503);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(host.run_service(async { drop(stopped.await) }));
        // Whoever asks before the threads have begun, waits for them.
        let answered = loop {
            let answer = ask().await.expect("an answer");
            if answer.status() != 503 {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(answered.status(), 200);
        drop(stop);
        running.await.expect("no panic").expect("it ran");
        assert_eq!(ask().await.expect("an answer").status(), 503);
    });
}
