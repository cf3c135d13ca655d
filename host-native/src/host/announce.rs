//! The start-up lines of the log.

use std::{
    net,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::shared::Shared;

/// A namespace that started with the server, and the events that its gateway handles.
pub(super) type Mounted = (Arc<str>, Vec<String>);

/// Logs the start-up lines: the mounted paths and their protection.
pub(super) fn announce(
    shared: &Shared,
    addresses: &[net::SocketAddr],
    admin: Option<net::SocketAddr>,
    mut mounted: Vec<Mounted>,
) {
    let connections_max = shared.connections.max();
    let settings = &shared.settings;
    let api = match settings.access.api_keys.len() {
        0 if !addresses.is_empty()
            && settings.access.has_keyless_api()
            && !shared.proxied.load(Relaxed) =>
        {
            "loopback only: no --api-key".to_owned()
        }
        0 => "off: no --api-key".to_owned(),
        1 => "one key".to_owned(),
        keys => format!("{keys} keys"),
    };
    let namespaces = settings
        .access
        .namespaces
        .as_ref()
        .map_or_else(|| "any".to_owned(), |names| names.join(","));
    let mut policies = settings.policies.iter();
    let histories = match &settings.store {
        _ if policies.all(|policy| policy.history.is_none()) => {
            "none: no policy of --config asks for one".to_owned()
        }
        _ if settings.relay.is_some() => "with the relay".to_owned(),
        None => "in memory: no --store".to_owned(),
        Some(folder) => format!("in {}", folder.display()),
    };
    let on = |is_on: bool, text: &'static str| if is_on { text } else { "" };
    let is_whole = admin.is_none();
    let has_page = is_whole && !(addresses.is_empty() && settings.access.api_keys.is_empty());
    let page = on(settings.access.page, "GET / (try it), ");
    let metrics = on(settings.access.metrics, ", /metrics");
    match (addresses.first(), &shared.tls) {
        (None, _) => tracing::info!("serving behind the server of this program"),
        (Some(address), None) => tracing::info!("listening on http://{address}"),
        (Some(address), Some(_)) => {
            tracing::info!("listening on https://{address}, wss://{address}/ws");
        }
    }
    tracing::info!(
        threads = shared.metrics.len(),
        connections_max,
        namespaces,
        api,
        identity = settings.access.tokens.summary(),
        histories,
        "mounted: {}/ws and /ws/{{namespace}} (WebSocket), {}/healthz, /readyz{}",
        on(has_page, page),
        on(is_whole, "/api/v1/{namespace}/ (HTTP API), "),
        on(has_page, metrics)
    );
    if let Some(admin) = admin {
        let tls = on(settings.admin_tls, "s");
        tracing::info!(
            "administration at http{tls}://{admin}: {page}/api/v1/{{namespace}}/ (HTTP API){metrics}, and all \
             of the above"
        );
    }
    mounted.sort_unstable();
    for (namespace, events) in mounted {
        let path = match &*namespace {
            "default" => "/ws".to_owned(),
            name => format!("/ws/{name}"),
        };
        tracing::info!(
            namespace = &*namespace,
            events = events.join(", "),
            "mounted: a gateway at {path}"
        );
    }
    if shared.gateways.has_others() {
        tracing::info!("mounted: gateways at /ws/{{namespace}}, for any other namespace");
    }
}
