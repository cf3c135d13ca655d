//! A stub of TLS to other servers, for builds without it.

use tokio::net::TcpStream;

use crate::shared::call_failure::CallFailure;

/// A stub: there is no TLS.
#[derive(Debug, Default)]
pub(super) struct Tls;

impl Tls {
    #[allow(clippy::unused_async)] // as with the feature
    pub(super) async fn connect(&self, _: &str, _: TcpStream) -> Result<TcpStream, CallFailure> {
        Err("this server is built without the feature `jwks`".into())
    }
}
