//! The destination of a request.

use crate::{
    access::Access,
    api,
    page::PageFile,
    problem::Problem,
    request::{Headers, Request},
};

/// The destination of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /`, or `HEAD`, as for the next six; or another file of the page.
    Page(&'static PageFile),
    /// `GET /inspect`
    Inspector,
    /// `GET /client.js`
    Client,
    /// `GET /server`
    Server,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `/ws` and `/ws/{namespace}`, with any method.
    Socket {
        /// The name, not validated: [`Access::admit`] checks it.
        namespace: &'a str,
    },
    /// Everything below `/api/`, with any method but `OPTIONS`.
    Api,
    /// `OPTIONS` of a path that exists, or of `*`. Load balancers use it as a health check.
    Options {
        /// The methods that the path takes.
        allow: &'static str,
    },
}

impl Access {
    /// Finds the destination of a request.
    ///
    /// # Errors
    ///
    /// When the path does not exist, or does not take the method. Also when the request names the
    /// host in a way that it does not accept, or asks for the page or the metrics through a proxy
    /// or as another user while the API has no key. These checks are left out for health and
    /// `OPTIONS`, which reveal nothing, and for WebSockets, whose host name [`admit`](Self::admit)
    /// checks.
    pub fn route<'a, H: Headers>(&self, request: &Request<'a, H>) -> Result<Route<'a>, Problem> {
        if request.headers.values("authorization").nth(1).is_some() {
            return Err(Problem::Repeated("Authorization".into()));
        }
        let route = Route::of(request, self);
        let is_open = matches!(
            route,
            Ok(Route::Health | Route::Ready | Route::Options { .. } | Route::Socket { .. })
        );
        if is_open {
            return route;
        }
        if !self.takes_host(request) {
            return Err(Problem::Host);
        }
        let is_for_tries = matches!(
            route,
            Ok(Route::Page(_) | Route::Inspector | Route::Server | Route::Metrics)
        );
        if is_for_tries && self.has_keyless_api() {
            // Pages that are open to this machine are not for the visitors of a proxy on it.
            if request.proxy_sign().is_some() {
                return Err(Problem::KeylessProxied);
            }
            if request.other_user {
                return Err(Problem::KeylessUser);
            }
        }
        route
    }
}

impl<'a> Route<'a> {
    /// The route of a request. A path that is switched off is like one that does not exist.
    ///
    /// # Errors
    ///
    /// When the path does not exist, or does not take the method.
    fn of<H>(request: &Request<'a, H>, access: &Access) -> Result<Self, Problem> {
        let is_options = request.method == "OPTIONS";
        let api = !request.admin_elsewhere;
        let (page, metrics) = (access.page && api, access.metrics && api);
        let route = match request.path {
            // The server as a whole.
            "*" if is_options => {
                let allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
                return Ok(Self::Options { allow });
            }
            path if api && path.starts_with("/api/") && is_options => {
                return api::allowed(path).map(|allow| Self::Options { allow });
            }
            path if api && path.starts_with("/api/") => return Ok(Self::Api),
            "/inspect" if page && cfg!(feature = "inspector") => Self::Inspector,
            "/server" if page => Self::Server,
            "/client.js" => Self::Client,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" if metrics => Self::Metrics,
            "/ws" => Self::Socket {
                namespace: "default",
            },
            path => match (path.strip_prefix("/ws/"), PageFile::at(path)) {
                (Some(namespace), _) => Self::Socket { namespace },
                (None, Some(file)) if page => Self::Page(file),
                (None, _) => return Err(Problem::NoPath { page, metrics, api }),
            },
        };
        match (request.method, route) {
            ("OPTIONS", _) => Ok(Self::Options { allow: READ }),
            ("GET" | "HEAD", _) | (_, Self::Socket { .. }) => Ok(route),
            _ => Err(Problem::Method(READ)),
        }
    }
}

/// The methods of a read-only path, and of a WebSocket: `HEAD` says that it is a WebSocket, as
/// `GET` without an upgrade does.
pub(crate) const READ: &str = "GET, HEAD, OPTIONS";

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use roomcast_core::{ErrorCode, wire::Coded};

    use super::*;
    use crate::request::tests::get;

    fn access(page: bool, metrics: bool) -> Access {
        Access {
            page,
            metrics,
            ..Access::default()
        }
    }

    fn request<'a>(method: &'a str, path: &'a str) -> Request<'a, ()> {
        Request {
            method,
            ..get(path, ())
        }
    }

    fn route<'a>(method: &'a str, path: &'a str) -> Result<Route<'a>, ErrorCode> {
        Route::of(&request(method, path), &Access::default()).map_err(|problem| problem.code())
    }

    #[test]
    fn a_path_that_is_off_is_like_one_that_never_was() {
        let none = &access(false, false);
        let unknown = Route::of(&request("GET", "/nothing"), none);
        for path in ["/", "/page/page.js", "/inspect", "/server", "/metrics"] {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                let off = Route::of(&request(method, path), none);
                assert_eq!(off, unknown, "{method} {path}");
            }
        }
        let metrics = access(false, true);
        let only = |path| Route::of(&request("GET", path), &metrics);
        assert_eq!(only("/metrics"), Ok(Route::Metrics));
        assert!(only("/").is_err());
        let text = |page, metrics| {
            let api = true;
            Problem::NoPath { page, metrics, api }.to_string()
        };
        let (none, all) = (text(false, false), text(true, true));
        let paths = "/client.js, /ws, /ws/{namespace}, /api/v1/{namespace}/, /healthz, /readyz";
        assert_eq!(none, alloc::format!("there are {paths}"));
        let inspector = if cfg!(feature = "inspector") {
            "/inspect, "
        } else {
            ""
        };
        assert_eq!(
            all,
            alloc::format!("there are /, {inspector}/server, {paths}, /metrics")
        );
    }

    #[test]
    fn a_public_listener_serves_sockets_the_client_and_probes_alone() {
        let access = access(true, true);
        let public = |method, path| {
            let request = Request {
                admin_elsewhere: true,
                ..request(method, path)
            };
            Route::of(&request, &access)
        };
        for path in [
            "/",
            "/page/page.js",
            "/inspect",
            "/server",
            "/metrics",
            "/api/v1/any/rooms",
            "/api/v2",
            "/nothing",
        ] {
            for method in ["GET", "POST", "OPTIONS"] {
                let refused = public(method, path).map_err(|problem| problem.to_string());
                let paths = "there are /client.js, /ws, /ws/{namespace}, /healthz, /readyz";
                assert_eq!(refused, Err(paths.to_string()), "{method} {path}");
            }
        }
        for path in ["/client.js", "/ws", "/ws/any", "/healthz", "/readyz"] {
            assert!(public("GET", path).is_ok(), "{path}");
        }
    }

    #[test]
    fn paths_are_exact() {
        for path in ["/", "/page/lane.js"] {
            assert!(matches!(route("GET", path), Ok(Route::Page(file)) if file.path == path));
        }
        if cfg!(feature = "inspector") {
            assert_eq!(route("GET", "/inspect"), Ok(Route::Inspector));
        }
        assert_eq!(route("GET", "/server"), Ok(Route::Server));
        assert_eq!(route("GET", "/client.js"), Ok(Route::Client));
        assert_eq!(route("HEAD", "/healthz"), Ok(Route::Health));
        let namespace = "default";
        assert_eq!(route("GET", "/ws"), Ok(Route::Socket { namespace }));
        let namespace = "a/b";
        assert_eq!(route("POST", "/ws/a/b"), Ok(Route::Socket { namespace }));
        assert_eq!(route("PATCH", "/api/x"), Ok(Route::Api));
        for path in [
            "",
            "/api",
            "/wss",
            "/healthz/",
            "/inspect/",
            "/index.html",
            "/page/",
        ] {
            assert_eq!(route("GET", path), Err(ErrorCode::NotFound), "{path}");
        }
        let refused = Err(ErrorCode::MethodNotAllowed);
        assert_eq!(route("POST", "/metrics"), refused);
    }

    #[test]
    fn options_names_the_methods_of_whatever_there_is() {
        let read = "GET, HEAD, OPTIONS";
        for (path, allow) in [
            ("/", read),
            ("/healthz", read),
            ("/readyz", read),
            ("/metrics", read),
            ("/ws", read),
            ("/ws/any", read),
            ("*", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
            ("/api/v1/any/send", "POST, OPTIONS"),
            ("/api/v1/any/rooms", read),
            ("/api/v1/any/rooms/r", read),
            ("/api/v1/any/rooms/r/members", read),
            ("/api/v1/any/rooms/r/history", read),
            ("/api/v1/any/rooms/r/members/0", "PUT, DELETE, OPTIONS"),
            ("/api/v1/any/room", read),
            ("/api/v1/any/room/members/0", "PUT, DELETE, OPTIONS"),
            ("/api/v1/any/connections", "GET, HEAD, DELETE, OPTIONS"),
            ("/api/v1/any/connections/0", "GET, HEAD, DELETE, OPTIONS"),
        ] {
            assert_eq!(
                route("OPTIONS", path),
                Ok(Route::Options { allow }),
                "{path}"
            );
        }
        for path in [
            "/nothing",
            "/api/",
            "/api/v1/any/nothing",
            "/api/v2/any/rooms",
        ] {
            assert_eq!(route("OPTIONS", path), Err(ErrorCode::NotFound), "{path}");
        }
    }
}
