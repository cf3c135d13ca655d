//! The chat at `ws://127.0.0.1:3005/ws`, until Ctrl-C. The server itself takes part: an HTTP route
//! makes announcements, and a task sends messages from a queue.
//!
//!     curl -d 'at ten' http://127.0.0.1:3006/announce
//!     curl -d 'hello' http://127.0.0.1:3006/message

#[path = "../../core/examples/gateways/chat.rs"]
mod chat;

use std::time::SystemTime;

use axum::{Router, extract::State, routing::post};
use chat::{Line, Message};
use roomcast::{Host, Namespace, Settings, UnixTime};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().log_internal_errors(false).init();
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 3005).into();
    let listeners = roomcast::listen(&settings)?;
    let host = Host::new(settings).gateway("default", |_| chat::chat());

    let (queue, messages) = mpsc::channel(100);
    let task = tokio::spawn(say(host.namespace("default"), messages));
    let routes = Router::new()
        .route("/announce", post(announce))
        .with_state(host.namespace("default"))
        .merge(
            Router::new()
                .route("/message", post(enqueue))
                .with_state(queue),
        );
    let http = tokio::net::TcpListener::bind(("127.0.0.1", 3006)).await?;
    let http = tokio::spawn(axum::serve(http, routes).into_future());

    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let ended = host.run(listeners, ctrl_c).await;
    http.abort();
    task.abort();
    Ok(ended?)
}

/// A route that sends an announcement to all connections.
async fn announce(State(server): State<Namespace>, text: String) -> String {
    match server.broadcast("announce", &text).await {
        Ok(sent) => format!("sent to {}\n", sent.queued),
        Err(fault) => format!("not sent: {fault}\n"),
    }
}

async fn enqueue(State(queue): State<mpsc::Sender<String>>, text: String) -> &'static str {
    match queue.try_send(text) {
        Ok(()) => "queued\n",
        Err(_) => "the queue is full\n",
    }
}

/// A task that sends each queued message to all connections, like a message from a client.
async fn say(server: Namespace, mut messages: mpsc::Receiver<String>) {
    while let Some(text) = messages.recv().await {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default();
        let at = UnixTime::from_millis(now).to_string();
        let author = "server".to_owned();
        let line = Line { author, text };
        let message = Message { line, at };
        if let Err(fault) = server.broadcast("message", &message).await {
            tracing::warn!(%fault, "not sent");
        }
    }
}
