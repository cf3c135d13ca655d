//! Rooms only, and users: who a client is stands in its address.

use roomcast_core::{Router, gateway::Admission};

/// The application. Of everything else it leaves the rooms as they are.
pub(crate) fn users() -> Router {
    Router::default().on_upgrade(|request, ()| {
        Ok(match request.param("user") {
            Some(user) => Admission::new().with_user(user),
            None => Admission::new(),
        })
    })
}
