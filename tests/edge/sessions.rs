//! Clients whose sessions are in a KV namespace.

use roomcast_core::{Context, Failure, Rejection, Router, gateway::Admission, later};
use roomcast_worker::env;

/// The name of the binding.
const SESSIONS: &str = "SESSIONS";

/// The application: a client with the cookie `sid` is the user of that session, and nobody without
/// it. `sign_in` begins a session.
pub(crate) fn sessions() -> Router {
    Router::default()
        .on_upgrade(|request, ()| {
            let session = request.cookie("sid").map(str::to_owned);
            later(async move {
                let Some(session) = session else {
                    return Ok(Admission::new());
                };
                let user = env().kv(SESSIONS)?.get(&session).text().await?;
                let user = user.ok_or(Rejection::unauthorized("sign in first"))?;
                Ok(Admission::new().with_user(user))
            })
        })
        .on(
            "sign_in",
            |_: &mut Context, (session, user): (String, String)| async move {
                let signed_in = env().kv(SESSIONS)?.put(&session, user)?;
                signed_in.execute().await?;
                Ok::<_, Failure>(())
            },
        )
        .on("user", |cx: &mut Context| cx.user().map(str::to_owned))
}
