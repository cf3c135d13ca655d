//! An application that only names users, from the query of the request.

use roomcast_core::{Router, gateway::Admission};

/// Returns the application, which leaves everything else to the rooms.
pub(crate) fn users() -> Router {
    Router::default().on_upgrade(|request, ()| {
        Ok(match request.param("user") {
            Some(user) => Admission::new().with_user(user),
            None => Admission::new(),
        })
    })
}
