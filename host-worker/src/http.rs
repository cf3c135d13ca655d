//! Conversion of requests and responses between the types of the core and of the platform.

use std::borrow::Cow;

use js_sys::Array;
use roomcast_core::{Timestamp, gateway::UpgradeRequest};
use roomcast_http::{Headers, Problem, Request, Response, SUBPROTOCOL, Upgrade};
use wasm_bindgen::JsValue;
use worker::{WebSocketPair, worker_sys::web_sys};

/// The head of a platform's request.
#[derive(Debug)]
pub(crate) struct Head {
    method: String,
    /// Path and query string.
    target: String,
    headers: web_sys::Headers,
}

/// The header fields of a platform's request.
#[derive(Debug)]
pub(crate) struct Fields<'a>(&'a web_sys::Headers);

impl Headers for Fields<'_> {
    /// The value of a field. The platform joins repeated fields with commas.
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let value = self.0.get(name).ok().flatten();
        value.map(Cow::Owned).into_iter()
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let names = self.0.keys().into_iter().filter_map(Result::ok);
        names.filter_map(|name| name.as_string()).map(Cow::Owned)
    }
}

impl Head {
    pub(crate) fn read(request: &web_sys::Request) -> Self {
        let url = request.url();
        // scheme "://" authority, then the request target; a fragment is never sent.
        let target = url
            .split_once("://")
            .and_then(|(_, rest)| rest.find(['/', '?']).map(|at| rest[at..].to_owned()));
        Self {
            method: request.method(),
            target: target.unwrap_or_else(|| "/".to_owned()),
            headers: request.headers(),
        }
    }

    pub(crate) fn request(&self) -> Request<'_, Fields<'_>> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        Request {
            method: &self.method,
            path,
            query,
            headers: Fields(&self.headers),
            local: false,
            other_user: false,
            loopback_listener: false,
            http_1_0: false,
            admin_elsewhere: false,
        }
    }

    /// The header field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.headers.get(name).ok().flatten()
    }

    /// Names and values of all header fields.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let entries = self.headers.entries().into_iter().filter_map(Result::ok);
        let fields = entries.filter_map(|entry| {
            let pair = Array::from(&entry);
            Some((pair.get(0).as_string()?, pair.get(1).as_string()?))
        });
        fields.collect()
    }

    /// The request as an application sees it, with these header fields.
    pub(crate) fn upgrade_request<'a>(
        &'a self,
        fields: &'a [(&'a str, &'a str)],
    ) -> UpgradeRequest<'a> {
        let Request { path, query, .. } = self.request();
        let request = UpgradeRequest::new(path, query).with_headers(fields);
        // The platform sets it, whatever the client sent.
        let peer = request.header("cf-connecting-ip");
        match peer.and_then(|peer| peer.parse().ok()) {
            Some(peer) => request.with_peer(peer),
            None => request,
        }
    }

    /// Converts a response to the platform's. Throws a text.
    pub(crate) fn answer(
        &self,
        response: impl Into<Response>,
    ) -> Result<web_sys::Response, JsValue> {
        self.sent(response.into()).map_err(thrown)
    }

    fn sent(&self, response: Response) -> worker::Result<web_sys::Response> {
        let headers = worker::Headers::new();
        for (name, value) in response.headers {
            headers.set(name, value)?;
        }
        // For a status without a body the platform refuses even an empty one.
        let body = if self.method == "HEAD" || response.body.is_empty() {
            worker::ResponseBody::Empty
        } else {
            worker::ResponseBody::Body(response.body.into_owned())
        };
        let answer = worker::Response::from_body(body)?
            .with_status(response.status)
            .with_headers(headers);
        Ok(answer.into())
    }

    /// The upgrade that the request asks for, when it wants to be refused by the socket.
    pub(crate) fn in_band(&self) -> Option<Upgrade> {
        let upgrade = Upgrade::check(&self.request()).ok();
        upgrade.filter(|upgrade| upgrade.refuse_in_band)
    }

    /// The response that says why there is no WebSocket: by the socket when that was asked for.
    pub(crate) fn refuse(&self, problem: Problem) -> Result<web_sys::Response, JsValue> {
        match self.in_band() {
            Some(upgrade) => refuse_in_band(&problem, upgrade).map_err(thrown),
            None => self.answer(problem),
        }
    }
}

/// Opens the socket, says in it why it may not stay, and closes it.
fn refuse_in_band(problem: &Problem, upgrade: Upgrade) -> worker::Result<web_sys::Response> {
    let pair = WebSocketPair::new()?;
    pair.server.accept()?;
    pair.server.send_with_str(problem.frame())?;
    let code = problem.close_code().as_u16();
    pair.server
        .close(Some(code), Some(problem.close_reason()))?;
    let headers = worker::Headers::new();
    if upgrade.welcome {
        headers.set("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    let answer = worker::Response::from_websocket(pair.client)?.with_headers(headers);
    Ok(answer.into())
}

fn thrown(fault: worker::Error) -> JsValue {
    fault.to_string().into()
}

/// A time of the platform's clock: whole milliseconds since 1970.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) const fn millis(ms: f64) -> Timestamp {
    Timestamp::from_millis(ms as u64)
}
