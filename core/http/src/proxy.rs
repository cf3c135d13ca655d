//! Signs of a proxy before a server.

use super::{Headers, Request};

/// Header fields that proxies add, in lower case and as they are written.
const FIELDS: [(&str, &str); 10] = [
    ("x-forwarded-for", "X-Forwarded-For"),
    ("x-real-ip", "X-Real-IP"),
    ("forwarded", "Forwarded"),
    ("via", "Via"),
    ("x-forwarded-host", "X-Forwarded-Host"),
    ("x-forwarded-proto", "X-Forwarded-Proto"),
    ("x-forwarded-port", "X-Forwarded-Port"),
    ("x-forwarded-server", "X-Forwarded-Server"),
    ("cf-connecting-ip", "CF-Connecting-IP"),
    ("true-client-ip", "True-Client-IP"),
];

impl<H: Headers> Request<'_, H> {
    /// The sign by which the request shows that a proxy passed it on: the name of a header field,
    /// or `HTTP/1.0`, which proxies speak and programs of this century do not.
    ///
    /// At `/healthz` and `/readyz` only a header field is a sign: monitors ask there in HTTP/1.0.
    ///
    /// A proxy that speaks HTTP/1.1 and adds no header field shows nothing.
    pub fn proxy_sign(&self) -> Option<&'static str> {
        let mut fields = FIELDS.into_iter();
        let field = fields.find(|&(name, _)| self.headers.values(name).next().is_some());
        let old = self.http_1_0 && !matches!(self.path, "/healthz" | "/readyz");
        field
            .map(|(_, written)| written)
            .or(old.then_some("HTTP/1.0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = [(&'static str, &'static str)];

    fn sign(path: &str, http_1_0: bool, headers: &Pairs) -> Option<&'static str> {
        let request = Request {
            method: "GET",
            path,
            query: "",
            headers,
            local: true,
            loopback_listener: true,
            http_1_0,
        };
        request.proxy_sign()
    }

    #[test]
    fn a_proxy_shows_by_a_field_or_by_its_version() {
        assert_eq!(sign("/", false, &[("host", "localhost")]), None);
        assert_eq!(sign("/", true, &[]), Some("HTTP/1.0"));
        for (name, written) in FIELDS {
            assert_eq!(written.to_ascii_lowercase(), name);
            for path in ["/", "/healthz"] {
                assert_eq!(sign(path, true, &[(name, "")]), Some(written));
            }
        }
    }

    #[test]
    fn a_monitor_that_asks_in_http_1_0_is_no_proxy() {
        assert_eq!(sign("/healthz", true, &[]), None);
        assert_eq!(sign("/readyz", true, &[]), None);
        assert_eq!(sign("/readyz/", true, &[]), Some("HTTP/1.0"));
    }
}
