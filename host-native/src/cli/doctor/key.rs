//! The key of the HTTP API.

use hyper::{StatusCode, header::HeaderValue};
use roomcast_http::Problem;

use super::{super::client::failure::detail, http, report::Finding, way::Way};

/// Checks a key by a call that changes nothing.
pub(super) async fn check(way: &Way, namespace: Option<&str>, key: &HeaderValue) -> Finding {
    let path = way.url.api(namespace, "rooms?limit=1");
    let answer = match http::get(way, &path, Some(key)).await {
        Ok(answer) => answer,
        Err(fault) => return Finding::failed(fault, "see the server's log"),
    };
    let status = answer.status;
    let Some(detail) = detail(&answer.body) else {
        return match status {
            StatusCode::OK => Finding::ok("the server takes it"),
            _ => Finding::failed(
                format_args!("{status}: not from a Roomcast server"),
                "the proxy has to pass /api/ on",
            ),
        };
    };
    match status {
        StatusCode::UNAUTHORIZED => Finding::failed(
            format_args!("{status}: the server has other keys than this one"),
            "`api_keys` in roomcast.toml (--api-key, ROOMCAST_API_KEY) of the server has to list its \
             hash, which `roomcast key` makes; or --api-key here",
        ),
        // A key of another scope is valid too.
        StatusCode::FORBIDDEN if detail.contains("needs a key with the scope") => {
            Finding::ok("the server takes it, for calls of its scope")
        }
        StatusCode::NOT_FOUND if is_elsewhere(&detail) => {
            Finding::skipped("the API is on another port, that of --admin-listen")
        }
        _ => Finding::failed(
            format_args!("{status}: {detail}"),
            "change the setting that the message names",
        ),
    }
}

/// True for the answer of a port without the API.
fn is_elsewhere(detail: &str) -> bool {
    let api = Problem::NoPath {
        page: false,
        metrics: false,
        api: false,
    };
    detail == api.to_string()
}
