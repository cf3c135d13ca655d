//! Documents at `http://127.0.0.1:3000`, until Ctrl-C. `DATABASE_URL` is where they are kept.
//!
//!     curl -c jar -H 'content-type: application/json' -d '{"user":"ann"}' :3000/sign-in
//!     curl -b jar -H 'content-type: application/json' -d '{"title":"Plan"}' :3000/documents
//!
//! Then `ws://127.0.0.1:3000/live/ws?document=ID` with the cookie, and there the room `document:ID`.

use std::{env, error::Error, net::SocketAddr};

use tokio::{net::TcpListener, signal::ctrl_c};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite:documents.db?mode=rwc".into());
    let database = documents::connect(&url).await?;
    let (app, host) = documents::application(database);

    // One signal for both: the rooms end while axum still answers.
    let stop = || async { ctrl_c().await.unwrap_or_default() };
    let rooms = tokio::spawn(host.run_service(stop()));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(stop())
        .await?;
    Ok(rooms.await??)
}
