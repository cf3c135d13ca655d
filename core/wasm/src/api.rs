//! Requests of the HTTP API.

use std::{borrow::Cow, collections::BTreeMap};

use roomcast_core::{Limits, Timestamp, ask::Asked, queue::QueueFate};
use roomcast_http::{Access, ApiRequest as Read, Headers, Problem, Request, Response};
use serde::{Deserialize, Serialize};

/// A request of the API. The host must have checked that its sender may use the API.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiRequest {
    method: String,
    /// The path with its query, percent-encoded.
    target: String,
    /// Header fields by their names in lower case.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

/// The answer.
#[derive(Serialize)]
pub(crate) struct ApiResponse {
    status: u16,
    headers: BTreeMap<&'static str, &'static str>,
    body: String,
}

impl ApiRequest {
    /// Carries out the request.
    pub(crate) fn answer(
        &self,
        limits: &Limits,
        now: Timestamp,
        namespace: &mut impl Asked,
    ) -> ApiResponse {
        let response = self.run(limits, now, namespace);
        let response = response.unwrap_or_else(Response::from);
        ApiResponse {
            status: response.status,
            headers: response.headers.into_iter().collect(),
            body: String::from_utf8_lossy(&response.body).into_owned(),
        }
    }

    fn run(
        &self,
        limits: &Limits,
        now: Timestamp,
        namespace: &mut impl Asked,
    ) -> Result<Response, Problem> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let request = Request {
            method: &self.method,
            path,
            query,
            headers: self,
            local: false,
            other_user: false,
            loopback_listener: false,
            http_1_0: false,
            admin_elsewhere: false,
        };
        let call = match Read::read(&request, &Access::default(), limits)? {
            Read::Call(call) => call,
            Read::Send(head) => head.with_body(self.body.as_bytes())?,
        };
        let mut answer = call.run(now, namespace)?;
        // The host has the queues, and closes connections that are too slow.
        answer.resolve(QueueFate::Kept);
        Ok(answer.into())
    }
}

impl Headers for &ApiRequest {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let value = self.headers.get(name);
        value.into_iter().map(|value| Cow::Borrowed(&**value))
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.keys().map(|name| Cow::Borrowed(&**name))
    }
}
