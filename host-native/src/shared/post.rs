//! HTTP requests to backends.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::{Response, Uri, body::Incoming, header::RETRY_AFTER};
use roomcast_hooks::{HookUrl, Keys, Request, limits::ASK_ANSWER_BYTES_MAX};
use tokio::task::JoinSet;

use crate::shared::{
    call_failure::CallFailure,
    spans::{RequestSpan, Spans, TraceContext},
    wire::Trust,
};

/// The status of an answer to events, and its header `Retry-After`.
pub(super) type Told = (u16, Option<String>);
/// The status of an answer to a question, and its body.
pub(super) type Answered = (u16, Vec<u8>);

/// The client of one endpoint. Each of its requests is a span.
#[derive(Debug)]
pub(super) struct Client {
    url: HookUrl,
    spans: Arc<Spans>,
    trust: Trust,
}

impl Client {
    pub(super) fn new(url: HookUrl, spans: Arc<Spans>) -> Self {
        Self {
            url,
            spans,
            trust: Trust::default(),
        }
    }

    /// Sends events once. The body of the answer is not read.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub(super) async fn tell(
        &self,
        request: &Request,
        keys: &Keys,
        unix_s: u64,
    ) -> Result<Told, CallFailure> {
        let mut driver = JoinSet::new();
        let span = self.begin("tell", None);
        let trace = span.context();
        let response = self.post(request, keys, unix_s, trace, &mut driver).await?;
        span.answered(response.status().as_u16());
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        Ok((response.status().as_u16(), retry_after))
    }

    /// Asks a question once, for a client with the trace `link`. The body is read only with a
    /// status that means an answer.
    ///
    /// # Errors
    ///
    /// When there is no complete answer, or it is longer than the limit.
    pub(super) async fn ask(
        &self,
        request: &Request,
        keys: &Keys,
        unix_s: u64,
        link: Option<TraceContext>,
    ) -> Result<Answered, CallFailure> {
        let mut driver = JoinSet::new();
        let span = self.begin("ask", link);
        let trace = span.context();
        let response = self.post(request, keys, unix_s, trace, &mut driver).await?;
        let status = response.status().as_u16();
        let mut answer = Vec::new();
        if matches!(status, 200 | 401 | 403) {
            let body = Limited::new(response.into_body(), ASK_ANSWER_BYTES_MAX).collect();
            answer = body.await?.to_bytes().to_vec();
        }
        span.answered(status);
        Ok((status, answer))
    }

    fn begin(&self, name: &'static str, link: Option<TraceContext>) -> RequestSpan {
        RequestSpan::begin(&self.spans, name, self.url.as_str(), link)
    }

    /// Sends a request. The connection is driven as long as `driver` exists.
    async fn post(
        &self,
        request: &Request,
        keys: &Keys,
        unix_s: u64,
        trace: Option<TraceContext>,
        driver: &mut JoinSet<Result<(), hyper::Error>>,
    ) -> Result<Response<Incoming>, CallFailure> {
        let uri: Uri = self.url.as_str().parse()?;
        let mut post = hyper::Request::builder().method("POST");
        for (name, value) in request.headers(keys, unix_s) {
            post = post.header(name, value);
        }
        if let Some(trace) = trace {
            post = post.header("traceparent", trace.to_string());
        }
        let body = request.body().as_bytes().to_vec();
        self.trust.send(&uri, post, body.into(), driver).await
    }
}
