//! The page to try a server with.

use super::Response;

/// The page: a single file that loads nothing.
const PAGE: &str = include_str!("../page/index.html");

/// Content security policy of the page: the data that it shows comes from anywhere, and must not
/// run.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

impl Response {
    /// `GET /`: the page to try a server with.
    pub fn page() -> Self {
        let mut response = Self::new(200, "text/html; charset=utf-8", PAGE.as_bytes());
        response.headers.extend([
            ("content-security-policy", POLICY),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ]);
        response
    }
}
