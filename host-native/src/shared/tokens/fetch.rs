//! The request for published keys.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Request, Uri, header::ACCEPT};
use roomcast_token::{JwksUrl, limits::JWKS_BYTES_MAX};
use tokio::task::JoinSet;

use crate::shared::{call_failure::CallFailure, wire::Trust};

/// Requests the keys once, without following redirects. Returns the status and the body, which is
/// empty unless the status is 200.
///
/// # Errors
///
/// When there is no answer, or it is longer than a set of keys may be.
pub(super) async fn get(url: &JwksUrl) -> Result<(u16, Vec<u8>), CallFailure> {
    let uri: Uri = url.as_str().parse()?;
    let request = Request::builder().header(ACCEPT, "application/json");
    // The connection ends with this function.
    let mut driver = JoinSet::new();
    // Loaded for each fetch: fetches are rare, and trusted authorities may change in between.
    let trust = Trust::default();
    let sent = trust.send(&uri, request, Bytes::new(), &mut driver);
    let response = sent.await?;
    let status = response.status().as_u16();
    if status != 200 {
        return Ok((status, Vec::new()));
    }
    let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect();
    Ok((status, body.await?.to_bytes().to_vec()))
}
