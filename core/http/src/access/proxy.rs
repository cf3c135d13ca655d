//! Signs of a proxy before a server.

use alloc::borrow::Cow;

use crate::request::{Headers, Request};

/// Beginnings of the names of header fields that proxies, load balancers and CDNs add. Some pass on
/// the visitor's request, some the visitor's address.
const PREFIXES: &[&str] = &[
    "akamai-",
    "cf-",
    "cloudfront-",
    "do-connecting-",
    "fastly-",
    "fly-",
    "incap-",
    "ssl-client-",
    "tailscale-",
    "wl-proxy-",
    "x-akamai-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-envoy-",
    "x-fd-",
    "x-kong-",
    "x-nf-",
    "x-original-",
    "x-proxy",
    "x-real-",
    "x-ssl-",
    "x-sucuri-",
    "x-tyk-",
    "x-varnish",
    "x-vercel-",
];

/// Ends of such names.
const SUFFIXES: &[&str] = &[
    "-client-ip",
    "-client-ips",
    "-clientip",
    "-client-addr",
    "-client-address",
    "-client-port",
    "-connecting-ip",
    "-remote-addr",
    "-remote-ip",
    "-viewer-address",
];

/// Complete names of such fields.
const NAMES: &[&str] = &[
    "cdn-loop",
    "client-ip",
    "clientip",
    "front-end-https",
    "max-forwards",
    "proxy-connection",
    "remote-addr",
    "via",
    "x-cloud-trace-context",
    "x-host",
    "x-replaced-path",
    "x-request-start",
    "x-scheme",
    "x-url-scheme",
];

/// Part of the name of every field that passes on the visitor's request or address (RFC 7239, and
/// before it `X-Forwarded-For`).
const FORWARDED: &[u8] = b"forwarded";

/// True for the name, in lower case, of a header field that proxies add. An underscore counts as a
/// dash, since gateways replace one by the other.
///
/// This runs for every field of every request. So it allocates nothing for the usual names, and
/// compares texts only where their first or last bytes are equal.
fn is_of_a_proxy(name: &str) -> bool {
    let mut name = Cow::Borrowed(name);
    if name.bytes().any(|byte| byte == b'_') {
        name = Cow::Owned(name.replace('_', "-"));
    }
    let name = name.as_bytes();
    let begins = |begin: &&str| {
        name.first() == begin.as_bytes().first() && name.starts_with(begin.as_bytes())
    };
    let ends = |end: &&str| name.last() == end.as_bytes().last() && name.ends_with(end.as_bytes());
    PREFIXES.iter().any(begins)
        || SUFFIXES.iter().any(ends)
        || NAMES.iter().any(|known| name == known.as_bytes())
        || name.windows(FORWARDED.len()).any(|part| part == FORWARDED)
}

impl<H: Headers> Request<'_, H> {
    /// The sign by which the request shows that a proxy passed it on: the name of a header field,
    /// in lower case, or `HTTP/1.0`, which proxies still use and current programs do not.
    ///
    /// A name counts if it contains `forwarded`, if the field has the address of a visitor, or if a
    /// well-known proxy or CDN adds it. At `/healthz` and `/readyz` only a header field is a sign:
    /// monitors use HTTP/1.0 there.
    ///
    /// A proxy that speaks HTTP/1.1 and adds no header field shows nothing.
    pub fn proxy_sign(&self) -> Option<Cow<'_, str>> {
        let field = self.headers.names().find(|name| is_of_a_proxy(name));
        let old = self.http_1_0 && !matches!(self.path, "/healthz" | "/readyz");
        field.or(old.then_some("HTTP/1.0".into()))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::request::tests::{Pairs, get};

    fn sign(path: &str, http_1_0: bool, headers: &Pairs) -> Option<String> {
        let request = Request {
            http_1_0,
            ..get(path, headers)
        };
        request.proxy_sign().map(Cow::into_owned)
    }

    #[test]
    fn a_proxy_shows_by_a_field() {
        for name in [
            "x-forwarded-for",
            "x-forwarded",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded-client-cert",
            "x-forwarded-by-a-proxy-of-tomorrow",
            "x_forwarded_for",
            "forwarded",
            "forwarded-for",
            "x-original-forwarded-for",
            "x-vercel-forwarded-for",
            "fly-forwarded-proto",
            "via",
            "x-real-ip",
            "x-real-port",
            "client-ip",
            "x-client-ip",
            "x-cluster-client-ip",
            "true-client-ip",
            "fastly-client-ip",
            "fly-client-ip",
            "proxy-client-ip",
            "wl-proxy-client-ip",
            "incap-client-ip",
            "x-azure-clientip",
            "x-azure-fdid",
            "x-sucuri-clientip",
            "x-nf-client-connection-ip",
            "x-proxyuser-ip",
            "x-remote-addr",
            "x-appengine-user-ip",
            "cf-connecting-ip",
            "cf-connecting-ipv6",
            "cf-pseudo-ipv4",
            "cf-ray",
            "cf-visitor",
            "cdn-loop",
            "do-connecting-ip",
            "cloudfront-viewer-address",
            "akamai-origin-hop",
            "x-akamai-config-log-detail",
            "x-amzn-trace-id",
            "x-amz-cf-id",
            "x-cloud-trace-context",
            "x-envoy-external-address",
            "x-envoy-expected-rq-timeout-ms",
            "x-original-url",
            "x-original-host",
            "x-arr-ssl",
            "x-kong-proxy-latency",
            "x-varnish",
            "x-scheme",
            "x-host",
            "front-end-https",
            "x-request-start",
            "x-replaced-path",
            "tailscale-user-login",
            "proxy-connection",
            "max-forwards",
        ] {
            for path in ["/", "/healthz"] {
                assert_eq!(sign(path, true, &[(name, "")]).as_deref(), Some(name));
            }
        }
        let some = [("host", "localhost"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(sign("/", false, &some).as_deref(), Some("x-forwarded-for"));
    }

    /// Header fields that browsers and programs send by themselves are no sign of a proxy.
    #[test]
    fn a_program_that_asks_itself_is_no_proxy() {
        for name in [
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "accept-language",
            "authorization",
            "cache-control",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "dnt",
            "expect",
            "idempotency-key",
            "origin",
            "pragma",
            "priority",
            "proxy-authorization",
            "range",
            "referer",
            "sec-ch-ua-platform",
            "sec-fetch-site",
            "sec-gpc",
            "sec-websocket-extensions",
            "sec-websocket-key",
            "te",
            "traceparent",
            "transfer-encoding",
            "upgrade",
            "upgrade-insecure-requests",
            "x-api-key",
            "x-client-data",
            "x-correlation-id",
            "x-request-id",
            "x-requested-with",
            "x-team",
        ] {
            assert_eq!(sign("/", false, &[(name, "")]), None, "{name}");
        }
    }

    #[test]
    fn a_monitor_that_asks_in_http_1_0_is_no_proxy() {
        assert_eq!(sign("/", true, &[]).as_deref(), Some("HTTP/1.0"));
        assert_eq!(sign("/healthz", true, &[]), None);
        assert_eq!(sign("/readyz", true, &[]), None);
        assert_eq!(sign("/readyz/", true, &[]).as_deref(), Some("HTTP/1.0"));
    }
}
