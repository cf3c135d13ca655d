//! A heartbeat: every 5 seconds everybody is told the time.

use std::time::Duration;

use roomcast_core::Router;

/// The application.
pub(crate) fn heartbeat() -> Router {
    Router::default().every(Duration::from_secs(5), |desk, ()| {
        let now = desk.unix_time().to_string();
        if let Err(fault) = desk.broadcast("heartbeat", &now) {
            desk.report("heartbeat", fault);
        }
    })
}
