//! Requests to endpoints of hooks.

use roomcast_hooks::{HookUrl, Keys, Request};

use crate::shared::call_failure::CallFailure;

/// The status of an answer, and its header `Retry-After`.
pub(super) type Answered = (u16, Option<String>);

/// The client of one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    url: HookUrl,
    #[cfg(feature = "jwks")]
    trust: crate::shared::wire::Trust,
}

impl Client {
    pub(super) fn new(url: HookUrl) -> Self {
        Self {
            url,
            #[cfg(feature = "jwks")]
            trust: crate::shared::wire::Trust::default(),
        }
    }

    /// Without the feature there are no hooks.
    #[cfg(not(feature = "jwks"))]
    #[allow(clippy::unused_async)] // as with the feature
    pub(super) async fn post(
        &mut self,
        _: &Request,
        _: &Keys,
        _: u64,
    ) -> Result<Answered, CallFailure> {
        Err(format!(
            "{}: this server is built without the feature `jwks`",
            self.url
        )
        .into())
    }

    /// Sends a request once, without following a redirect. The body of the answer is not read.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    #[cfg(feature = "jwks")]
    pub(super) async fn post(
        &mut self,
        request: &Request,
        keys: &Keys,
        unix_s: u64,
    ) -> Result<Answered, CallFailure> {
        use bytes::Bytes;
        use http_body_util::Full;
        use hyper::{
            Uri,
            client::conn::http1,
            header::{HOST, RETRY_AFTER, USER_AGENT},
        };
        use hyper_util::rt::TokioIo;
        use tokio::task::JoinSet;

        let uri: Uri = self.url.as_str().parse()?;
        let authority = uri.authority().ok_or("it has no host")?;
        let wire = self.trust.connect(&uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        // It ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn_local(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut post = hyper::Request::post(path)
            .header(HOST, authority.as_str())
            .header(USER_AGENT, concat!("roomcast/", env!("CARGO_PKG_VERSION")));
        for (name, value) in request.headers(keys, unix_s) {
            post = post.header(name, value);
        }
        let body = Bytes::copy_from_slice(request.body().as_bytes());
        let response = sender.send_request(post.body(Full::new(body))?).await?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        Ok((response.status().as_u16(), retry_after))
    }
}
