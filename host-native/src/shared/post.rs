//! Requests to backends.

use std::sync::Arc;

use roomcast_hooks::{HookUrl, Keys, Request};

use crate::shared::{
    call_failure::CallFailure,
    spans::{Spans, TraceContext},
};

/// The status of an answer to events, and its header `Retry-After`.
pub(super) type Told = (u16, Option<String>);
/// The status of an answer to a question, and its body.
pub(super) type Answered = (u16, Vec<u8>);

/// The client of one endpoint. Each request of it is a span.
#[derive(Debug)]
pub(super) struct Client {
    url: HookUrl,
    #[cfg(feature = "jwks")]
    spans: Arc<Spans>,
    #[cfg(feature = "jwks")]
    trust: crate::shared::wire::Trust,
}

impl Client {
    #[cfg_attr(not(feature = "jwks"), allow(unused_variables))]
    pub(super) fn new(url: HookUrl, spans: Arc<Spans>) -> Self {
        Self {
            url,
            #[cfg(feature = "jwks")]
            spans,
            #[cfg(feature = "jwks")]
            trust: crate::shared::wire::Trust::default(),
        }
    }
}

/// Without the feature nothing is asked or told.
#[cfg(not(feature = "jwks"))]
#[allow(clippy::unused_async)] // as with the feature
impl Client {
    pub(super) async fn tell(&self, _: &Request, _: &Keys, _: u64) -> Result<Told, CallFailure> {
        Err(self.is_missing())
    }

    pub(super) async fn ask(
        &self,
        _: &Request,
        _: &Keys,
        _: u64,
        _: Option<TraceContext>,
    ) -> Result<Answered, CallFailure> {
        Err(self.is_missing())
    }

    fn is_missing(&self) -> CallFailure {
        let url = &self.url;
        format!("{url}: this server is built without the feature `jwks`").into()
    }
}

#[cfg(feature = "jwks")]
mod client {
    use http_body_util::{BodyExt, Limited};
    use hyper::{Response, Uri, body::Incoming, header::RETRY_AFTER};
    use roomcast_hooks::limits::ASK_ANSWER_BYTES_MAX;
    use tokio::task::JoinSet;

    use super::{Answered, CallFailure, Client, Keys, Request, Told, TraceContext};
    use crate::shared::spans::RequestSpan;

    impl Client {
        /// Sends events once. The body of the answer is not read.
        ///
        /// # Errors
        ///
        /// When there is no answer.
        pub(in super::super) async fn tell(
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

        /// Asks a question once, for the sake of `parent`; the body is empty with a status that
        /// means no answer.
        ///
        /// # Errors
        ///
        /// When there is no whole answer, or a longer one than answers are.
        pub(in super::super) async fn ask(
            &self,
            request: &Request,
            keys: &Keys,
            unix_s: u64,
            parent: Option<TraceContext>,
        ) -> Result<Answered, CallFailure> {
            let mut driver = JoinSet::new();
            let span = self.begin("ask", parent);
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

        fn begin(&self, name: &'static str, parent: Option<TraceContext>) -> RequestSpan {
            RequestSpan::begin(&self.spans, name, self.url.as_str(), parent)
        }

        /// Sends a request. The connection is driven for as long as `driver` lives.
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
}
