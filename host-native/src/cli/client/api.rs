//! Calls of a server's HTTP API.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
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

/// Remarks for calls of which nobody knows whether they were done.
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

    /// The value of `Authorization`, with the key when there is one.
    ///
    /// # Errors
    ///
    /// When the key is none.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let key = self.api_key.as_deref().map(own_key).transpose()?;
        let value = key.map(|key| HeaderValue::try_from(format!("Bearer {key}")));
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

/// The key to send. The server's variable of the same name may hold several, and hashes of others.
fn own_key(keys: &str) -> Result<&str, Failure> {
    let mut keys = keys.split(',').map(str::trim);
    keys.find(|key| !ApiKey::is_hashed(key)).ok_or_else(|| {
        Failure::usage(
            "the API key (--api-key, ROOMCAST_API_KEY) is a hash, for the server: give the key itself",
        )
    })
}

/// Sends a request; gives the head and the body of its answer.
///
/// # Errors
///
/// When there is none, or its body is too long or no text.
pub(crate) async fn exchange(
    stream: Wire,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(Parts, String)> {
    const BODY_BYTES_MAX: usize = 1 << 20;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|fault| anyhow::anyhow!(fault))?.to_bytes();
    Ok((head, String::from_utf8(body.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_first_that_is_no_hash() {
        let hash = ApiKey::new("a").hashed();
        for (keys, key) in [("a", "a"), ("a,b", "a"), (&format!("{hash}, b "), "b")] {
            assert_eq!(own_key(keys).expect(keys), key);
        }
        let fault = own_key(&hash).expect_err("a hash");
        assert!(fault.to_string().contains("--api-key"), "{fault}");
        assert!(!fault.to_string().contains(&hash), "{fault}");
    }
}
