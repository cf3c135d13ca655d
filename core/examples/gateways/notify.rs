//! Notices for people and for topics. Clients say who they are and what they follow; the notices
//! come from elsewhere: an HTTP route, a queue, another task. They go by the host's `Namespace` to
//! the audiences named here.

use roomcast_core::{Audience, Context, Failure, Router, gateway::Admission};
use serde::Serialize;

/// The event of a notice.
pub(crate) const EVENT: &str = "notice";

/// A notice as a client receives it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Notice {
    pub(crate) text: String,
}

/// The application. `/ws?user=ann` is a connection of ann; one who must be sure of it looks at a
/// cookie or a token there.
pub(crate) fn notify() -> Router {
    Router::default()
        .on_upgrade(|request, ()| {
            let admission = Admission::new();
            Ok(match request.param("user") {
                Some(user) => admission.with_user(user),
                None => admission,
            })
        })
        // Only the application sends notices: what a client publishes would look like one.
        .guard_rooms(|_, _, _, _| Err(Failure::forbidden("send follow or unfollow")))
        .on("follow", |cx: &mut Context, topic: String| {
            cx.join(&topic).map(|_| topic)
        })
        .on("unfollow", |cx: &mut Context, topic: String| {
            cx.leave(&topic).then_some(topic)
        })
}

/// Everybody who follows a topic.
pub(crate) fn followers(topic: &str) -> Audience {
    Audience::room(topic)
}

/// Somebody, in every tab that is open.
pub(crate) fn person(user: &str) -> Audience {
    Audience::user(user)
}
