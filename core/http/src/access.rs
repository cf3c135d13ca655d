//! Rules of access: who may use the API, who may connect, and to which namespaces.

mod api_key;
mod host_name;
mod host_rule;
mod notices;
mod origin_rule;
mod proxy;
mod slip;

use alloc::{format, string::String, vec::Vec};

pub use self::{
    api_key::{ApiKey, ApiKeyError},
    host_rule::{HostRule, HostRuleError},
    notices::RefusalNotices,
    origin_rule::{OriginRule, OriginRuleError},
};
use self::{
    host_name::{host_only, is_loopback_host, is_upstream_host},
    origin_rule::{may_connect, split},
};
use crate::{
    problem::Problem,
    request::{Headers, NAMESPACE_FORM, Request, is_namespace, is_text},
    settings::setting::SettingError,
};

/// Rules of access: who may use the API, who may connect, and to which namespaces. By default there
/// is no key and no list of origins, any namespace is allowed, and the page and the metrics are
/// served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Keys of the API; default none: it then answers programs on the same machine only. Two at a
    /// time allow to change keys without a gap.
    pub api_keys: Vec<ApiKey>,
    /// Lets programs on the same machine use the API while it has no key; default yes, so that it
    /// can be tried out. It is for a server that nobody else reaches: no, wherever
    /// [`allow_origins`](Self::allow_origins) or [`allow_hosts`](Self::allow_hosts) names something
    /// that is not loopback.
    pub keyless_api: bool,
    /// Browser origins that may connect, beside the server's own; default none.
    pub allow_origins: Vec<OriginRule>,
    /// Names under which a host that listens on loopback is taken, beside loopback ones; default
    /// none: a web page can point a name of its own at this machine, and would be of one origin
    /// with it.
    pub allow_hosts: Vec<HostRule>,
    /// The namespaces there are; default any.
    pub namespaces: Option<Vec<String>>,
    /// Serves the page to try the host with; default yes.
    pub page: bool,
    /// Serves metrics, where the host has some; default yes.
    pub metrics: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            keyless_api: true,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            namespaces: None,
            page: true,
            metrics: true,
        }
    }
}

impl Access {
    /// Checks that the list of namespaces holds names.
    ///
    /// # Errors
    ///
    /// When it holds something else.
    pub fn check(&self) -> Result<(), SettingError> {
        let mut names = self.namespaces.iter().flatten();
        names
            .find(|name| !is_namespace(name))
            .map_or(Ok(()), |bad| {
                let fault = format!("lists {bad:?}, which is no namespace: {NAMESPACE_FORM}");
                Err(SettingError::new("namespaces", fault))
            })
    }

    /// True when a request asks for the host under a name that it is taken under.
    ///
    /// A program that can only be on this machine may be a browser whose page has pointed a name of
    /// its own here. So the name must be a loopback one, or listed. A proxy passes on any name, and
    /// shows by a header field that a page cannot add to a WebSocket. A request without a name, in
    /// HTTP/1.0, is of no browser.
    pub(crate) fn takes_host<H: Headers>(&self, request: &Request<'_, H>) -> bool {
        if !(request.local && request.loopback_listener) || request.proxy_sign().is_some() {
            return true;
        }
        request.first("host").is_none_or(|host| {
            let host = host_only(&host);
            is_loopback_host(host) || self.allow_hosts.iter().any(|rule| rule.allows(host))
        })
    }

    /// Checks that a request may open a WebSocket in a namespace, given by its name.
    ///
    /// # Errors
    ///
    /// The reason why the request may not open it.
    pub fn admit<H: Headers>(
        &self,
        request: &Request<'_, H>,
        namespace: &str,
    ) -> Result<(), Problem> {
        if !self.takes_host(request) {
            return Err(Problem::Host);
        }
        let mut origins = request.headers.values("origin");
        // An origin that is no text, or one of several, is a stranger's.
        let origin = origins.next().map(|origin| match origins.next() {
            None if is_text(&origin) => origin,
            _ => "null".into(),
        });
        let host = request.first("host").unwrap_or_default();
        if !may_connect(origin.as_deref(), &host, request.local, &self.allow_origins) {
            let is_page = origin.is_some_and(|origin| split(&origin).is_some());
            return Err(if is_page && is_upstream_host(host_only(&host)) {
                Problem::OriginBehindProxy
            } else {
                Problem::Origin
            });
        }
        self.check_namespace(namespace)
    }

    /// True when a text is the name of a namespace, and is in the list of namespaces if there is
    /// one.
    pub fn has_namespace(&self, name: &str) -> bool {
        let is_listed = |names: &Vec<String>| names.iter().any(|listed| listed == name);
        is_namespace(name) && self.namespaces.as_ref().is_none_or(is_listed)
    }

    /// The same as an error.
    pub(crate) fn check_namespace(&self, name: &str) -> Result<(), Problem> {
        let found = self.has_namespace(name).then_some(());
        found.ok_or(Problem::NoNamespace)
    }

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
        let problem = if !self.api_keys.is_empty() {
            let given = request.first("authorization");
            let given = given.as_deref().and_then(|value| {
                let (scheme, key) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
            });
            // Every key is compared, so that the time does not tell which one is nearer.
            let matches = |known, key: &ApiKey| known | given.is_some_and(|it| key.matches(it));
            if self.api_keys.iter().fold(false, matches) {
                return Ok(());
            }
            Problem::Unauthorized
        } else if !self.keyless_api {
            Problem::KeylessOff
        } else if !self.is_for_this_machine() {
            Problem::KeylessOpen
        } else if is_proxied || request.proxy_sign().is_some() {
            Problem::KeylessProxied
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
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use roomcast_core::{ErrorCode, wire::Coded};

    use super::*;
    use crate::{
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

    #[test]
    fn on_loopback_a_foreign_name_is_refused_on_every_path() {
        let access = Access {
            allow_hosts: vec!["chat.example".parse().expect("a rule")],
            ..Access::default()
        };
        let ask = |path: &'static str, headers: &'static Pairs, reached: [bool; 3]| {
            let [local, loopback_listener, http_1_0] = reached;
            let request = Request {
                path,
                local,
                loopback_listener,
                http_1_0,
                ..request(headers, local)
            };
            let routed = access.route(&request);
            let found = !matches!(&routed, Err(problem) if problem.reason() == Some(Reason::Host));
            let admitted = access.admit(&request, "default") != Err(Problem::Host);
            (found, admitted)
        };
        let here = [true, true, false];
        let rebound: &Pairs = &[
            ("host", "evil.example:3000"),
            ("origin", "http://evil.example:3000"),
        ];
        for path in ["/", "/metrics", "/api/v1/default/rooms", "/nothing"] {
            assert_eq!(ask(path, rebound, here), (false, false), "{path}");
        }
        // What tells nothing, or is told in its own way.
        for path in ["/healthz", "/readyz", "/ws", "/ws/a"] {
            assert_eq!(ask(path, rebound, here), (true, false), "{path}");
        }
        assert!(
            ask("/", &[], [true, true, true]).0,
            "HTTP/1.0 without a name"
        );
        let empty: &Pairs = &[("host", "")];
        assert_eq!(ask("/", empty, here), (false, false));
        for good in [
            &[("host", "localhost:3000")],
            &[("host", "a.localhost")],
            &[("host", "127.0.0.1:3000")],
            &[("host", "[::1]:3000")],
            &[("host", "Chat.example:8080")],
        ] as [&Pairs; 5]
        {
            assert_eq!(ask("/", good, here), (true, true), "{good:?}");
        }
        // A peer or an address that is not this machine's, and proxies.
        assert_eq!(ask("/", rebound, [false, false, false]), (true, true));
        assert_eq!(ask("/", rebound, [true, false, false]), (true, true));
        assert_eq!(ask("/", rebound, [true, true, true]), (true, true));
        let passed_on: &Pairs = &[("host", "a.example"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(ask("/", passed_on, here), (true, true));
    }

    #[test]
    fn a_rewritten_host_is_named_where_it_is_likely() {
        let access = Access::default();
        let refusal = |host: &'static str, origin: &'static str| {
            let headers: &Pairs = &[("host", host), ("origin", origin)];
            access.admit(&request(headers, false), "default")
        };
        let page = "https://chat.example";
        for host in [
            "127.0.0.1:3000",
            "localhost",
            "roomcast",
            "app_servers:80",
            "10.0.0.7:3000",
        ] {
            assert_eq!(
                refusal(host, page),
                Err(Problem::OriginBehindProxy),
                "{host}"
            );
        }
        assert_eq!(refusal("other.example", page), Err(Problem::Origin));
        assert_eq!(refusal("127.0.0.1:3000", "null"), Err(Problem::Origin));
    }

    #[test]
    fn one_origin_is_looked_at_and_several_are_refused() {
        let access = Access::default();
        let (host, own) = (("host", "a.com"), ("origin", "https://a.com"));
        let admit = |headers: &Pairs, name| access.admit(&request(headers, false), name);
        assert_eq!(admit(&[host, own], "default"), Ok(()));
        assert_eq!(admit(&[host], "default"), Ok(()));
        let refused = Err(Problem::Origin);
        assert_eq!(admit(&[host, own, own], "default"), refused);
        let joined = ("origin", "https://a.com, https://a.com");
        assert_eq!(admit(&[host, joined], "default"), refused);
        assert_eq!(admit(&[host, own], "a b"), Err(Problem::NoNamespace));
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
