//! Suggested fixes, by the proxy on the path.

use std::fmt;

use hyper::{
    StatusCode,
    header::{HeaderMap, SERVER, VIA},
};

use super::report::Finding;

/// The fix when a connection is accepted, but nothing is answered.
pub(super) const HANGS: &str = "what listens there hangs: see the log of the server and restart it, \
                                `systemctl restart roomcast`; where a proxy is before it, see its \
                                log too";

/// The proxy that answers, if it names itself. HAProxy never does.
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

    /// Makes a fix from its parts: the lines for each proxy that it may be.
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
            nginx_file: "the site in /etc/nginx",
        }
    }

    /// The fix for a proxy that does not forward an upgrade.
    pub(super) const fn upgrade(self) -> Fix {
        self.fix(
            "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header \
             Connection $connection_upgrade;",
            "`mode http`, and no line that deletes or sets Upgrade or Connection",
            "`reverse_proxy`, without a `header_up` for Upgrade or Connection",
        )
    }

    /// The fix for a proxy that replaces the `Host` header.
    pub(super) const fn host(self) -> Fix {
        self.fix(
            "proxy_set_header Host $http_host;",
            "no `http-request set-header Host`",
            "no `header_up Host`",
        )
    }

    /// The fix for a proxy whose idle timeout is shorter than the heartbeat.
    pub(super) const fn idle(self) -> Fix {
        self.fix(
            "proxy_read_timeout 75s; proxy_send_timeout 75s;",
            "timeout tunnel 75s",
            "no `stream_timeout` shorter than a day",
        )
    }

    /// The fix for a proxy that cannot reach the server.
    pub(super) const fn upstream(self) -> Fix {
        self.fix(
            "`proxy_pass` and its `upstream` have to name the server's --listen",
            "`server` of the backend has to name the server's --listen",
            "`reverse_proxy` has to name the server's --listen",
        )
    }

    /// The fix for a proxy that serves the server under a path.
    pub(super) const fn path(self) -> Fix {
        self.fix(
            "`location /chat/` with `proxy_pass http://roomcast/;`",
            "`http-request replace-path /chat/(.*) /\\1`",
            "`handle_path /chat/*`",
        )
    }

    /// The fix for a proxy that does not forward WebSockets at all.
    pub(super) const fn pass(self) -> Fix {
        self.fix(
            "pass /ws on: a `location /ws` with `proxy_pass http://roomcast;`, proxy_http_version \
             1.1 and the headers Upgrade, Connection and Host, without `deny` and `auth_basic`",
            "pass /ws on: `use_backend roomcast if { path_beg /ws }`, without `http-request deny`",
            "pass /ws on: `reverse_proxy /ws* 127.0.0.1:3000`, without `basicauth` for it",
        )
    }

    /// The fix for a proxy that has reached its own limits.
    pub(super) const fn limits(self) -> Fix {
        self.fix(
            "raise the proxy's own limits, `limit_conn` and `limit_req` of this `location`; see \
             /var/log/nginx/error.log",
            "raise the proxy's own limits, `maxconn` of the `server`; or mend the backend: no \
             `server` of it may be up",
            "`reverse_proxy` has to name the server's --listen, and its `health_uri` to be /readyz",
        )
    }

    /// The fix for a proxy that fails by itself.
    pub(super) const fn overload(self) -> Fix {
        Fix {
            nginx_file: "/etc/nginx/nginx.conf",
            ..self.fix(
                "raise `worker_connections` and `worker_rlimit_nofile`, both twice the number of \
                 clients; see /var/log/nginx/error.log, which says what is wrong",
                "raise `maxconn` in `global`; see its log",
                "see its log: `journalctl -u caddy`",
            )
        }
    }

    /// The finding about an answer that the proxy gave instead of the server; `None` if its status
    /// does not show why.
    pub(super) fn fault(self, status: StatusCode) -> Option<Finding> {
        let finding = match status.as_u16() {
            500 => {
                let seen = format_args!("{status}: a proxy answers, and fails by itself");
                Finding::failed(seen, self.overload())
            }
            // If nginx cannot reach the server, it answers 502 or 504, never 503.
            code if code == 429 || code == 503 && self == Self::Nginx => {
                let seen = format_args!("{status}: a proxy answers, and takes no more of these");
                Finding::failed(seen, self.limits())
            }
            502..=504 => {
                let seen = format_args!("{status}: a proxy answers, and does not find the server");
                Finding::failed(seen, self.upstream())
            }
            code @ 520..=526 => cloudflare(code),
            _ => return None,
        };
        Some(finding)
    }
}

/// The finding about a status that only Cloudflare uses.
fn cloudflare(code: u16) -> Finding {
    let why = match code {
        521 => "your server refuses its connections",
        522 => "your server does not take its connections in time",
        523 => "it has no way to your server",
        524 => "your server answers too late",
        525 => "your server does not speak TLS with it",
        526 => "the certificate of your server is not valid",
        _ => "your server gives it no usable answer",
    };
    let seen = format_args!("{code}: Cloudflare answers, and {why}");
    let fix = match code {
        525 | 526 => {
            "give your server or proxy a certificate that is trusted, or one of Cloudflare's \
             authority for origins: `ssl_certificate` of nginx, `bind .. crt` of HAProxy, tls_cert in \
             roomcast.toml (--tls-cert)"
        }
        _ => {
            "change the address of the record in Cloudflare's DNS, start what listens there, or open \
             its firewall to Cloudflare's addresses; --connect-to HOST:PORT of your server says more"
        }
    };
    Finding::failed(seen, fix)
}

/// The fix for each proxy; empty for those that are ruled out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fix {
    nginx: &'static str,
    haproxy: &'static str,
    caddy: &'static str,
    /// The file of nginx, and the place in it.
    nginx_file: &'static str,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxies = [
            ("nginx", self.nginx_file, self.nginx),
            ("HAProxy", "/etc/haproxy/haproxy.cfg", self.haproxy),
            ("Caddy", "/etc/caddy/Caddyfile", self.caddy),
        ];
        let mut is_first = true;
        for (proxy, file, text) in proxies.iter().filter(|(_, _, text)| !text.is_empty()) {
            let between = if is_first { "" } else { " | " };
            write!(f, "{between}{proxy}, {file}: {text}")?;
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

    #[test]
    fn statuses_of_cloudflare_are_those_of_a_gateway() {
        for (code, part) in [
            (520, "no usable answer"),
            (521, "Cloudflare's DNS"),
            (524, "too late"),
            (525, "tls_cert"),
            (526, "is not valid"),
        ] {
            let status = StatusCode::from_u16(code).expect("a status");
            let finding = Proxy::Unknown.fault(status);
            let text = format!("{finding:?}");
            assert!(text.contains(part) && text.contains("Failed"), "{text}");
        }
        assert!(Proxy::Unknown.fault(StatusCode::NOT_FOUND).is_none());
    }
}
