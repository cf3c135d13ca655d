//! Changes that mend a way, by the proxy that was seen on it.

use std::fmt;

use hyper::header::{HeaderMap, SERVER, VIA};

/// The proxy that answers, as far as it names itself. HAProxy never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    Caddy,
    Unknown,
}

impl Proxy {
    /// Reads the head of an answer.
    pub(super) fn of(head: &HeaderMap) -> Self {
        let fields = [SERVER, VIA];
        let mut values = fields
            .iter()
            .filter_map(|name| head.get(name)?.to_str().ok());
        let named = values.find_map(|value| {
            let value = value.to_ascii_lowercase();
            match value {
                value if value.contains("nginx") => Some(Self::Nginx),
                value if value.contains("caddy") => Some(Self::Caddy),
                _ => None,
            }
        });
        named.unwrap_or(Self::Unknown)
    }

    /// A fix by its parts: for each proxy that it may be, its file and what to write there.
    const fn fix(self, nginx: &'static str, haproxy: &'static str, caddy: &'static str) -> Fix {
        let is_unknown = matches!(self, Self::Unknown);
        Fix {
            nginx: if is_unknown || matches!(self, Self::Nginx) {
                nginx
            } else {
                ""
            },
            haproxy: if is_unknown { haproxy } else { "" },
            caddy: if is_unknown || matches!(self, Self::Caddy) {
                caddy
            } else {
                ""
            },
        }
    }

    /// The proxy has not passed an upgrade on.
    pub(super) const fn upgrade(self) -> Fix {
        self.fix(
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header \
             Connection $connection_upgrade;",
            "`mode http`, and no line that deletes or sets Upgrade or Connection",
            "`reverse_proxy`, without a `header_up` for Upgrade or Connection",
        )
    }

    /// The proxy has put another name in the place of `Host`.
    pub(super) const fn host(self) -> Fix {
        self.fix(
            "proxy_set_header Host $http_host;",
            "no `http-request set-header Host`",
            "no `header_up Host`",
        )
    }

    /// The proxy ends connections that are silent for a time shorter than the heartbeat.
    pub(super) const fn idle(self) -> Fix {
        self.fix(
            "proxy_read_timeout 75s; proxy_send_timeout 75s;",
            "timeout tunnel 75s",
            "no `stream_timeout` shorter than a day",
        )
    }

    /// The proxy does not find the server.
    pub(super) const fn upstream(self) -> Fix {
        self.fix(
            "`proxy_pass` and its `upstream` have to name the server's --listen",
            "`server` of the backend has to name the server's --listen",
            "`reverse_proxy` has to name the server's --listen",
        )
    }

    /// The proxy has a path of its own before those of the server.
    pub(super) const fn path(self) -> Fix {
        self.fix(
            "`location /chat/` with `proxy_pass http://roomcast/;`",
            "`http-request replace-path /chat/(.*) /\\1`",
            "`handle_path /chat/*`",
        )
    }
}

/// Texts for the proxies in question; empty for the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fix {
    nginx: &'static str,
    haproxy: &'static str,
    caddy: &'static str,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxies = [
            ("nginx, the site in /etc/nginx", self.nginx),
            ("HAProxy, /etc/haproxy/haproxy.cfg", self.haproxy),
            ("Caddy, /etc/caddy/Caddyfile", self.caddy),
        ];
        let mut is_first = true;
        for (file, text) in proxies.iter().filter(|(_, text)| !text.is_empty()) {
            let between = if is_first { "" } else { " | " };
            write!(f, "{between}{file}: {text}")?;
            is_first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_names_itself_is_told_alone() {
        let head = |name, value: &'static str| {
            let value = hyper::header::HeaderValue::from_static(value);
            Proxy::of(&HeaderMap::from_iter([(name, value)]))
        };
        assert_eq!(head(SERVER, "nginx/1.22.1"), Proxy::Nginx);
        assert_eq!(head(VIA, "1.1 Caddy"), Proxy::Caddy);
        assert_eq!(head(SERVER, "other"), Proxy::Unknown);
        let text = Proxy::Nginx.host().to_string();
        let alone = "nginx, the site in /etc/nginx: proxy_set_header Host $http_host;";
        assert_eq!(text, alone);
        let text = Proxy::Unknown.idle().to_string();
        for part in [
            "proxy_read_timeout",
            " | ",
            "timeout tunnel",
            "stream_timeout",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
