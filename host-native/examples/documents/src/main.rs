//! Documents at <http://127.0.0.1:3000>, until Ctrl-C, stored in the database at `DATABASE_URL`.
//!
//!     cd host-native/examples/documents
//!     cargo run
//!
//! The page signs you in and creates a document. Share it with somebody, and open its address in a
//! private window. Without the page:
//!
//!     json='content-type: application/json' url=http://127.0.0.1:3000
//!     curl -c jar -H "$json" -d '{"user":"ann"}' $url/sign-in
//!     curl -b jar -H "$json" -d '{"title":"Plan"}' $url/documents

use std::{env, error::Error, net::SocketAddr};

use tokio::{net::TcpListener, signal::ctrl_c};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite:documents.db?mode=rwc".into());
    let database = documents::connect(&url).await?;
    let (app, host) = documents::application(database);

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    // One signal for both: the rooms close while axum still serves. The first error ends both.
    let stop = || async { ctrl_c().await.unwrap_or_default() };
    let rooms = host.run_service(stop());
    let served = axum::serve(listener, app).with_graceful_shutdown(stop());
    tokio::try_join!(async { Ok(rooms.await?) }, async { Ok(served.await?) }).map(drop)
}
