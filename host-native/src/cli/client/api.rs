//! Calls of a server's HTTP API.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{AUTHORIZATION, HOST, HeaderValue},
    http::{request::Builder, response::Parts},
};
use hyper_util::rt::TokioIo;
use roomcast::ApiKey;
use tokio::time::timeout;

use super::{
    endpoint::{Endpoint, namespace},
    failure::Failure,
    wire::Wire,
};

const ANSWER_TIME: Duration = Duration::from_secs(30);
/// The longest body that is read: 1 MiB.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Texts for calls that may or may not have been carried out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubts {
    /// The failure when no answer comes within 30 s.
    pub(crate) late: &'static str,
    /// The hint when the answer cannot be used.
    pub(crate) unusable: &'static str,
}

/// The server whose HTTP API is called.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// Address of the server
    #[arg(long, env = "ROOMCAST_URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: Endpoint,
    #[command(flatten)]
    caller: Caller,
}

impl Server {
    /// The path of a call in the namespace.
    pub(crate) fn path(&self, call: &str) -> String {
        self.caller.path(&self.url, call)
    }

    /// Makes a call; gives the body of an answer 200.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: there is no server, it refuses, or its answer is none.
    pub(crate) async fn call(
        &self,
        request: Builder,
        body: String,
        doubts: Doubts,
    ) -> Result<String, Failure> {
        self.caller.call(&self.url, request, body, doubts).await
    }
}

/// The namespace and the key with which an HTTP API is called.
#[derive(Debug, clap::Args)]
pub(crate) struct Caller {
    /// Namespace; `default` unless the URL names one
    #[arg(long, env = "ROOMCAST_NAMESPACE", value_parser = namespace)]
    pub(crate) namespace: Option<String>,
    /// Key of the server's HTTP API; not needed on the same machine while the server has none
    #[arg(
        long,
        value_name = "KEY",
        env = "ROOMCAST_API_KEY",
        hide_env_values = true
    )]
    api_key: Option<String>,
}

impl Caller {
    /// The path of a call in the namespace.
    pub(crate) fn path(&self, url: &Endpoint, call: &str) -> String {
        url.api(self.namespace.as_deref(), call)
    }

    /// The namespace of calls.
    pub(crate) fn namespace<'a>(&'a self, url: &'a Endpoint) -> &'a str {
        url.namespace(self.namespace.as_deref())
    }

    /// True when there are only hashes of keys, which are for a server, and no key to send.
    pub(crate) fn has_hashes_alone(&self) -> bool {
        let keys = self.api_key.as_deref();
        keys.is_some_and(|keys| own_key(keys).is_none())
    }

    /// The value of `Authorization`, with the key when there is one.
    ///
    /// # Errors
    ///
    /// When only hashes of keys are given, or the key has control characters.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let keys = self.api_key.as_deref();
        let key = keys.map(|keys| own_key(keys).ok_or_else(|| Failure::usage(HASHED)));
        let value = key
            .transpose()?
            .map(|key| HeaderValue::try_from(format!("Bearer {key}")));
        value.transpose().map_err(|_| {
            Failure::usage("the API key (--api-key, ROOMCAST_API_KEY) holds control characters")
        })
    }

    /// Makes a call; gives the body of an answer 200.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: there is no server, it refuses, or its answer is none.
    pub(crate) async fn call(
        &self,
        url: &Endpoint,
        request: Builder,
        body: String,
        doubts: Doubts,
    ) -> Result<String, Failure> {
        let mut request = request.header(HOST, &url.authority);
        if let Some(value) = self.authorization()? {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(Failure::failed)?;
        let stream = url.connect().await?;
        let (head, body) = timeout(ANSWER_TIME, exchange(stream, request))
            .await
            .map_err(|_| Failure::failed(doubts.late))?
            .map_err(|fault| {
                if fault.is::<LengthLimitError>() {
                    return Failure::too_long(url);
                }
                let hint = doubts.unusable;
                Failure::failed(format_args!(
                    "no usable answer from {url}: {fault:#}\n  {hint}"
                ))
            })?;
        if head.status == StatusCode::OK {
            Ok(body)
        } else {
            Err(Failure::refused(url, head.status, &body))
        }
    }
}

const HASHED: &str =
    "the API key (--api-key, ROOMCAST_API_KEY) is a hash, for the server: give the key itself";

/// The key to send, if any. The server reads the same variable, so it may hold several keys, and
/// hashes.
fn own_key(keys: &str) -> Option<&str> {
    let mut keys = keys.split(',').map(str::trim);
    keys.find(|key| !ApiKey::is_hashed(key))
}

/// Sends a request; returns the head and the body of its answer.
///
/// # Errors
///
/// When there is no answer, or its body is too long or not UTF-8.
pub(crate) async fn exchange(
    stream: Wire,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(Parts, String)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|fault| match fault.downcast::<LengthLimitError>() {
        Ok(limit) => anyhow::Error::new(*limit),
        Err(fault) => anyhow::anyhow!(fault),
    })?;
    let body = body.to_bytes();
    Ok((head, String::from_utf8(body.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_first_that_is_no_hash() {
        let hash = ApiKey::new("a").hashed();
        for (keys, key) in [("a", "a"), ("a,b", "a"), (&format!("{hash}, b "), "b")] {
            assert_eq!(own_key(keys), Some(key));
        }
        assert_eq!(own_key(&hash), None);
    }
}
