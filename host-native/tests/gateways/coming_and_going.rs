//! Many connections that open, talk and close, while another task interferes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use roomcast::{AskError, Audience, CloseCode, Context, Host, Namespace, Router};

use super::running::{Running, crowd, until};

const ROUNDS: usize = 20;
const AT_ONCE: usize = 16;

/// Counts the present clients by its hooks alone.
fn turnstile(here: &Arc<AtomicUsize>, work: &Arc<AtomicUsize>) -> Router {
    let (came, went, work) = (here.clone(), here.clone(), work.clone());
    Router::default()
        .on_connect(move |cx, ()| {
            came.fetch_add(1, SeqCst);
            let id = cx.id();
            cx.join("hall")?;
            cx.to(cx.room("hall").except_self()).emit("came", &id)?;
            Ok(())
        })
        .on_disconnect(move |cx, (), _| {
            went.fetch_sub(1, SeqCst);
            let id = cx.id();
            let told = cx.to(cx.room("hall")).emit("went", &id);
            told.expect("an id");
        })
        .on("stay", move |cx: &mut Context| {
            let guard = Arc::new(Guard::new(work.clone()));
            cx.spawn_concurrent(async move {
                std::future::pending::<()>().await;
                drop(guard);
            })
        })
        .on("say", |cx: &mut Context, text: String| {
            cx.to(cx.room("hall")).emit("said", &text).map(|_| ())
        })
}

/// Counts itself.
struct Guard(Arc<AtomicUsize>);

impl Guard {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Moves and removes any connected client.
async fn interfere(server: Namespace) -> Result<usize, AskError> {
    let mut removed = 0;
    for round in 0.. {
        let counts = server.counts().await;
        if counts == Err(AskError::NotRunning) {
            break;
        }
        for conn in server.connections().await.unwrap_or_default() {
            let id = conn.id;
            // The connection may have ended meanwhile.
            let _ = server.join(id, "yard").await;
            let _ = server.leave(id, "hall").await;
            if round % 3 == 0
                && server
                    .disconnect(id, CloseCode::REMOVED, "out")
                    .await
                    .is_ok()
            {
                removed += 1;
            }
        }
        let audience = Audience::rooms(["hall", "yard"]);
        match server.send(audience, "round", &round).await {
            Ok(_) | Err(AskError::NotRunning) => {}
            Err(fault) => return Err(fault),
        }
        tokio::task::yield_now().await;
    }
    Ok(removed)
}

async fn nothing_leaks(threads: usize) {
    let (here, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (here.clone(), work.clone());
    let running = Running::on_threads(threads, |host: Host| {
        host.gateway("default", move |_| turnstile(&counted.0, &counted.1))
    })
    .await;
    let interfering = tokio::spawn(interfere(running.server.clone()));
    for round in 0..ROUNDS {
        let mut clients = Vec::new();
        for _ in 0..AT_ONCE {
            clients.push(running.connect("/ws").await);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            // Some are removed meanwhile.
            client.try_send(r#"{"event":"stay","id":1}"#).await;
            client
                .try_send(&format!(r#"{{"event":"say","data":"{number}"}}"#))
                .await;
        }
        for (number, client) in clients.into_iter().enumerate() {
            if (number + round) % 2 == 0 {
                client.leave().await;
            } // else it closes abruptly
        }
    }
    crowd(&running.server, 0).await;
    let counts = running.server.counts().await.expect("running");
    assert_eq!((counts.rooms, counts.memberships), (0, 0));
    assert_eq!(here.load(SeqCst), 0);
    until(|| async { work.load(SeqCst) }, |&work| work == 0).await;
    running.stop().await.expect("ended in order");
    let removed = interfering.await.expect("no panic").expect("no mistakes");
    assert!(removed > 0, "nobody was there to be removed");
}

#[tokio::test]
async fn nothing_leaks_on_one_thread() {
    nothing_leaks(1).await;
}

#[tokio::test]
async fn nothing_leaks_on_three_threads() {
    nothing_leaks(3).await;
}
