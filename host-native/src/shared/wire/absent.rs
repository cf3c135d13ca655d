//! TLS of connections to other servers, in a server that is built without it.

use tokio::net::TcpStream;

use crate::shared::call_failure::CallFailure;

/// No TLS.
#[derive(Debug, Default)]
pub(super) struct Tls;

impl Tls {
    #[allow(clippy::unused_async)] // as with the feature
    pub(super) async fn connect(&self, _: &str, _: TcpStream) -> Result<TcpStream, CallFailure> {
        Err("this server is built without the feature `jwks`".into())
    }
}
