//! Notices at `ws://127.0.0.1:3005/ws`, pushed by an HTTP route and by a task of the program, until
//! Ctrl-C:
//!
//!     curl -d 'late' http://127.0.0.1:3006/topics/trains
//!
//! Orders are at `/ws/orders`, and their followers connect to `/ws/notify`.

#[path = "../../core/examples/gateways/notify.rs"]
mod notify;
#[path = "../../core/examples/gateways/orders.rs"]
mod orders;

use std::{error::Error, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::post};
use notify::{EVENT, Notice, followers, person};
use roomcast::{Host, Namespace, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().log_internal_errors(false).init();
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 3005).into();
    let listeners = roomcast::listen(&settings)?;
    let host = Host::new(settings)
        .gateway("default", |_| notify::notify())
        .gateway("notify", |_| notify::notify())
        .gateway("orders", orders::orders);

    let (route, task) = (host.namespace("default"), host.namespace("default"));
    let push = |Path(topic): Path<String>, text: String| async move {
        let sent = route.send(followers(&topic), EVENT, &Notice { text }).await;
        let sent = sent.map_err(|fault| (StatusCode::SERVICE_UNAVAILABLE, fault.to_string()))?;
        Ok::<_, (StatusCode, String)>(format!("sent to {}\n", sent.queued))
    };
    let routes = Router::new().route("/topics/{topic}", post(push));
    let http = tokio::net::TcpListener::bind(("127.0.0.1", 3006)).await?;
    let http = tokio::spawn(axum::serve(http, routes).into_future());
    let reminder = tokio::spawn(remind(task));

    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let ended = host.run(listeners, ctrl_c).await;
    http.abort();
    reminder.abort();
    Ok(ended?)
}

/// Reminds ann, on all of her connections, every few seconds.
async fn remind(server: Namespace) {
    let mut pauses = tokio::time::interval(Duration::from_secs(3));
    // The first tick completes at once, when the server may not run yet.
    pauses.tick().await;
    let text = "take a break".to_owned();
    let notice = Notice { text };
    loop {
        pauses.tick().await;
        if let Err(fault) = server.send(person("ann"), EVENT, &notice).await {
            tracing::warn!(%fault, "not reminded");
        }
    }
}
