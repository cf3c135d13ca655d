//! The backend that is asked who wants to connect.

use roomcast_core::{Handshake, Identity};
use roomcast_hooks::{HeaderName, Question, Verdict};
use roomcast_http::Problem;

use super::Head;
use crate::{
    shard::Shard,
    shared::{ask::Asker, spans::TraceContext},
};

/// The identity of a client by the backend that is asked for connections, if there is one. With a
/// valid token the backend is asked only where the settings say so, and can but shorten the time.
///
/// # Errors
///
/// When the backend does not let the client in, or cannot be asked.
pub(super) async fn identify(
    shard: &Shard,
    request: &Head,
    namespace: &str,
    handshake: Handshake,
    by_token: bool,
) -> Result<Handshake, Problem> {
    let asked = |asker: &std::sync::Arc<Asker>| {
        let settings = asker.settings();
        settings.on.connect && (!by_token || settings.with_token)
    };
    let Some(asker) = shard.shared.ask.asker().filter(asked) else {
        return Ok(handshake);
    };
    let user = handshake.identity.user.clone();
    let question = Question::Connect {
        namespace: namespace.into(),
        user: user.as_deref().map(Into::into),
        headers: fields(request, &asker.settings().headers),
    };
    let answer = match asker
        .ask(&question, TraceContext::of(request.headers()))
        .await
    {
        Verdict::Allowed(answer) => answer,
        refused @ (Verdict::Unauthorized(_)
        | Verdict::Forbidden(_)
        | Verdict::Unavailable
        | Verdict::Overloaded(_)) => return Err(Problem::Backend(refused)),
    };
    let identity = answer.identity(user.as_deref()).map_err(|fault| {
        asker.warn(&fault);
        Problem::Backend(Verdict::Unavailable)
    })?;
    let identity = within(identity, &handshake.identity);
    Ok(handshake.with_identity(identity).with_unidentified(false))
}

/// An identity that ends with the one before it.
fn within(mut identity: Identity, before: &Identity) -> Identity {
    let deadlines = [identity.deadline, before.deadline];
    identity.deadline = deadlines.into_iter().flatten().min();
    identity.issued_s = match (before.issued_s, identity.issued_s) {
        (Some(before), Some(after)) => Some(before.min(after)),
        (before, after) => before.or(after),
    };
    identity
}

/// The header fields with these names, as text.
fn fields(request: &Head, names: &[HeaderName]) -> Vec<(String, String)> {
    let all = names.iter().flat_map(|name| {
        let values = request.headers().get_all(name.as_str()).iter();
        values.map(|value| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        })
    });
    all.collect()
}
