//! A request for a WebSocket, as an application is asked about it.

use std::net::IpAddr;

use roomcast_core::gateway::UpgradeRequest;

/// An [`UpgradeRequest`] that can travel to the thread of its namespace.
#[derive(Debug)]
pub(crate) struct OwnedUpgradeRequest {
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    peer: IpAddr,
}

impl OwnedUpgradeRequest {
    /// Bytes of a header field that are not UTF-8 are replaced.
    pub(crate) fn new(request: &hyper::Request<()>, peer: IpAddr) -> Self {
        let headers = request.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        });
        Self {
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            peer,
        }
    }

    /// Asks, with the request as the application takes it.
    pub(crate) fn ask<R>(&self, application: impl FnOnce(&UpgradeRequest<'_>) -> R) -> R {
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let request = UpgradeRequest::new(&self.path, &self.query);
        application(&request.with_headers(&headers).with_peer(self.peer))
    }
}
