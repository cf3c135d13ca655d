//! Reports of refusals, and of proxies, to the operator.

use std::sync::atomic::Ordering::Relaxed;

use roomcast_http::{Problem, Request};

use super::{Fields, Peer};
use crate::shard::Shard;

/// Counts a refusal and logs it at debug, and warns once a minute where a setting is the remedy.
/// Mistakes of clients and faults are not refusals.
pub(super) fn tell(shard: &Shard, peer: Peer, problem: &Problem, head: &Request<'_, Fields<'_>>) {
    let Some(reason) = problem.reason() else {
        return;
    };
    if let Problem::Token(refusal) = problem {
        return shard.egress.tell_token(refusal);
    }
    shard.metrics().count_refusal(reason);
    tracing::debug!(reason = reason.as_str(), peer = %peer.address, "refused");
    let mut notices = shard.shared.notices();
    let notice = if let Problem::NamedUser(error) = problem {
        notices.user_notice(*error, peer.address, shard.now())
    } else {
        notices.notice(reason, head, shard.now())
    };
    drop(notices);
    if let Some(notice) = notice {
        tracing::warn!("{notice}");
    }
}

/// Records that the server is behind a proxy, if the request shows it. Warns once if that turns off
/// an API without a key.
pub(super) fn look_for_proxy(shard: &Shard, head: &Request<'_, Fields<'_>>) {
    let shared = &shard.shared;
    if shared.proxied.load(Relaxed) {
        return;
    }
    let Some(sign) = head.proxy_sign() else {
        return;
    };
    if shared.proxied.swap(true, Relaxed) {
        return;
    }
    if shared.access().has_keyless_api() {
        tracing::warn!(
            "a proxy stands before this server ({sign:.64}): the HTTP API is off until it has a key, set \
             ROOMCAST_API_KEY (--api-key)"
        );
    }
}
