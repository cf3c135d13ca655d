//! A heartbeat every 5 seconds, at `ws://127.0.0.1:3005/ws`, until Ctrl-C.

#[path = "../../core/examples/gateways/heartbeat.rs"]
mod heartbeat;

use roomcast::{Host, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().log_internal_errors(false).init();
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 3005).into();
    let listeners = roomcast::listen(&settings)?;
    let host = Host::new(settings).gateway("default", |_| heartbeat::heartbeat());
    let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    Ok(host.run(listeners, ctrl_c).await?)
}
