//! Handlers that begin work.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use roomcast::{Audience, Context, Failure, Namespace, Router};
use tokio::sync::Semaphore;

use super::running::{Running, crowd, until};

/// Work that the test resumes, and that reports when it is dropped.
#[derive(Clone)]
struct Shop {
    door: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    gone: Arc<AtomicUsize>,
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Shop {
    fn new() -> Self {
        Self {
            door: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
            gone: Arc::default(),
        }
    }

    /// Takes one turn through the door.
    fn wait(&self) -> impl Future<Output = Result<(), Failure>> + 'static {
        let (door, gone) = (self.door.clone(), Gone(self.gone.clone()));
        self.begun.fetch_add(1, SeqCst);
        async move {
            let _gone = gone;
            door.acquire().await?.forget();
            Ok(())
        }
    }

    fn open(&self, server: &Namespace) -> Router {
        let (serial, concurrent, server) = (self.clone(), self.clone(), server.clone());
        Router::default()
            .on("buy", move |cx: &mut Context, what: String| {
                let wait = serial.wait();
                cx.spawn(async move {
                    wait.await?;
                    Ok::<_, Failure>(what)
                })
            })
            .on("look", move |cx: &mut Context, what: String| {
                let wait = concurrent.wait();
                cx.spawn_concurrent(async move {
                    wait.await?;
                    Ok::<_, Failure>(what)
                })
            })
            .on("never", |cx: &mut Context| {
                cx.spawn(std::future::pending::<u32>())
            })
            .on("say", |_: &mut Context, text: String| text)
            .on("all", move |cx: &mut Context, room: String| {
                let (server, conn) = (server.clone(), cx.id());
                cx.spawn(async move {
                    server.join(conn, &room).await?;
                    let sent = server.send(Audience::room(&*room), "told", &room).await?;
                    Ok::<_, Failure>(sent.queued)
                })
            })
    }
}

async fn start(threads: usize) -> (Running, Shop) {
    let shop = Shop::new();
    let opened = shop.clone();
    let build = |host: roomcast::Host| host.gateway("default", move |server| opened.open(server));
    (Running::on_threads(threads, build).await, shop)
}

async fn begun(shop: &Shop, count: usize) {
    until(
        || async { shop.begun.load(SeqCst) },
        |&begun| begun >= count,
    )
    .await;
}

fn asks(event: &str, id: usize) -> String {
    format!(r#"{{"event":"{event}","id":{id},"data":"{id}"}}"#)
}

#[tokio::test]
async fn serial_work_keeps_the_order_of_a_connection() {
    for threads in [1, 2] {
        let (running, shop) = start(threads).await;
        let mut ann = running.connect("/ws").await;
        for id in 0..3 {
            ann.send(&asks("buy", 2 * id)).await;
            ann.send(&asks("say", 2 * id + 1)).await;
        }
        begun(&shop, 1).await;
        // Others, and liveness, go on.
        let mut ben = running.connect("/ws").await;
        assert_eq!(ben.ask(&asks("say", 7)).await, asks("say", 7));
        assert!(ann.received().await.is_empty());
        assert_eq!(shop.begun.load(SeqCst), 1);
        shop.door.add_permits(3);
        for id in 0..3 {
            assert_eq!(ann.next().await, asks("buy", 2 * id));
            assert_eq!(ann.next().await, asks("say", 2 * id + 1));
        }
    }
}

#[tokio::test]
async fn concurrent_work_lets_others_pass() {
    let (running, shop) = start(1).await;
    let mut client = running.connect("/ws").await;
    for id in 0..3 {
        client.send(&asks("look", id)).await;
    }
    assert_eq!(client.ask(&asks("say", 9)).await, asks("say", 9));
    assert_eq!(shop.begun.load(SeqCst), 3);
    shop.door.add_permits(3);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.next().await);
    }
    answers.sort();
    assert_eq!(answers, [asks("look", 0), asks("look", 1), asks("look", 2)]);
}

#[tokio::test]
async fn it_is_dropped_with_its_connection() {
    for threads in [1, 2] {
        let (running, shop) = start(threads).await;
        let mut client = running.connect("/ws").await;
        client.send(&asks("look", 1)).await;
        client.send(&asks("look", 2)).await;
        client.send(&asks("buy", 3)).await;
        begun(&shop, 3).await;
        assert_eq!(shop.gone.load(SeqCst), 0);
        client.leave().await;
        until(|| async { shop.gone.load(SeqCst) }, |&gone| gone == 3).await;
        crowd(&running.server, 0).await;
    }
}

#[tokio::test]
async fn what_never_answers_holds_up_its_own_connection_alone() {
    let (running, _) = start(1).await;
    let mut stuck = running.connect("/ws").await;
    stuck.send(r#"{"event":"never","id":1}"#).await;
    stuck.send(&asks("say", 2)).await;
    assert!(stuck.received().await.is_empty());
    let mut other = running.connect("/ws").await;
    assert_eq!(other.ask(&asks("say", 3)).await, asks("say", 3));
    // Pushes still reach it; excess messages are refused and not kept.
    running.server.broadcast("news", &()).await.expect("sent");
    assert_eq!(stuck.next().await, r#"{"event":"news","data":null}"#);
    for id in 0..64 {
        stuck.send(&asks("say", id)).await;
    }
    let refused = stuck.next().await;
    assert!(refused.contains(r#""code":"overloaded""#), "{refused}");
    stuck.leave().await;
    crowd(&running.server, 1).await;
}

#[tokio::test]
async fn it_may_use_the_handle_of_its_own_namespace() {
    for threads in [1, 2] {
        let (running, _) = start(threads).await;
        let mut client = running.connect("/ws").await;
        client.send(r#"{"event":"all","id":1,"data":"red"}"#).await;
        assert_eq!(
            client.next().await,
            r#"{"event":"told","room":"red","data":"red"}"#
        );
        assert_eq!(client.next().await, r#"{"event":"all","id":1,"data":1}"#);
        client.send(r#"{"event":"all","id":2,"data":""}"#).await;
        let failed = client.next().await;
        assert!(
            failed.starts_with(r#"{"event":"all","id":2,"error":{"code":"#),
            "{failed}"
        );
    }
}

#[tokio::test]
async fn the_server_ends_while_work_is_under_way() {
    let (running, shop) = start(2).await;
    let mut client = running.connect("/ws").await;
    client.send(&asks("buy", 1)).await;
    begun(&shop, 1).await;
    let stopped = tokio::spawn(running.stop());
    assert_eq!(client.closed().await.1, 1001);
    client.leave().await;
    stopped.await.expect("no panic").expect("ended in order");
    assert_eq!(shop.gone.load(SeqCst), 1);
}
