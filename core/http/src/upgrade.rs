//! Requests to upgrade to a WebSocket.

use crate::{
    problem::Problem,
    request::{Headers, Request},
    route::READ,
};

/// The subprotocol in which the server sends the first message. The answer to an upgrade names it
/// if [`Upgrade::welcome`].
pub const SUBPROTOCOL: &str = "roomcast.v1";

/// Header fields that an upgrade has only once: the name to look up, and the name to show.
const ONCE: [(&str, &str); 2] = [
    ("sec-websocket-version", "Sec-WebSocket-Version"),
    ("sec-websocket-key", "Sec-WebSocket-Key"),
];

/// Wishes of a client that it states in its upgrade request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upgrade {
    /// True when the client offers [`SUBPROTOCOL`], and so is greeted with `$welcome`.
    pub welcome: bool,
    /// True when the client asks to receive a refusal through the open socket. Clients in browsers
    /// do, because they cannot see an HTTP status.
    pub refuse_in_band: bool,
}

impl Upgrade {
    /// Reads a request for a WebSocket. It leaves to the host's HTTP library what that checks: the
    /// key, the version, `Connection`.
    ///
    /// # Errors
    ///
    /// The answer to a request that is not a valid upgrade.
    pub fn check<H: Headers>(request: &Request<'_, H>) -> Result<Self, Problem> {
        if !matches!(request.method, "GET" | "HEAD") {
            return Err(Problem::Method(READ));
        }
        // Only `GET` upgrades.
        if request.method == "HEAD" || request.first("upgrade").is_none() {
            return Err(Problem::NoUpgrade);
        }
        if !request.lists("upgrade", |item| item.eq_ignore_ascii_case("websocket")) {
            return Err(Problem::BadUpgrade);
        }
        for (name, shown) in ONCE {
            let mut values = request.headers.values(name);
            // Several fields may arrive as one, joined by commas.
            let is_joined = values.next().is_some_and(|first| first.contains(','));
            if is_joined || values.next().is_some() {
                return Err(Problem::Repeated(shown.into()));
            }
        }
        let length = request.first("content-length");
        let has_body = length.is_some_and(|length| length != "0");
        if has_body || request.first("transfer-encoding").is_some() {
            return Err(Problem::BadUpgrade);
        }
        Ok(Self {
            welcome: request.lists("sec-websocket-protocol", |item| item == SUBPROTOCOL),
            refuse_in_band: request.query.split('&').any(|pair| pair == "refuse=close"),
        })
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::wire::Coded;

    use super::*;
    use crate::request::tests::{Pairs, get};

    fn check(method: &str, query: &str, headers: &Pairs) -> Result<Upgrade, u16> {
        let request = Request {
            method,
            query,
            ..get("/ws", headers)
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
    fn an_upgrade_has_no_body_and_no_field_twice() {
        let upgrade = ("upgrade", "websocket");
        let checked = |fields: &[(&'static str, &'static str)]| {
            let fields = [&[upgrade], fields].concat();
            check("GET", "", &fields).map(|_| ())
        };
        let (version, key) = (
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "a=="),
        );
        assert_eq!(checked(&[version, key, ("content-length", "0")]), Ok(()));
        for fields in [
            &[("content-length", "10")][..],
            &[("transfer-encoding", "chunked")],
            &[version, version],
            &[("sec-websocket-version", "13, 13")],
            &[key, key],
            &[("sec-websocket-key", "a==, b==")],
        ] {
            assert_eq!(checked(fields), Err(400), "{fields:?}");
        }
    }
}
