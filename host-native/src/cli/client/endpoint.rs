//! The address of the server that a command talks to.

use std::{fmt, io, str::FromStr, time::Duration};

use hyper::Uri;
use roomcast_core::wire::EVENT_BYTES_MAX;
use roomcast_http::{NAMESPACE_FORM, is_namespace};
use tokio::{net::TcpStream, time::timeout};

use super::{
    failure::Failure,
    wire::{self, Wire},
};

/// The address of a server, read from any of its URLs: its root, its WebSocket, or the WebSocket of
/// a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// True for https:// and wss://.
    pub(crate) tls: bool,
    pub(crate) host: String,
    /// Host and port.
    pub(crate) authority: String,
    /// The path that a proxy adds before the server's own paths.
    prefix: String,
    namespace: Option<String>,
}

impl Endpoint {
    /// The path of an API call.
    pub(crate) fn api(&self, namespace: Option<&str>, call: &str) -> String {
        format!(
            "{}/api/v1/{}/{call}",
            self.prefix,
            self.namespace(namespace)
        )
    }

    /// The URL of a namespace's WebSocket.
    pub(crate) fn websocket(&self, namespace: Option<&str>) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        let at = format!("{scheme}://{}{}/ws", self.authority, self.prefix);
        match self.namespace(namespace) {
            "default" => at,
            namespace => format!("{at}/{namespace}"),
        }
    }

    /// A path of the server.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The value of `Host`, as a browser sends it: without the port of the scheme.
    pub(crate) fn host_field(&self) -> &str {
        let port = if self.tls { ":443" } else { ":80" };
        self.authority.strip_suffix(port).unwrap_or(&self.authority)
    }

    /// The origin of a page that the server itself serves.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.host_field())
    }

    /// The URL of a namespace's WebSocket, as a browser has it.
    pub(crate) fn websocket_as_seen(&self, namespace: Option<&str>) -> String {
        let url = self.websocket(namespace);
        url.replacen(&self.authority, self.host_field(), 1)
    }

    /// The namespace: the one given, else the URL's, else `default`.
    pub(super) fn namespace<'a>(&'a self, given: Option<&'a str>) -> &'a str {
        given.or(self.namespace.as_deref()).unwrap_or("default")
    }

    pub(crate) async fn connect(&self) -> Result<Wire, Failure> {
        const CONNECT_TIME: Duration = Duration::from_secs(10);
        let opened = async {
            let stream = TcpStream::connect(&self.authority).await?;
            if self.tls {
                wire::secured(&self.host, stream).await
            } else {
                Ok(Box::new(stream) as Wire)
            }
        };
        let fault = match timeout(CONNECT_TIME, opened).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(fault)) if fault.kind() == io::ErrorKind::ConnectionRefused => {
                "connection refused".to_owned()
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => "no answer within 10 s".to_owned(),
        };
        Err(Failure::unreachable(format_args!(
            "cannot connect to {self}: {fault}\n  Is `roomcast` running? Start it, or give its \
             URL, also as ROOMCAST_URL"
        )))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "a URL is needed, such as http://127.0.0.1:3000";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let (scheme, host) = uri.scheme_str().zip(uri.host()).ok_or(EXPECTED)?;
        let tls = match scheme {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err("the URL must begin with http://, https://, ws:// or wss://".into()),
        };
        if uri.query().is_some() {
            return Err("the URL must not have a query".to_owned());
        }
        let path = uri.path().trim_end_matches('/');
        let (prefix, namespace) = match path.rsplit_once("/ws") {
            Some((prefix, "")) => (prefix, None),
            Some((prefix, rest)) if rest.starts_with('/') => (prefix, Some(namespace(&rest[1..])?)),
            _ => (path, None),
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            tls,
            host: host.to_owned(),
            authority: format!("{host}:{port}"),
            prefix: prefix.to_owned(),
            namespace,
        })
    }
}

/// Parses the name of a namespace by the server's rules.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    if is_namespace(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("a namespace is {NAMESPACE_FORM}"))
    }
}

/// Parses the name of an event by the server's rules.
pub(crate) fn event(text: &str) -> Result<String, String> {
    if (1..=EVENT_BYTES_MAX).contains(&text.len()) && !text.starts_with('$') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "an event is 1 to {EVENT_BYTES_MAX} bytes, and does not start with `$`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_url_of_a_server_will_do() {
        for (url, api, websocket) in [
            (
                "http://127.0.0.1:3000",
                "/api/v1/default/send",
                "ws://127.0.0.1:3000/ws",
            ),
            (
                "ws://[::1]:3000/ws/",
                "/api/v1/default/send",
                "ws://[::1]:3000/ws",
            ),
            (
                "ws://host/ws/game-1",
                "/api/v1/game-1/send",
                "ws://host:80/ws/game-1",
            ),
            (
                "http://host:8080/behind/proxy/",
                "/behind/proxy/api/v1/default/send",
                "ws://host:8080/behind/proxy/ws",
            ),
        ] {
            let endpoint: Endpoint = url.parse().expect(url);
            assert_eq!(endpoint.api(None, "send"), api);
            assert_eq!(endpoint.websocket(None), websocket);
        }
        let endpoint: Endpoint = "https://host/chat/ws/game".parse().expect("a URL");
        assert_eq!(endpoint.websocket(None), "wss://host:443/chat/ws/game");
        assert_eq!(endpoint.api(None, "send"), "/chat/api/v1/game/send");
        assert_eq!(endpoint.to_string(), "https://host:443/chat");
        assert_eq!(endpoint.origin(), "https://host");
        assert_eq!(endpoint.websocket_as_seen(None), "wss://host/chat/ws/game");
        assert_eq!(endpoint.path("/readyz"), "/chat/readyz");
        let endpoint: Endpoint = "wss://host:8443".parse().expect("a URL");
        assert_eq!(endpoint.websocket(Some("a")), "wss://host:8443/ws/a");
        let endpoint: Endpoint = "ws://host/ws/game".parse().expect("a URL");
        assert_eq!(endpoint.api(Some("other"), "send"), "/api/v1/other/send");
        assert_eq!(endpoint.to_string(), "http://host:80");
    }

    #[test]
    fn what_is_no_url_of_a_server_says_why() {
        for (url, says) in [
            ("127.0.0.1:3000", "such as http://"),
            ("", "such as http://"),
            ("ftp://host", "ws:// or wss://"),
            ("ws://host/ws?token=t", "query"),
            ("ws://host/ws/no good", "such as http://"),
            ("ws://host/ws/a/b", "1 to 64"),
        ] {
            let fault = url.parse::<Endpoint>().expect_err(url);
            assert!(fault.contains(says), "{url}: {fault}");
        }
    }
}
