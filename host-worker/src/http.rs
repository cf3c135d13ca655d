//! Requests and responses, between the core's and the platform's.

use std::borrow::Cow;

use roomcast_core::http::{Headers, Refusal, Request, Response, SUBPROTOCOL, Upgrade};
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
    /// The platform joins what came several times with commas.
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let value = self.0.get(name).ok().flatten();
        value.map(Cow::Owned).into_iter()
    }
}

impl Head {
    pub(crate) fn read(request: &web_sys::Request) -> Self {
        let url = request.url();
        // scheme "://" authority, then what is asked for; a fragment never gets here.
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
        }
    }

    /// The response as the platform sends it.
    pub(crate) fn answer(&self, response: Response) -> worker::Result<web_sys::Response> {
        let headers = worker::Headers::new();
        for (name, value) in response.headers {
            headers.set(name, value)?;
        }
        let body = if self.method == "HEAD" {
            worker::ResponseBody::Empty
        } else {
            worker::ResponseBody::Body(response.body.into_owned())
        };
        let answer = worker::Response::from_body(body)?
            .with_status(response.status)
            .with_headers(headers);
        Ok(answer.into())
    }
}

/// Opens the socket, says in it why it may not stay, and closes it.
pub(crate) fn refuse(refusal: &Refusal, upgrade: Upgrade) -> worker::Result<web_sys::Response> {
    let pair = WebSocketPair::new()?;
    pair.server.accept()?;
    pair.server.send_with_str(refusal.frame())?;
    let code = refusal.close_code().as_u16();
    pair.server
        .close(Some(code), Some(refusal.close_reason()))?;
    let headers = worker::Headers::new();
    if upgrade.welcome {
        headers.set("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    let answer = worker::Response::from_websocket(pair.client)?.with_headers(headers);
    Ok(answer.into())
}
