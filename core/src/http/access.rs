//! Who may use the API and connect, and to which namespaces.

use alloc::{format, string::String, vec::Vec};

use super::{
    ApiKey, Headers, OriginRule, Problem, ProblemCode, Refusal, Request,
    origin::{host_only, is_loopback_host, may_connect},
    request::is_text,
};
use crate::settings::{SettingError, Vars};

/// Who may use the API and connect, and to which namespaces. The default has no key, no list of
/// origins and any namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// Keys of the API; default none: it then answers programs on the same machine only. Two at a
    /// time allow to change keys without a gap.
    pub api_keys: Vec<ApiKey>,
    /// Browser origins that may connect, beside the server's own; default none.
    pub allow_origins: Vec<OriginRule>,
    /// The namespaces there are; default any.
    pub namespaces: Option<Vec<String>>,
}

impl Access {
    /// Reads `ROOMCAST_API_KEY`, `ROOMCAST_ALLOW_ORIGIN` and `ROOMCAST_NAMESPACES`, each a list
    /// separated by commas.
    ///
    /// # Errors
    ///
    /// The first variable that must change.
    pub fn from_vars<F>(vars: &Vars<F>) -> Result<Self, SettingError>
    where
        F: Fn(&'static str) -> Option<String>,
    {
        let access = Self {
            api_keys: vars.list("ROOMCAST_API_KEY")?,
            allow_origins: vars.list("ROOMCAST_ALLOW_ORIGIN")?,
            namespaces: Some(vars.list(NAMESPACES)?).filter(|names| !names.is_empty()),
        };
        access.check()?;
        Ok(access)
    }

    /// Checks that the list of namespaces holds names.
    ///
    /// # Errors
    ///
    /// When it holds something else.
    pub fn check(&self) -> Result<(), SettingError> {
        match self
            .namespaces
            .iter()
            .flatten()
            .find(|name| !is_namespace(name))
        {
            None => Ok(()),
            Some(bad) => Err(SettingError::new(
                NAMESPACES,
                format!("lists {bad:?}, which is no namespace: 1 to 64 of A-Z a-z 0-9 _ -"),
            )),
        }
    }

    /// Whether a request may use the API.
    ///
    /// With keys, whoever has one. Without, programs of this machine, and this server's own page:
    /// not other pages in a browser of this machine, whatever name they resolve to it.
    ///
    /// # Errors
    ///
    /// The answer when it may not.
    pub fn authorize<H: Headers>(&self, request: &Request<'_, H>) -> Result<(), Problem> {
        if self.api_keys.is_empty() {
            let host = request.first("host").unwrap_or_default();
            let local = request.local && is_loopback_host(host_only(&host));
            let foreign = request
                .first("origin")
                .is_some_and(|origin| origin.split_once("://").is_none_or(|(_, own)| own != host));
            return if local && !foreign {
                Ok(())
            } else {
                Err(Problem::new(
                    ProblemCode::Forbidden,
                    "without a key the API answers programs on loopback only: set ROOMCAST_API_KEY \
                     (--api-key)",
                ))
            };
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
        if known {
            Ok(())
        } else {
            Err(Problem::new(
                ProblemCode::Unauthorized,
                "send Authorization: Bearer KEY, with a key that ROOMCAST_API_KEY (--api-key) gives \
                 the server",
            )
            .with_header("www-authenticate", "Bearer"))
        }
    }

    /// Whether a request may open a WebSocket in a namespace, given by its name.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub fn admit<H: Headers>(
        &self,
        request: &Request<'_, H>,
        namespace: &str,
    ) -> Result<(), Refusal> {
        let mut origins = request.headers.values("origin");
        let origin = origins.next().map(|origin| {
            // An origin that is no text, or one of several, is a stranger's.
            if is_text(&origin) && origins.next().is_none() {
                origin
            } else {
                "null".into()
            }
        });
        let host = request.first("host").unwrap_or_default();
        if !may_connect(origin.as_deref(), &host, request.local, &self.allow_origins) {
            return Err(Refusal::ORIGIN);
        }
        if !self.has_namespace(namespace) {
            return Err(Refusal::NAMESPACE);
        }
        Ok(())
    }

    /// Whether a text is the name of a namespace, and listed where there is a list.
    pub fn has_namespace(&self, name: &str) -> bool {
        is_namespace(name)
            && self
                .namespaces
                .as_ref()
                .is_none_or(|names| names.iter().any(|listed| listed == name))
    }
}

const NAMESPACES: &str = "ROOMCAST_NAMESPACES";

/// What a refusal says about a name that [`Access::has_namespace`] does not know.
pub(super) const NO_NAMESPACE: &str = "no such namespace: a name is 1 to 64 of A-Z a-z 0-9 _ -, and \
    listed in ROOMCAST_NAMESPACES (--namespaces) where that is set";

/// Whether a text is a namespace name: 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn is_namespace(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;

    type Pairs = [(&'static str, &'static str)];

    fn request(headers: &Pairs, local: bool) -> Request<'static, &Pairs> {
        Request {
            method: "GET",
            path: "/",
            query: "",
            headers,
            local,
        }
    }

    fn authorized(access: &Access, headers: &Pairs, local: bool) -> Result<(), ProblemCode> {
        let answer = access.authorize(&request(headers, local));
        answer.map_err(|problem| problem.code())
    }

    #[test]
    fn without_a_key_only_this_machine_is_served() {
        let access = Access::default();
        let here = ("host", "localhost:3000");
        assert_eq!(authorized(&access, &[here], true), Ok(()));
        let own = ("origin", "http://localhost:3000");
        assert_eq!(authorized(&access, &[here, own], true), Ok(()));
        let refused = Err(ProblemCode::Forbidden);
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
            let refused = Err(ProblemCode::Unauthorized);
            assert_eq!(authorized(&access, &headers, true), refused, "{bad}");
        }
    }

    #[test]
    fn one_origin_is_looked_at_and_several_are_refused() {
        let access = Access::default();
        let (host, own) = (("host", "a.com"), ("origin", "https://a.com"));
        let admit = |headers: &Pairs, name| access.admit(&request(headers, false), name);
        assert_eq!(admit(&[host, own], "default"), Ok(()));
        assert_eq!(admit(&[host], "default"), Ok(()));
        let refused = Err(Refusal::ORIGIN);
        assert_eq!(admit(&[host, own, own], "default"), refused);
        let joined = ("origin", "https://a.com, https://a.com");
        assert_eq!(admit(&[host, joined], "default"), refused);
        assert_eq!(admit(&[host, own], "a b"), Err(Refusal::NAMESPACE));
    }

    #[test]
    fn namespaces_are_plain_words() {
        assert!(is_namespace("default") && is_namespace(&"a".repeat(64)));
        for bad in ["", "a b", "é", "a/b", ".", &"a".repeat(65)] {
            assert!(!is_namespace(bad), "{bad:?}");
        }
    }

    #[test]
    fn lists_come_from_variables() {
        let read = |name, value: &str| {
            let value = value.to_string();
            Access::from_vars(&Vars::new(move |other| {
                (other == name).then(|| value.clone())
            }))
        };
        let access = read(NAMESPACES, "a,b").expect("names");
        assert!(access.has_namespace("b") && !access.has_namespace("c"));
        let access = read("ROOMCAST_API_KEY", "one,two").expect("keys");
        assert_eq!(access.api_keys.len(), 2);
        assert!(access.has_namespace("c"));
        for (name, bad) in [
            (NAMESPACES, "a,,b"),
            (NAMESPACES, ""),
            ("ROOMCAST_API_KEY", "a b"),
            ("ROOMCAST_ALLOW_ORIGIN", "*"),
        ] {
            let fault = read(name, bad).expect_err(bad);
            assert_eq!(fault.name(), name);
            assert!(fault.to_string().starts_with(name), "{fault}");
        }
    }
}
