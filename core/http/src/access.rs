//! Rules of access: who may use the API, who may connect, and to which namespaces.

mod api_key;
mod host_name;
mod host_rule;
mod key_scope;
mod notices;
mod origin_rule;
mod proxy;
mod slip;
mod tokens;

use alloc::{format, string::String, vec::Vec};

pub(crate) use self::{
    api_key::scopes,
    host_name::{host_only, is_loopback_host},
    key_scope::KeyScopes,
    tokens::keys as token_keys,
};
pub use self::{
    api_key::{ApiKey, ApiKeyError},
    host_rule::{HostRule, HostRuleError},
    key_scope::KeyScope,
    notices::RefusalNotices,
    origin_rule::{OriginRule, OriginRuleError},
    tokens::{Credentials, TokenKey, TokenRefusal, Tokens, anonymous_identity, identity_of},
};
use self::{
    host_name::is_upstream_host,
    origin_rule::{may_connect, split},
};
use crate::{
    page::PageFile,
    problem::Problem,
    request::{Headers, NAMESPACE_BYTES_MAX, NAMESPACE_FORM, Request, is_namespace, is_text},
    settings::setting::SettingError,
};

/// The number of API keys, at most: enough for dozens of backends, and compared in microseconds.
const API_KEYS_MAX: usize = 64;

/// Rules of access: who may use the API, who may connect, and to which namespaces. By default there
/// is no key and no list of origins, any namespace is allowed, and the page and the metrics are
/// served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Keys of the API; default none: it then answers programs on the same machine only. Two keys
    /// of each scope make it possible to change keys without a gap. At most 64, since each call is
    /// compared with all of them.
    pub api_keys: Vec<ApiKey>,
    /// Lets programs on the same machine use the API while it has no key; default yes, so that it
    /// can be tried out. It is for a server that nobody else reaches: it has no effect if
    /// [`allow_origins`](Self::allow_origins) or [`allow_hosts`](Self::allow_hosts) names anything
    /// but loopback.
    pub keyless_api: bool,
    /// Browser origins that may connect, besides the server's own; default none.
    pub allow_origins: Vec<OriginRule>,
    /// Names under which a host that listens on loopback answers, besides loopback names; default
    /// none: a web page can point its own name at this machine, and would then have the same
    /// origin.
    pub allow_hosts: Vec<HostRule>,
    /// Tokens, by which connections are identified; default none.
    pub tokens: Tokens,
    /// The namespaces that exist; default any.
    pub namespaces: Option<Vec<String>>,
    /// Serves the page to try the host with; default yes.
    pub page: bool,
    /// Serves metrics, if the host has any; default yes.
    pub metrics: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            keyless_api: true,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            tokens: Tokens::default(),
            namespaces: None,
            page: true,
            metrics: true,
        }
    }
}

impl Access {
    /// Checks the number of keys, the settings of tokens, and that the list of namespaces holds
    /// names.
    ///
    /// # Errors
    ///
    /// The first setting that must change.
    pub fn check(&self) -> Result<(), SettingError> {
        self.tokens.check()?;
        let keys = self.api_keys.len();
        if keys > API_KEYS_MAX {
            let fault = format!(
                "has {keys} keys, and may have {API_KEYS_MAX}: each call is compared with all of \
                 them"
            );
            return Err(SettingError::new("api-key", fault));
        }
        let mut names = self.namespaces.iter().flatten();
        names
            .find(|name| !is_namespace(name))
            .map_or(Ok(()), |bad| {
                let fault = format!("lists {bad:?}, which is no namespace: {NAMESPACE_FORM}");
                Err(SettingError::new("namespaces", fault))
            })
    }

    /// True when a request names the host in a way that the host accepts.
    ///
    /// A program that can only be on this machine may be a browser whose page has pointed its own
    /// name here. So the name must be a loopback name, or listed. A proxy passes on any name, and
    /// shows by a header field that a page cannot add to a WebSocket. A request without a name, in
    /// HTTP/1.0, does not come from a browser.
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
        // An origin that is not text, or is one of several, counts as foreign.
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

    /// Checks that there is a namespace of this name; see [`has_namespace`](Self::has_namespace).
    pub(crate) fn check_namespace(&self, name: &str) -> Result<(), Problem> {
        if name.len() > NAMESPACE_BYTES_MAX {
            return Err(Problem::NamespaceLong);
        }
        let found = self.has_namespace(name).then_some(());
        found.ok_or(Problem::NoNamespace)
    }

    /// True when the settings let programs of this machine use the API without a key.
    pub fn has_keyless_api(&self) -> bool {
        self.api_keys.is_empty() && self.keyless_api && self.is_for_this_machine()
    }

    /// True when it matters which user of this machine runs the program that asks for a path: for
    /// the API without a key, and for the page, which uses it.
    pub fn asks_for_user(&self, path: &str) -> bool {
        self.has_keyless_api()
            && (path.starts_with("/api/")
                || matches!(path, "/inspect" | "/server")
                || PageFile::at(path).is_some())
    }

    /// True when nothing but loopback is listed.
    pub(crate) fn is_for_this_machine(&self) -> bool {
        self.allow_origins.iter().all(OriginRule::is_loopback)
            && self.allow_hosts.iter().all(HostRule::is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

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
        let (fits, long) = ("a".repeat(64), "a".repeat(65));
        assert_eq!(admit(&[host, own], &fits), Ok(()));
        assert_eq!(admit(&[host, own], &long), Err(Problem::NamespaceLong));
    }
}
