//! The request for published keys.

#[cfg(feature = "jwks")]
pub(super) use self::client::get;

/// Without the feature there is no such setting.
#[cfg(not(feature = "jwks"))]
#[allow(clippy::unused_async)] // as with the feature
pub(super) async fn get(
    _: &roomcast_token::JwksUrl,
) -> Result<(u16, Vec<u8>), crate::shared::call_failure::CallFailure> {
    Err("this server is built without the feature `jwks`".into())
}

#[cfg(feature = "jwks")]
mod client {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Limited};
    use hyper::{
        Request, Uri,
        client::conn::http1,
        header::{ACCEPT, HOST, USER_AGENT},
    };
    use hyper_util::rt::TokioIo;
    use roomcast_token::{JwksUrl, limits::JWKS_BYTES_MAX};
    use tokio::task::JoinSet;

    use crate::shared::{call_failure::CallFailure, wire::Trust};

    /// Asks for the keys once, without following a redirect; gives the status and the body, which
    /// is empty with any other status than 200.
    ///
    /// # Errors
    ///
    /// When there is no answer, or a longer one than a set of keys has.
    pub(in super::super) async fn get(url: &JwksUrl) -> Result<(u16, Vec<u8>), CallFailure> {
        let uri: Uri = url.as_str().parse()?;
        let authority = uri.authority().ok_or("it has no host")?;
        // Fetches are rare, and the authorities may be others by the next one.
        let wire = Trust::default().connect(&uri).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
        // It ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn_local(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("roomcast/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Ok((status, Vec::new()));
        }
        let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect();
        Ok((status, body.await?.to_bytes().to_vec()))
    }
}
