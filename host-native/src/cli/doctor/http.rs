//! Plain HTTP requests to the server.

use std::{io, time::Duration};

use chrono::{DateTime, Utc};
use hyper::{
    Request, StatusCode,
    header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, LOCATION},
};
use roomcast_http::{Readiness, TIME_HEADER};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    super::client::{api, failure},
    clock,
    fix::{HANGS, Proxy},
    report::Finding,
    way::Way,
};

/// An answer of the server or of a proxy.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) head: HeaderMap,
    pub(super) body: String,
    /// The time on this machine at which it was complete.
    pub(super) at: DateTime<Utc>,
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The answer was not HTTP, or the connection failed.
    #[error("no answer: {0:#}")]
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for NoAnswer {
    fn from(fault: anyhow::Error) -> Self {
        Self::Broken(fault)
    }
}

/// Requests a path of the server.
///
/// # Errors
///
/// When there is no answer, or it is not HTTP.
pub(super) async fn get(
    way: &Way,
    path: &str,
    authorization: Option<&HeaderValue>,
) -> Result<Answer, NoAnswer> {
    let mut request = Request::get(path).header(HOST, way.url.host_field());
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(String::new().into());
    let request = request.map_err(anyhow::Error::new)?;
    let late = |_| NoAnswer::Late(way.patience);
    #[allow(clippy::wildcard_enum_match_arm)] // all others break it
    let stream = way.connect().await.map_err(|fault| match fault.kind() {
        io::ErrorKind::TimedOut => NoAnswer::Late(way.patience),
        _ => NoAnswer::Broken(fault.into()),
    })?;
    let answered = timeout(way.patience, api::exchange(stream, request)).await;
    let (head, body) = answered.map_err(late)??;
    Ok(Answer {
        status: head.status,
        head: head.headers,
        body,
        at: clock::now(),
    })
}

/// The program that answered at `/readyz`.
#[derive(Debug)]
pub(super) enum Ready {
    Server(Answer),
    /// A proxy that did not forward the request: other paths may still lead to the server.
    Proxy(Answer),
    /// Nobody, or a program for which no further check is useful.
    Nobody,
}

/// Asks whether the server is ready.
pub(super) async fn ready(way: &Way) -> (Ready, Finding) {
    let answer = match get(way, &way.url.path("/readyz"), None).await {
        Ok(answer) => answer,
        Err(fault @ NoAnswer::Late(_)) => return (Ready::Nobody, Finding::failed(fault, HANGS)),
        Err(fault @ NoAnswer::Broken(_)) => {
            let fix = "the port has to be that of the server or of its proxy: `listen` in \
                       roomcast.toml (--listen), `listen` of nginx, `bind` of HAProxy; https:// in the \
                       URL where it speaks TLS; or see the log of a proxy, which may have no \
                       connections left";
            return (Ready::Nobody, Finding::failed(fault, fix));
        }
    };
    let finding = match Readiness::of(answer.status.as_u16(), &answer.body) {
        Some(Readiness::Ready) => Finding::ok("the server answers at /readyz"),
        Some(Readiness::Draining) => {
            let fix = "wait for its end and start: `systemctl status roomcast`";
            Finding::failed("the server is shutting down", fix)
        }
        Some(Readiness::Unrelayed) => {
            let fix = "start Redis, or name it: `relay` in roomcast.toml (--relay, ROOMCAST_RELAY) of \
                       the server; its log says why";
            let finding = Finding::failed("the server cannot reach its relay", fix);
            return (Ready::Nobody, finding);
        }
        None => return other(answer),
    };
    (Ready::Server(answer), finding)
}

/// The part of `/server` that is read.
#[derive(Deserialize)]
struct Facts {
    host: String,
}

/// True when the server is a Worker, by what it says of itself, or by its answer to `/readyz`: a
/// native one has the time in it.
pub(super) async fn is_worker(way: &Way, ready: &Answer) -> bool {
    let is_own = Readiness::of(ready.status.as_u16(), &ready.body).is_some();
    if is_own && ready.head.contains_key(TIME_HEADER) {
        return false;
    }
    let about = get(way, &way.url.path("/server"), None).await;
    let about = about.ok().filter(|about| about.status == StatusCode::OK);
    let facts = about.and_then(|about| serde_json::from_str::<Facts>(&about.body).ok());
    facts.map_or(is_own, |facts| facts.host == "worker")
}

/// Judges an answer that is not one of the server's states of readiness.
fn other(answer: Answer) -> (Ready, Finding) {
    let (status, proxy) = (answer.status, Proxy::of(&answer.head));
    if let Some(detail) = failure::detail(&answer.body) {
        let fix = "change the setting that the message names";
        let finding = Finding::failed(format_args!("{status}: {detail}"), fix);
        return (Ready::Nobody, finding);
    }
    if let Some(place) = answer.head.get(LOCATION) {
        let place = String::from_utf8_lossy(place.as_bytes());
        let fix = "clients do not follow: give them, and this command, the address it leads to";
        let finding = Finding::failed(format_args!("{status} to {place}"), fix);
        return (Ready::Nobody, finding);
    }
    let body = answer.body.to_ascii_lowercase();
    // Both this server and nginx answer so.
    if status == StatusCode::BAD_REQUEST && body.contains("https") {
        let seen = format_args!("{status}: the port speaks TLS");
        return (Ready::Nobody, Finding::failed(seen, "https:// in the URL"));
    }
    let finding = proxy.fault(status).unwrap_or_else(|| {
        let seen = format_args!("{status}: not the answer of a Roomcast server to /readyz");
        let fix = format_args!("change the URL; below a path, {}", proxy.path());
        Finding::failed(seen, fix)
    });
    (Ready::Proxy(answer), finding)
}
