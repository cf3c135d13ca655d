//! The hook before the server ends.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use roomcast::Router;

use super::running::{Running, listen_to_log, logged};

async fn everybody_is_told_before_the_close(threads: usize) {
    let drains = Arc::new(AtomicUsize::new(0));
    let counted = drains.clone();
    let running = Running::on_threads(threads, move |host| {
        let mut host = host;
        for name in ["default", "a", "b", "empty"] {
            let drains = counted.clone();
            host = host.gateway(name, move |_| {
                let drains = drains.clone();
                Router::default().on_drain(move |namespace, ()| {
                    drains.fetch_add(1, SeqCst);
                    namespace.broadcast("closing", "soon").expect("a text");
                })
            });
        }
        host
    })
    .await;
    let mut clients = Vec::new();
    for path in ["/ws", "/ws/a", "/ws/b", "/ws", "/ws/plain"] {
        let mut client = running.connect(path).await;
        assert!(client.received().await.is_empty());
        clients.push((path, client));
    }
    let stopped = tokio::spawn(running.stop());
    for (path, mut client) in clients {
        let (texts, code, _) = client.closed().await;
        assert_eq!(code, 1001);
        let (bye, before) = texts.split_last().expect("a goodbye");
        assert!(
            bye.starts_with(r#"{"event":"$bye","data":{"code":1001"#),
            "{bye}"
        );
        let told = [r#"{"event":"closing","data":"soon"}"#];
        let told = if path == "/ws/plain" { &[][..] } else { &told };
        assert_eq!(before, told, "{path}");
        client.leave().await;
    }
    stopped.await.expect("no panic").expect("ended in order");
    // Each ran once, even in namespaces without connections.
    assert_eq!(drains.load(SeqCst), 4);
}

#[tokio::test]
async fn everybody_is_told_before_the_close_on_one_thread() {
    everybody_is_told_before_the_close(1).await;
}

#[tokio::test]
async fn everybody_is_told_before_the_close_on_two_threads() {
    everybody_is_told_before_the_close(2).await;
}

#[tokio::test]
async fn a_panic_in_it_keeps_nobody_from_being_closed() {
    listen_to_log();
    let running = Running::start(|host| {
        host.gateway("drained", |_| {
            Router::default().on_drain(|_, ()| panic!("planted in drain"))
        })
    })
    .await;
    let mut client = running.connect("/ws/drained").await;
    assert!(client.received().await.is_empty());
    let stopped = tokio::spawn(running.stop());
    assert_eq!(client.closed().await.1, 1001);
    client.leave().await;
    stopped.await.expect("no panic").expect("ended in order");
    logged(&[
        "ERROR",
        r#"namespace="drained" event="drain""#,
        "planted in drain",
    ])
    .await;
}
