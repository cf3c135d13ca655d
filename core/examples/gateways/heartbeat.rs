//! A heartbeat: every 5 seconds everybody is told the time.

use std::time::Duration;

use roomcast_core::Router;

/// The application.
pub(crate) fn heartbeat() -> Router {
    Router::default().every(Duration::from_secs(5), |namespace, ()| {
        let now = namespace.unix_time().to_string();
        if let Err(fault) = namespace.broadcast("heartbeat", &now) {
            namespace.report("heartbeat", fault);
        }
    })
}
