//! The HTTP API of a server, as far as stories need it.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;

use super::DriverError;
use crate::Answer;

/// The API of one server.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// Host and port.
    authority: String,
    /// The path before `/api`.
    prefix: String,
    key: Option<String>,
}

/// Encodes a name as a part of a path.
pub(super) fn encode(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

impl Api {
    pub(super) fn new(authority: &str, prefix: String, key: Option<&str>) -> Self {
        Self {
            authority: authority.into(),
            prefix,
            key: key.map(Into::into),
        }
    }

    /// Makes one call, on a new connection; `path` follows `/api/v1/`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        idempotency_key: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, DriverError> {
        let broken = |fault: &dyn std::fmt::Display| {
            DriverError::Transport(format!("{path} of the HTTP API: {fault}"))
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.prefix))
            .header("Host", &self.authority);
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|fault| broken(&fault))?;
        let answer = ask(&self.authority, request).await;
        let (status, body) = answer.map_err(|fault| broken(&fault))?;
        match status {
            200 => Ok(Answer::ok(body)),
            // No story expects these: the driver was set up wrongly, or the server is broken.
            401 | 500.. => Err(broken(&format!("{status} {body}"))),
            status => Ok(Answer::refused(status)),
        }
    }
}

/// Sends one HTTP request to a host and port, on a new connection; returns the status, and the body
/// as text.
pub(crate) async fn ask(
    authority: &str,
    request: Request<Full<Bytes>>,
) -> Result<(u16, String), Box<dyn Error + Send + Sync>> {
    let stream = TokioIo::new(TcpStream::connect(authority).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // The task ends with the response; nobody waits for it.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
