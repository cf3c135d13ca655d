//! The right to use the API.

use crate::{
    access::{Access, ApiKey, KeyScopes, host_only, is_loopback_host, scopes},
    api,
    problem::Problem,
    request::{Headers, Request},
};

impl Access {
    /// Checks that a request may use the API. `is_proxied` says that an earlier request had a
    /// [`proxy_sign`](Request::proxy_sign).
    ///
    /// With keys, a request needs one whose scope allows the call. Without keys, the API is open to
    /// programs of this machine that run as the same user, and to this server's own page. It is
    /// closed to other pages in a browser of this machine, whatever name resolves to the machine,
    /// and to all once a proxy stands before the server, whose visitors look like local programs.
    ///
    /// A request that is not a call of the API needs no scope: [`ApiRequest::read`] refuses it.
    ///
    /// # Errors
    ///
    /// The answer when the request may not use the API.
    ///
    /// [`ApiRequest::read`]: crate::ApiRequest::read
    pub fn authorize<H: Headers>(
        &self,
        request: &Request<'_, H>,
        is_proxied: bool,
    ) -> Result<(), Problem> {
        let problem = if !self.api_keys.is_empty() {
            return self.check_key(request);
        } else if !self.keyless_api {
            Problem::KeylessOff
        } else if !self.is_for_this_machine() {
            Problem::KeylessOpen
        } else if is_proxied || request.proxy_sign().is_some() {
            Problem::KeylessProxied
        } else if request.other_user {
            Problem::KeylessUser
        } else {
            let host = request.first("host").unwrap_or_default();
            let is_own =
                |origin: &str| origin.split_once("://").is_some_and(|(_, own)| own == host);
            if request.local
                && is_loopback_host(host_only(&host))
                && request.first("origin").is_none_or(|origin| is_own(&origin))
            {
                return Ok(());
            }
            Problem::KeylessForeign
        };
        Err(problem)
    }

    /// True when a request has a known key, whatever its scope.
    pub fn has_key<H: Headers>(&self, request: &Request<'_, H>) -> bool {
        self.granted(request).is_ok()
    }

    /// Checks that the key of a request is one of the known ones, and allows the call.
    fn check_key<H: Headers>(&self, request: &Request<'_, H>) -> Result<(), Problem> {
        let granted = self.granted(request)?;
        match api::scope(request.method, request.path) {
            Some(needed) if !granted.allow(needed) => Err(Problem::Scope(needed)),
            _ => Ok(()),
        }
    }

    /// The scopes of the key of a request.
    fn granted<H: Headers>(&self, request: &Request<'_, H>) -> Result<KeyScopes, Problem> {
        let header = request.first("authorization");
        let given = header.as_deref().and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
        });
        let given = given.ok_or(Problem::Unauthorized)?;
        let granted = scopes(&self.api_keys, given);
        if granted.is_empty() {
            return Err(match ApiKey::is_hashed(given) {
                true => Problem::KeyHash,
                false => Problem::Unauthorized,
            });
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec};

    use roomcast_core::{ErrorCode, wire::Coded};

    use super::*;
    use crate::{
        access::KeyScope,
        problem::Reason,
        request::tests::{Pairs, get},
    };

    fn request(headers: &Pairs, local: bool) -> Request<'static, &Pairs> {
        Request {
            local,
            loopback_listener: local,
            ..get("/", headers)
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
            admin_elsewhere: false,
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

    /// Every call of the API, with the scope that it needs.
    const CALLS: &[(&str, &str, KeyScope)] = &[
        ("POST", "send", KeyScope::Publish),
        ("GET", "rooms", KeyScope::Read),
        ("HEAD", "rooms", KeyScope::Read),
        ("GET", "rooms/r", KeyScope::Read),
        ("GET", "rooms/r/members", KeyScope::Read),
        ("GET", "rooms/r/history", KeyScope::Read),
        ("GET", "room", KeyScope::Read),
        ("GET", "room/members", KeyScope::Read),
        ("GET", "room/history", KeyScope::Read),
        ("GET", "connections", KeyScope::Read),
        ("GET", "connections/1", KeyScope::Read),
        ("PUT", "rooms/r/members/1", KeyScope::Admin),
        ("DELETE", "rooms/r/members/1", KeyScope::Admin),
        ("PUT", "room/members/1", KeyScope::Admin),
        ("DELETE", "room/members/1", KeyScope::Admin),
        ("DELETE", "connections", KeyScope::Admin),
        ("DELETE", "connections/1", KeyScope::Admin),
    ];

    fn scoped() -> Access {
        let keys = KeyScope::ALL.map(|scope| ApiKey::new(scope.as_str()).with_scope(scope));
        Access {
            api_keys: keys.into(),
            ..Access::default()
        }
    }

    #[test]
    fn a_key_does_what_its_scope_allows() {
        let access = scoped();
        for &(method, call, needed) in CALLS {
            for (scope, header) in [
                (KeyScope::Publish, "Bearer publish"),
                (KeyScope::Read, "Bearer read"),
                (KeyScope::Admin, "Bearer admin"),
            ] {
                let path = format!("/api/v1/default/{call}");
                let fields = [("authorization", header)];
                let headers: &Pairs = &fields;
                let request = Request {
                    method,
                    ..get(&path, headers)
                };
                let answer = access.authorize(&request, false);
                if scope == needed || scope == KeyScope::Admin {
                    assert_eq!(answer, Ok(()), "{method} {call} with {header}");
                    continue;
                }
                let problem = answer.expect_err(call);
                assert_eq!(problem, Problem::Scope(needed), "{method} {call}");
                assert_eq!(problem.code(), ErrorCode::Forbidden);
                assert_eq!(problem.reason(), Some(Reason::Scope));
                let told = problem.to_string();
                assert!(told.contains(&format!("`{}`", needed.as_str())), "{told}");
            }
        }
    }

    /// An answer that there is no such call, which tells nothing.
    #[test]
    fn what_is_no_call_needs_a_key_and_no_scope() {
        let access = scoped();
        for (method, path) in [
            ("GET", "/api/v1/default/nothing"),
            ("POST", "/api/v1/default/rooms"),
            ("PATCH", "/api/v1/default/send"),
            ("GET", "/api/v2/default/rooms"),
            ("GET", "/api/%"),
        ] {
            for (header, answered) in [
                ("Bearer read", Ok(())),
                ("Bearer wrong", Err(Problem::Unauthorized)),
            ] {
                let fields = [("authorization", header)];
                let headers: &Pairs = &fields;
                let request = Request {
                    method,
                    ..get(path, headers)
                };
                assert_eq!(access.authorize(&request, false), answered, "{path}");
            }
        }
    }

    #[test]
    fn the_hash_of_a_key_is_no_key() {
        let access = Access {
            api_keys: vec![ApiKey::new("first")],
            ..Access::default()
        };
        let hash = format!("Bearer {}", access.api_keys[0].hashed()).leak();
        let fields = [("authorization", &*hash)];
        let headers: &Pairs = &fields;
        let refused = access.authorize(&request(headers, true), false);
        assert_eq!(refused, Err(Problem::KeyHash));
        assert_eq!(Problem::KeyHash.code(), ErrorCode::Unauthorized);
        assert_eq!(Problem::KeyHash.reason(), Some(Reason::Key));
    }
}
