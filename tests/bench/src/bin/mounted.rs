//! Roomcast as a service among the routes of an axum application, on the settings that the server
//! alone is measured with.

use std::future::pending;

use roomcast::{Host, Settings};
use roomcast_bench::{allow_many_files, listener};

fn main() {
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("the runtime starts").block_on(serve());
}

async fn serve() {
    let mut settings = Settings::default();
    // One connection publishes for a thousand.
    (settings.hub.inbound_messages, settings.hub.inbound_bytes) = (None, None);
    let host = Host::new(settings);
    let app = axum::Router::new().merge(roomcast::axum::router(&host));
    tokio::spawn(host.run_service(pending()));
    let listener = tokio::net::TcpListener::from_std(listener()).expect("it is non-blocking");
    axum::serve(listener, app)
        .await
        .expect("axum serves until it is ended");
}
