//! Notices in the log of refusals, few enough that no stranger can fill it.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::{net::IpAddr, time::Duration};

use roomcast_core::Timestamp;

use super::{
    host_name::{host_only, is_upstream_host},
    host_rule::HostRule,
    origin_rule::{OriginRule, split},
    tokens::TokenRefusal,
};
use crate::{
    problem::Reason,
    request::{Headers, Request},
    trusted_proxy::NamedUserError,
};

/// The time for which a name has no second notice.
const QUIET: Duration = Duration::from_secs(60);
/// The number of names that are remembered. Further ones share one notice.
const NAMES_MAX: usize = 64;
/// The number of characters of a name that are shown.
const CHARS_MAX: usize = 100;

/// Refused origins, hosts and users of the last minute, and other reasons in it, so that each has
/// one notice in it.
///
/// Does work bounded by the number of names that are remembered, 64.
#[derive(Debug, Default)]
pub struct RefusalNotices {
    told: BTreeMap<(Reason, String), Timestamp>,
    told_of_others: Option<Timestamp>,
    told_of_reasons: BTreeMap<Reason, Timestamp>,
}

impl RefusalNotices {
    /// A line for the log about a refused request, when there is something to say that was not said
    /// within the minute. A browser shows its user nothing of a refused WebSocket, so the line says
    /// which flag would allow it; for others than [`Reason::Origin`] and [`Reason::Host`] as
    /// [`reason_notice`](Self::reason_notice) does.
    pub fn notice<H: Headers>(
        &mut self,
        reason: Reason,
        request: &Request<'_, H>,
        now: Timestamp,
    ) -> Option<String> {
        let is_origin = reason == Reason::Origin;
        if !is_origin && reason != Reason::Host {
            return self.reason_notice(reason, now);
        }
        let field = if is_origin { "origin" } else { "host" };
        let text = request.headers.values(field).next().unwrap_or_default();
        let shown: String = text.chars().take(CHARS_MAX).collect();
        let shown = shown.escape_default().to_string();
        self.once(reason, shown, now, |shown| {
            if is_origin {
                origin_notice(&text, shown, request)
            } else {
                host_notice(&text, shown)
            }
        })
    }

    /// A line for the log about a reason alone, where a setting is the remedy: the first of the
    /// minute.
    pub fn reason_notice(&mut self, reason: Reason, now: Timestamp) -> Option<String> {
        let remedy = remedy(reason)?;
        self.is_first(reason, now)
            .then(|| format!("refused {remedy}"))
    }

    fn is_first(&mut self, reason: Reason, now: Timestamp) -> bool {
        let is_recent = |at: &Timestamp| now.saturating_since(*at) < QUIET;
        let is_first = !self.told_of_reasons.get(&reason).is_some_and(is_recent);
        if is_first {
            self.told_of_reasons.insert(reason, now);
        }
        is_first
    }

    /// A line for the log about a refused user whom a peer names, as [`notice`](Self::notice) for
    /// other refusals. It says which address could be trusted, or what the proxy has to change, and
    /// does not name the user.
    pub fn user_notice(
        &mut self,
        error: NamedUserError,
        peer: IpAddr,
        now: Timestamp,
    ) -> Option<String> {
        let shown = format!("{peer}: {error}");
        self.once(Reason::UserHeader, shown, now, |shown| match error {
            NamedUserError::Untrusted => format!(
                "refused a user that {peer} names: if this is a proxy of yours, add --trusted-proxy \
                 {peer} (ROOMCAST_TRUSTED_PROXY)"
            ),
            NamedUserError::Several | NamedUserError::Empty | NamedUserError::Invalid => {
                format!("refused a user that is named by {shown}")
            }
        })
    }

    /// The line, unless one for this reason and name was given within the minute.
    fn once(
        &mut self,
        reason: Reason,
        shown: String,
        now: Timestamp,
        line: impl FnOnce(&str) -> String,
    ) -> Option<String> {
        let is_recent = |at: &Timestamp| now.saturating_since(*at) < QUIET;
        self.told.retain(|_, at| is_recent(at));
        if self.told.contains_key(&(reason, shown.clone())) {
            return None;
        }
        if self.told.len() >= NAMES_MAX {
            if self.told_of_others.as_ref().is_some_and(is_recent) {
                return None;
            }
            self.told_of_others = Some(now);
            return Some(format!(
                "refused more than {NAMES_MAX} origins, hosts and users within a minute: not all of them \
                 are named"
            ));
        }
        let line = line(&shown);
        self.told.insert((reason, shown), now);
        Some(line)
    }

    /// A line for the log about a refused token, with the cause, which its client is not told: the
    /// first of the minute for each reason.
    pub fn token_notice(&mut self, refusal: &TokenRefusal, now: Timestamp) -> Option<String> {
        self.is_first(refusal.reason(), now)
            .then(|| format!("refused a token: {refusal}"))
    }
}

/// The refused thing, and the setting that would let it in; `None` where there is none, or another
/// notice names it.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no setting
const fn remedy(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::Namespace => {
            "a namespace: the names of --namespaces (ROOMCAST_NAMESPACES) are all, where it is set"
        }
        Reason::Key => {
            "an API call without a key or with a wrong one: its key has to be one of --api-key \
             (ROOMCAST_API_KEY)"
        }
        Reason::Scope => {
            "an API call whose key has another scope: give the caller another key of --api-key \
             (ROOMCAST_API_KEY)"
        }
        Reason::KeylessApi => "an API call without a key: set --api-key (ROOMCAST_API_KEY)",
        Reason::Policy => {
            "an API call that the policy of its room does not allow: see [[rooms]] of --config"
        }
        Reason::Connections => {
            "a connection, for there are too many: raise --connections-max \
             (ROOMCAST_CONNECTIONS_MAX) and the limit of open files, or add a server"
        }
        Reason::ConnectionsPerAddress => {
            "a connection of an address that has too many: raise --connections-per-address-max \
             (ROOMCAST_CONNECTIONS_PER_ADDRESS_MAX), or name the proxy in --trusted-proxy \
             (ROOMCAST_TRUSTED_PROXY)"
        }
        Reason::ConnectionsPerUser => {
            "a connection of a user who has too many: raise --connections-per-user-max \
             (ROOMCAST_CONNECTIONS_PER_USER_MAX)"
        }
        Reason::Namespaces => {
            "what needs one more namespace: raise --namespaces-max (ROOMCAST_NAMESPACES_MAX)"
        }
        _ => return None,
    })
}

fn origin_notice<H: Headers>(origin: &str, shown: &str, request: &Request<'_, H>) -> String {
    let Some(flag) = origin_flag(origin) else {
        return format!(
            "refused the origin \"{shown}\": no --allow-origin can name it, serve the page over http or https"
        );
    };
    let host = request.first("host").unwrap_or_default();
    let proxy = if is_upstream_host(host_only(&host)) {
        "; or, if that is this server's own address, have the proxy pass the Host header on as it came"
    } else {
        ""
    };
    format!(
        "refused the origin \"{shown}\": to let its pages connect, add --allow-origin {flag} (ROOMCAST_ALLOW_ORIGIN){proxy}"
    )
}

/// The origin as a value of the flag. `None` if the flag does not accept it, or if it would be
/// more than a name where an operator pastes it.
fn origin_flag(origin: &str) -> Option<String> {
    let (scheme, authority) = split(origin)?;
    plain(&authority)?;
    let flag = format!("{scheme}://{authority}");
    let rule: OriginRule = flag.parse().ok()?;
    rule.allows(&scheme, &authority).then_some(flag)
}

fn host_notice(host: &str, shown: &str) -> String {
    match plain(host) {
        Some(name) => format!(
            "refused the host \"{shown}\": a server on loopback is taken under loopback names only; if \
             this name is yours, add --allow-host {name} (ROOMCAST_ALLOW_HOST)"
        ),
        None => format!("refused the host \"{shown}\": it is no host name"),
    }
}

/// The host of an origin or of a `Host` header as a value of a setting: `None` if it is not a plain
/// name.
fn plain(text: &str) -> Option<String> {
    let host = host_only(text);
    let is_plain = !host.contains('*') && host.is_ascii();
    let rule = host.parse::<HostRule>().ok().filter(|_| is_plain)?;
    Some(rule.to_string())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{access::origin_rule::may_connect, request::tests::get};

    fn notice(
        notices: &mut RefusalNotices,
        reason: Reason,
        (origin, host): (&'static str, &'static str),
        ms: u64,
    ) -> Option<String> {
        let headers: &[(&str, &str)] = &[("origin", origin), ("host", host)];
        notices.notice(reason, &get("/ws", headers), Timestamp::from_millis(ms))
    }

    #[test]
    fn an_origin_is_told_of_once_a_minute_with_the_flag_to_add() {
        let mut notices = RefusalNotices::default();
        let page = ("https://App.example:443", "chat.example");
        let line = notice(&mut notices, Reason::Origin, page, 0).expect("a notice");
        assert!(line.contains("\"https://App.example:443\""), "{line}");
        assert!(
            line.ends_with("add --allow-origin https://app.example (ROOMCAST_ALLOW_ORIGIN)"),
            "{line}"
        );
        assert_eq!(notice(&mut notices, Reason::Origin, page, 59_999), None);
        let other = ("https://other.example", "chat.example");
        assert!(notice(&mut notices, Reason::Origin, other, 59_999).is_some());
        assert!(notice(&mut notices, Reason::Origin, page, 60_000).is_some());
        assert_eq!(notice(&mut notices, Reason::Draining, page, 200_000), None);
    }

    #[test]
    fn a_reason_with_a_setting_is_told_of_once_a_minute() {
        let mut notices = RefusalNotices::default();
        let page = ("https://app.example", "chat.example");
        for (reason, setting) in [
            (Reason::Namespace, "--namespaces (ROOMCAST_NAMESPACES)"),
            (Reason::Namespaces, "--namespaces-max"),
            (Reason::Key, "--api-key (ROOMCAST_API_KEY)"),
            (Reason::Scope, "--api-key"),
            (Reason::KeylessApi, "--api-key"),
            (Reason::Policy, "[[rooms]]"),
            (Reason::Connections, "--connections-max"),
            (
                Reason::ConnectionsPerAddress,
                "--connections-per-address-max",
            ),
            (Reason::ConnectionsPerUser, "--connections-per-user-max"),
        ] {
            let line = notice(&mut notices, reason, page, 0).expect(setting);
            assert!(
                line.starts_with("refused ") && line.contains(setting),
                "{line}"
            );
            assert_eq!(notice(&mut notices, reason, page, 59_999), None);
            assert!(notice(&mut notices, reason, page, 60_000).is_some());
        }
    }

    #[test]
    fn each_cause_of_a_refused_token_is_told_once_a_minute() {
        let mut notices = RefusalNotices::default();
        let mut told = |refusal, ms| notices.token_notice(&refusal, Timestamp::from_millis(ms));
        let line = told(TokenRefusal::Several, 0).expect("a notice");
        let begin = "refused a token: the request has two different tokens: ";
        assert!(line.starts_with(begin), "{line}");
        assert_eq!(told(TokenRefusal::Several, 59_999), None);
        assert!(told(TokenRefusal::Missing, 59_999).is_some());
        assert!(told(TokenRefusal::Several, 60_000).is_some());
    }

    #[test]
    fn the_flag_lets_the_page_in_that_was_refused() {
        for origin in [
            "https://app.example",
            "https://App.example:8443",
            "https://app.example.",
            "chrome-extension://abcdefghijklmnop",
            "moz-extension://3c0c2d57-6f6e-4d50-9b1c-0c6f2d3e4a5b",
            "vscode-webview://1a2b3c",
            "web+app.x://page",
            "capacitor://localhost",
            "http://[2001:db8::1]:5173",
            "http://[::ffff:102:304]",
            "http://192.0.2.7:5173",
            "https://xn--bcher-kva.example",
            "https://app_1.example",
        ] {
            let mut notices = RefusalNotices::default();
            let line = notice(&mut notices, Reason::Origin, (origin, "a"), 0).expect(origin);
            let flag = line.split_once("add --allow-origin ").expect(&line).1;
            let flag = flag.split_once(" (").expect(&line).0;
            let rules = [flag.parse().expect(flag)];
            assert!(may_connect(Some(origin), "a", false, &rules), "{line}");
            // A shell takes it as it stands.
            let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:/[]".contains(c);
            assert!(flag.chars().all(plain), "{flag}");
        }
        for host in [
            "chat.example.",
            "chat_1.example:80",
            "[2001:DB8::1]:3000",
            "10.0.0.1",
        ] {
            let mut notices = RefusalNotices::default();
            let line = notice(&mut notices, Reason::Host, ("", host), 0).expect(host);
            let flag = line.split_once("add --allow-host ").expect(&line).1;
            let flag = flag.split_once(" (").expect(&line).0;
            let rule: HostRule = flag.parse().expect(flag);
            assert!(rule.allows(host_only(host)), "{line}");
        }
    }

    #[test]
    fn a_rewritten_host_is_named_as_the_likely_cause() {
        for host in ["127.0.0.1:3000", "backend", "10.0.0.7:80"] {
            let mut notices = RefusalNotices::default();
            let page = ("https://app.example", host);
            let line = notice(&mut notices, Reason::Origin, page, 0).expect("a notice");
            assert!(
                line.contains("--allow-origin https://app.example "),
                "{line}"
            );
            assert!(line.contains("Host header"), "{line}");
        }
    }

    #[test]
    fn a_host_is_told_of_with_the_flag_to_add() {
        let mut notices = RefusalNotices::default();
        let page = ("http://evil.example:3000", "evil.example:3000");
        let line = notice(&mut notices, Reason::Host, page, 0).expect("a notice");
        assert!(line.contains("add --allow-host evil.example ("), "{line}");
        assert_eq!(notice(&mut notices, Reason::Host, page, 1), None);
    }

    #[test]
    fn texts_of_strangers_are_escaped_cut_and_never_a_command() {
        let (escape, command) = ("https://a\u{1b}[31m\n.example", "https://$(reboot)");
        for (reason, texts) in [
            (Reason::Origin, [escape, command, "null", "", "x"]),
            (
                Reason::Host,
                [escape, command, "$(reboot)", "", "*.example"],
            ),
        ] {
            for text in texts {
                let mut notices = RefusalNotices::default();
                let line = notice(&mut notices, reason, (text, text), 0).expect("a notice");
                assert!(!line.contains(['\n', '\u{1b}']), "{line}");
                assert!(!line.contains("add --allow"), "{line}");
            }
        }
        let long: &'static str = "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
            aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let mut notices = RefusalNotices::default();
        let line = notice(&mut notices, Reason::Origin, (long, "a"), 0).expect("a notice");
        assert!(!line.contains(&long[..=CHARS_MAX]), "{line}");
    }

    #[test]
    fn a_crowd_of_origins_has_one_notice_together() {
        let names: Vec<String> = (0..1000).map(|n| format!("https://{n}.example")).collect();
        let mut notices = RefusalNotices::default();
        let mut lines = 0;
        for name in names {
            let name: &'static str = name.leak();
            lines += usize::from(notice(&mut notices, Reason::Origin, (name, "a"), 5).is_some());
            assert!(notices.told.len() <= NAMES_MAX);
        }
        assert_eq!(lines, NAMES_MAX + 1);
        let later = ("https://later.example", "a");
        assert!(notice(&mut notices, Reason::Origin, later, 70_000).is_some());
        assert_eq!(notices.told.len(), 1);
    }

    #[test]
    fn a_peer_that_names_a_user_is_told_of_once_a_minute_for_each_cause() {
        let mut notices = RefusalNotices::default();
        let peer = IpAddr::from([203, 0, 113, 9]);
        let mut at = |error, ms| notices.user_notice(error, peer, Timestamp::from_millis(ms));
        let line = at(NamedUserError::Untrusted, 0).expect("a notice");
        assert!(line.contains("add --trusted-proxy 203.0.113.9 ("), "{line}");
        assert_eq!(at(NamedUserError::Untrusted, 59_999), None);
        let line = at(NamedUserError::Several, 59_999).expect("another cause");
        assert!(
            line.contains("203.0.113.9") && line.contains("replace"),
            "{line}"
        );
        assert!(at(NamedUserError::Untrusted, 60_000).is_some());
        let crowd = (0..1000_u16).filter_map(|n| {
            let [high, low] = n.to_be_bytes();
            let peer = IpAddr::from([192, 0, high, low]);
            notices.user_notice(
                NamedUserError::Untrusted,
                peer,
                Timestamp::from_millis(60_001),
            )
        });
        assert!(crowd.count() <= NAMES_MAX + 1);
    }
}
