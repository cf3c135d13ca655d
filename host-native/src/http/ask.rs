//! The backend that is asked about new connections.

use std::sync::Arc;

use roomcast_core::Handshake;
use roomcast_hooks::{HeaderName, Question};
use roomcast_http::Problem;

use super::Head;
use crate::{
    shard::Shard,
    shared::{ask::Asker, spans::TraceContext},
};

/// Identifies a client by the backend that is asked about connections, if there is one. For a
/// client with a valid token the backend is asked only if the settings require it, and it can only
/// shorten the token's time.
///
/// # Errors
///
/// When the backend refuses the client, or cannot be asked.
pub(super) async fn identify(
    shard: &Shard,
    request: &Head,
    namespace: &str,
    handshake: Handshake,
    by_token: bool,
) -> Result<Handshake, Problem> {
    let asked = |asker: &Arc<Asker>| asker.settings().asks_connect(by_token);
    let Some(asker) = shard.shared.ask.asker().filter(asked) else {
        return Ok(handshake);
    };
    let question = Question::Connect {
        namespace: namespace.into(),
        user: handshake.identity.user.as_deref().map(Into::into),
        headers: fields(request, &asker.settings().headers),
    };
    // The client is not identified yet, so its trace context is only linked.
    let link = TraceContext::of(request.headers());
    let verdict = asker.ask(&question, link).await;
    let identity = verdict.identity(&handshake.identity);
    let identity = identity.map_err(|it| Problem::Backend(asker.refused(it)))?;
    Ok(handshake.with_identity(identity).with_unidentified(false))
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
