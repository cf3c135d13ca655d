//! The right to use the API.

use super::{
    Access, Headers, HostRule, OriginRule, Problem, Request,
    host_name::{host_only, is_loopback_host},
};

impl Access {
    /// True when the settings let programs of this machine use the API without a key.
    pub fn has_keyless_api(&self) -> bool {
        self.api_keys.is_empty() && self.keyless_api && self.is_for_this_machine()
    }

    /// True when nothing but loopback is listed.
    fn is_for_this_machine(&self) -> bool {
        self.allow_origins.iter().all(OriginRule::is_loopback)
            && self.allow_hosts.iter().all(HostRule::is_loopback)
    }

    /// Checks that a request may use the API. `is_proxied` says that an earlier request had a
    /// [`proxy_sign`](Request::proxy_sign).
    ///
    /// With keys, whoever has one. Without, programs of this machine, and this server's own page:
    /// not other pages in a browser of this machine, whatever name they resolve to it, and nobody
    /// once a proxy stands before the server, whose visitors look like programs of this machine.
    ///
    /// # Errors
    ///
    /// The answer when it may not.
    pub fn authorize<H: Headers>(
        &self,
        request: &Request<'_, H>,
        is_proxied: bool,
    ) -> Result<(), Problem> {
        if self.api_keys.is_empty() {
            return self.authorize_keyless(request, is_proxied);
        }
        let given = request.first("authorization");
        let given = given.as_deref().and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        // Every key is compared, so that the time does not tell which one is nearer.
        let mut known = false;
        for key in &self.api_keys {
            known |= given.is_some_and(|given| key.matches(given));
        }
        known.then_some(()).ok_or(Problem::Unauthorized)
    }

    fn authorize_keyless<H: Headers>(
        &self,
        request: &Request<'_, H>,
        is_proxied: bool,
    ) -> Result<(), Problem> {
        if !self.keyless_api {
            return Err(Problem::KeylessOff);
        }
        if !self.is_for_this_machine() {
            return Err(Problem::KeylessOpen);
        }
        if is_proxied || request.proxy_sign().is_some() {
            return Err(Problem::KeylessProxied);
        }
        let host = request.first("host").unwrap_or_default();
        let local = request.local && is_loopback_host(host_only(&host));
        let foreign = request
            .first("origin")
            .is_some_and(|origin| origin.split_once("://").is_none_or(|(_, own)| own != host));
        if !local || foreign {
            return Err(Problem::KeylessForeign);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use roomcast_core::{ErrorCode, wire::Coded};

    use super::*;
    use crate::{ApiKey, Reason};

    type Pairs = [(&'static str, &'static str)];

    fn request(headers: &Pairs, local: bool) -> Request<'static, &Pairs> {
        Request {
            method: "GET",
            path: "/",
            query: "",
            headers,
            local,
            loopback_listener: local,
            http_1_0: false,
        }
    }

    fn authorized(access: &Access, headers: &Pairs, local: bool) -> Result<(), ErrorCode> {
        let answer = access.authorize(&request(headers, local), false);
        answer.map_err(|problem| problem.code())
    }

    #[test]
    fn without_a_key_only_this_machine_is_served() {
        let access = Access::default();
        let here = ("host", "localhost:3000");
        assert_eq!(authorized(&access, &[here], true), Ok(()));
        let own = ("origin", "http://localhost:3000");
        assert_eq!(authorized(&access, &[here, own], true), Ok(()));
        let refused = Err(ErrorCode::Forbidden);
        assert_eq!(authorized(&access, &[here], false), refused);
        let rebound = ("host", "evil.example:3000");
        assert_eq!(authorized(&access, &[rebound], true), refused);
        for stranger in ["http://localhost:5173", "null", "\u{e9}://localhost:3000"] {
            let page = ("origin", stranger);
            assert_eq!(
                authorized(&access, &[here, page], true),
                refused,
                "{stranger}"
            );
        }
    }

    #[test]
    fn a_proxy_ends_the_api_without_a_key() {
        let access = Access::default();
        let here = ("host", "127.0.0.1:3000");
        let refused = Err(ErrorCode::Forbidden);
        for field in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
            let headers = [here, (field, "203.0.113.7")];
            assert_eq!(authorized(&access, &headers, true), refused, "{field}");
        }
        let headers: &Pairs = &[here];
        let plain = request(headers, true);
        let old = Request {
            http_1_0: true,
            ..plain
        };
        assert!(access.authorize(&plain, false).is_ok());
        for (request, is_proxied) in [(&old, false), (&plain, true)] {
            let problem = access.authorize(request, is_proxied).expect_err("a proxy");
            assert_eq!(problem.reason(), Some(Reason::KeylessApi));
        }
        let keyed = Access {
            api_keys: vec![ApiKey::new("key")],
            ..Access::default()
        };
        let headers: &Pairs = &[
            ("host", "a.com"),
            ("via", "1.0 a"),
            ("authorization", "Bearer key"),
        ];
        assert!(keyed.authorize(&request(headers, true), true).is_ok());
    }

    #[test]
    fn the_api_needs_a_key_where_others_are_let_in() {
        let here: &Pairs = &[("host", "127.0.0.1:3000")];
        let with = |origins: &[&str], hosts: &[&str]| Access {
            allow_origins: origins.iter().map(|o| o.parse().expect("a rule")).collect(),
            allow_hosts: hosts.iter().map(|h| h.parse().expect("a rule")).collect(),
            ..Access::default()
        };
        let local = [
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "http://*.localhost",
        ];
        for access in [with(&local, &[]), with(&[], &["app.localhost", "[::1]"])] {
            assert!(access.has_keyless_api());
            assert_eq!(authorized(&access, here, true), Ok(()));
        }
        let off = Access {
            keyless_api: false,
            ..Access::default()
        };
        for access in [
            with(&["http://localhost", "https://app.example"], &[]),
            with(&["https://localhost.evil.example"], &[]),
            with(&[], &["chat.example"]),
            off,
        ] {
            assert!(!access.has_keyless_api());
            let refused = Err(ErrorCode::Forbidden);
            assert_eq!(authorized(&access, here, true), refused, "{access:?}");
        }
    }

    #[test]
    fn any_of_the_keys_will_do() {
        let access = Access {
            api_keys: vec![ApiKey::new("first"), ApiKey::new("second")],
            ..Access::default()
        };
        for good in ["Bearer first", "bearer second", "BEARER  second "] {
            let headers = [("authorization", good)];
            assert_eq!(authorized(&access, &headers, false), Ok(()), "{good}");
        }
        for bad in ["first", "Basic first", "Bearer third", "Bearer "] {
            let headers = [("authorization", bad)];
            let refused = Err(ErrorCode::Unauthorized);
            assert_eq!(authorized(&access, &headers, true), refused, "{bad}");
        }
    }
}
