//! The way from a request to a WebSocket.

use alloc::string::String;

use super::{
    Headers, Problem, Reason, Request, Response, access::NO_NAMESPACE, problem::Body, route::SOCKET,
};
use roomcast_core::{
    CloseCode, ErrorCode, Rejection,
    wire::{Details, ErrorBody},
};

/// The subprotocol in which the server speaks first. The answer to an upgrade names it when
/// [`Upgrade::welcome`].
pub const SUBPROTOCOL: &str = "roomcast.v1";

/// When to come back, where there is no place now.
const RETRY_AFTER: (&str, &str) = ("retry-after", "5");

/// What a client asks for with its upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upgrade {
    /// Whether it offers [`SUBPROTOCOL`], and so is greeted with `$welcome`.
    pub welcome: bool,
    /// Whether it wants to be told through the open socket that it may not connect, as a browser
    /// does, which cannot see an HTTP status.
    pub refuse_in_band: bool,
}

impl Upgrade {
    /// Reads a request for a WebSocket. What a host's HTTP library checks of the handshake is not
    /// looked at here: the key, the version, `Connection`.
    ///
    /// # Errors
    ///
    /// The answer to a request that is none.
    pub fn check<H: Headers>(request: &Request<'_, H>) -> Result<Self, Problem> {
        if !matches!(request.method, "GET" | "HEAD") {
            return Err(Problem::not_allowed(SOCKET));
        }
        // Only `GET` upgrades.
        if request.method == "HEAD" || request.first("upgrade").is_none() {
            let detail = "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket";
            return Err(Problem::new(ErrorCode::UpgradeRequired, detail)
                .with_header("upgrade", "websocket")
                .with_header("connection", "Upgrade"));
        }
        if !request.lists("upgrade", |item| item.eq_ignore_ascii_case("websocket")) {
            return Err(Problem::bad_upgrade());
        }
        Ok(Self {
            welcome: request.lists("sec-websocket-protocol", |item| item == SUBPROTOCOL),
            refuse_in_band: request.query.split('&').any(|pair| pair == "refuse=close"),
        })
    }
}

impl Problem {
    /// 400: the form of an upgrade is wrong.
    pub fn bad_upgrade() -> Self {
        Self::bad_request(
            "the upgrade must say Connection: Upgrade and Upgrade: websocket, in HTTP/1.1",
        )
    }
}

/// Why a client may not connect, for both ways in which it may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    problem: ErrorCode,
    code: ErrorCode,
    close: CloseCode,
    detail: &'static str,
    limit: Option<usize>,
    reason: Option<Reason>,
}

impl Refusal {
    /// The page's origin is not allowed.
    pub const ORIGIN: Self = Self {
        problem: ErrorCode::Forbidden,
        code: ErrorCode::Forbidden,
        close: CloseCode::FORBIDDEN,
        detail: "this page's origin may not connect: list it in ROOMCAST_ALLOW_ORIGIN \
                 (--allow-origin), scheme, host and port",
        limit: None,
        reason: Some(Reason::Origin),
    };

    /// The page's origin is not allowed, and the `Host` looks as if a proxy had put it there.
    pub const ORIGIN_BEHIND_PROXY: Self = Self {
        detail: "this page's origin may not connect: list it in ROOMCAST_ALLOW_ORIGIN \
                 (--allow-origin), scheme, host and port; or, if it is this server's own address and \
                 a proxy has rewritten the Host header, have the proxy pass it on as it came \
                 (nginx: proxy_set_header Host $http_host)",
        ..Self::ORIGIN
    };

    /// The `Host` is a name under which a server on loopback is not taken.
    pub const HOST: Self = Self {
        detail: "this server listens on loopback and is taken under loopback names only, such as \
                 localhost: name this host in ROOMCAST_ALLOW_HOST (--allow-host), or have the proxy \
                 before the server send X-Forwarded-For",
        reason: Some(Reason::Host),
        ..Self::ORIGIN
    };

    /// There is no such namespace.
    pub const NAMESPACE: Self = Self {
        problem: ErrorCode::NotFound,
        code: ErrorCode::Forbidden,
        close: CloseCode::FORBIDDEN,
        detail: NO_NAMESPACE,
        limit: None,
        reason: Some(Reason::Namespace),
    };

    /// The server has no place for one more; the detail says what to raise.
    pub const fn overloaded(detail: &'static str) -> Self {
        Self {
            problem: ErrorCode::Overloaded,
            code: ErrorCode::Overloaded,
            close: CloseCode::OVERLOADED,
            detail,
            limit: None,
            reason: None,
        }
    }

    /// The server is going away; the detail says what to do.
    pub const fn unavailable(detail: &'static str) -> Self {
        Self {
            problem: ErrorCode::Unavailable,
            code: ErrorCode::Unavailable,
            close: CloseCode::OVERLOADED,
            detail,
            limit: None,
            reason: None,
        }
    }

    /// The same with the limit that was reached.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    fn details(&self) -> Option<Details> {
        self.limit.map(Details::limit)
    }

    /// The same, counted under this reason.
    #[must_use]
    pub const fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The text frame that tells why through the open socket.
    pub fn frame(&self) -> String {
        let body = ErrorBody::new(self.code.as_str(), self.detail);
        match self.details() {
            Some(details) => body.with_details(details).frame(),
            None => body.frame(),
        }
    }

    /// The code of the close frame that follows.
    pub const fn close_code(&self) -> CloseCode {
        self.close
    }

    /// The reason in it.
    pub const fn close_reason(&self) -> &'static str {
        self.code.as_str()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(refusal.problem, refusal.detail);
        if let Some(details) = refusal.details() {
            problem = problem.with_details(details);
        }
        if let Some(reason) = refusal.reason {
            problem = problem.with_reason(reason);
        }
        if refusal.problem.status() == 503 {
            problem.with_header(RETRY_AFTER.0, RETRY_AFTER.1)
        } else {
            problem
        }
    }
}

/// The answer to a request that the application refused.
impl From<&Rejection> for Response {
    fn from(rejection: &Rejection) -> Self {
        let (status, detail) = (rejection.status(), rejection.reason());
        // Without a title: whoever chooses a status of his own has none for it here.
        let body = Body {
            kind: "about:blank",
            title: None,
            status,
            detail,
            code: rejection.code().as_str(),
            details: None,
        };
        let mut response = Self::from(body);
        if status == 503 {
            response.headers.push(RETRY_AFTER);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomcast_core::Payload;

    fn check(
        method: &str,
        query: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<Upgrade, u16> {
        let request = Request {
            method,
            path: "/ws",
            query,
            headers,
            local: false,
            loopback_listener: false,
            http_1_0: false,
        };
        Upgrade::check(&request).map_err(|problem| problem.code().status())
    }

    #[test]
    fn an_upgrade_says_what_it_wants() {
        let upgrade = ("upgrade", "WebSocket");
        let plain = check("GET", "", &[upgrade]).expect("an upgrade");
        assert!(!plain.welcome && !plain.refuse_in_band);
        let offers = ("sec-websocket-protocol", "x, roomcast.v1");
        let full = check("GET", "a=b&refuse=close", &[upgrade, offers]).expect("an upgrade");
        assert!(full.welcome && full.refuse_in_band);
    }

    #[test]
    fn what_is_no_upgrade_is_answered() {
        assert_eq!(check("POST", "", &[("upgrade", "websocket")]), Err(405));
        assert_eq!(check("GET", "", &[]), Err(426));
        assert_eq!(check("HEAD", "", &[]), Err(426));
        assert_eq!(check("HEAD", "", &[("upgrade", "websocket")]), Err(426));
        assert_eq!(check("GET", "", &[("upgrade", "h2c")]), Err(400));
    }

    #[test]
    fn what_an_application_refuses_has_its_status() {
        let response = Response::from(&Rejection::forbidden("pay first").with_status(402));
        assert_eq!(response.status, 402);
        let body = r#"{"type":"about:blank","status":402,"detail":"pay first","code":"forbidden"}"#;
        assert_eq!(response.body, body.as_bytes());
        let full = Response::from(&Rejection::overloaded("full"));
        assert!(full.headers.contains(&("retry-after", "5")));
    }

    #[test]
    fn a_refusal_is_told_both_ways() {
        for refusal in [
            Refusal::ORIGIN,
            Refusal::ORIGIN_BEHIND_PROXY,
            Refusal::HOST,
            Refusal::NAMESPACE,
            Refusal::overloaded("full"),
            Refusal::unavailable("ends"),
        ] {
            assert!(Payload::parse(&refusal.frame()).is_ok(), "{refusal:?}");
            assert!(refusal.close_reason().len() <= 123);
            let response = Response::from(Problem::from(refusal));
            let retry = response.headers.contains(&("retry-after", "5"));
            assert_eq!(retry, response.status == 503);
        }
    }
}
