//! Plain requests on the way.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use hyper::{
    Request, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, LOCATION},
};
use tokio::time::timeout;

use super::{
    super::client::{api, failure},
    clock,
    fix::Proxy,
    report::Finding,
    way::Way,
};

const ANSWER_TIME: Duration = Duration::from_secs(10);

/// An answer of whoever is on the other side.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) head: HeaderMap,
    pub(super) body: String,
    /// The time at which it was complete, here.
    pub(super) at: DateTime<Utc>,
}

/// Asks for a path of the server.
///
/// # Errors
///
/// When nothing answers, or not in HTTP.
pub(super) async fn get(
    way: &Way,
    path: &str,
    authorization: Option<&HeaderValue>,
) -> anyhow::Result<Answer> {
    let mut request = Request::get(path).header(HOST, way.url.host_field());
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(String::new().into())?;
    let exchange = api::exchange(way.connect().await?, request);
    let answered = timeout(ANSWER_TIME, exchange).await;
    let (head, body) = answered.context("nothing comes within 10 s")??;
    Ok(Answer {
        status: head.status,
        head: head.headers,
        body,
        at: clock::now(),
    })
}

/// Asks whether the server is ready; gives the answer when it was the server's.
pub(super) async fn ready(way: &Way) -> (Option<Answer>, Finding) {
    let answer = match get(way, &way.url.path("/readyz"), None).await {
        Ok(answer) => answer,
        Err(fault) => {
            let fix = "the port has to be that of the server or of its proxy: `listen` in \
                       roomcast.toml (--listen), `listen` of nginx, `bind` of HAProxy; https:// in the \
                       URL where it speaks TLS";
            return (
                None,
                Finding::failed(format_args!("no answer: {fault:#}"), fix),
            );
        }
    };
    let finding = match (answer.status, answer.body.trim()) {
        (StatusCode::OK, "ready") => {
            return (Some(answer), Finding::ok("the server answers at /readyz"));
        }
        (StatusCode::SERVICE_UNAVAILABLE, "draining") => {
            let fix = "wait for its end and start: `systemctl status roomcast`";
            let finding = Finding::failed("the server is shutting down", fix);
            return (Some(answer), finding);
        }
        _ => other(&answer),
    };
    (None, finding)
}

/// The fault of an answer that is not the server's own.
fn other(answer: &Answer) -> Finding {
    let (status, proxy) = (answer.status, Proxy::of(&answer.head));
    if let Some(detail) = failure::detail(&answer.body) {
        let fix = "the setting that this names";
        return Finding::failed(format_args!("{status}: {detail}"), fix);
    }
    if let Some(place) = answer.head.get(LOCATION) {
        let place = String::from_utf8_lossy(place.as_bytes());
        let fix = "clients do not follow: give them, and this command, the address it leads to";
        return Finding::failed(format_args!("{status} to {place}"), fix);
    }
    let is_gateway = matches!(status.as_u16(), 502..=504);
    if is_gateway {
        let seen = format_args!("{status}: a proxy answers, and does not find the server");
        return Finding::failed(seen, proxy.upstream());
    }
    let body = answer.body.to_ascii_lowercase();
    // The words of this server, and of nginx.
    if status == StatusCode::BAD_REQUEST && body.contains("https") {
        return Finding::failed(
            format_args!("{status}: the port speaks TLS"),
            "https:// in the URL",
        );
    }
    let seen = format_args!("{status}: not the answer of a Roomcast server to /readyz");
    Finding::failed(
        seen,
        format_args!("the URL; below a path, {}", proxy.path()),
    )
}
