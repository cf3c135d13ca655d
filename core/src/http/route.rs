//! Where a request goes.

use alloc::string::String;

use super::{Problem, Request};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `GET /`
    Page,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `/ws` and `/ws/{namespace}`, with any method.
    Socket {
        /// The name as it came: [`Access::admit`](super::Access::admit) says whether it is one.
        namespace: &'a str,
    },
    /// Everything below `/api/`, with any method.
    Api,
}

/// Paths that a host may be told to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Optional {
    pub(super) page: bool,
    pub(super) metrics: bool,
}

impl<'a> Route<'a> {
    /// The route of a request. A path that the host does without is like one that never was.
    ///
    /// # Errors
    ///
    /// When there is nothing at the path, or not with this method.
    pub(super) fn of<H>(request: &Request<'a, H>, there_is: Optional) -> Result<Self, Problem> {
        if request.path.starts_with("/api/") {
            return Ok(Self::Api);
        }
        if let Some(namespace) = request.path.strip_prefix("/ws/") {
            return Ok(Self::Socket { namespace });
        }
        let route = match request.path {
            "/ws" => {
                return Ok(Self::Socket {
                    namespace: "default",
                });
            }
            "/" if there_is.page => Self::Page,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" if there_is.metrics => Self::Metrics,
            _ => return Err(Problem::not_found(paths(there_is))),
        };
        if matches!(request.method, "GET" | "HEAD") {
            Ok(route)
        } else {
            Err(Problem::not_allowed("GET, HEAD"))
        }
    }
}

/// The paths there are.
fn paths(there_is: Optional) -> String {
    let mut text = String::from("there are ");
    if there_is.page {
        text.push_str("/, ");
    }
    text.push_str("/ws, /ws/{namespace}, /api/v1/{namespace}/, /healthz, /readyz");
    if there_is.metrics {
        text.push_str(", /metrics");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ProblemCode;

    const ALL: Optional = Optional {
        page: true,
        metrics: true,
    };

    fn request<'a>(method: &'a str, path: &'a str) -> Request<'a, ()> {
        Request {
            method,
            path,
            query: "",
            headers: (),
            local: false,
            loopback_listener: false,
            http_1_0: false,
        }
    }

    fn route<'a>(method: &'a str, path: &'a str) -> Result<Route<'a>, ProblemCode> {
        Route::of(&request(method, path), ALL).map_err(|problem| problem.code())
    }

    #[test]
    fn a_path_that_is_off_is_like_one_that_never_was() {
        let (page, metrics) = (false, false);
        let none = Optional { page, metrics };
        let unknown = Route::of(&request("GET", "/nothing"), none);
        for path in ["/", "/metrics"] {
            for method in ["GET", "HEAD", "POST"] {
                let off = Route::of(&request(method, path), none);
                assert_eq!(off, unknown, "{method} {path}");
            }
        }
        let (page, metrics) = (false, true);
        let only = |path| Route::of(&request("GET", path), Optional { page, metrics });
        assert_eq!(only("/metrics"), Ok(Route::Metrics));
        assert!(only("/").is_err());
        assert!(!paths(none).contains("/metrics") && paths(ALL).contains("are /, /ws"));
    }

    #[test]
    fn paths_are_exact() {
        assert_eq!(route("GET", "/"), Ok(Route::Page));
        assert_eq!(route("HEAD", "/healthz"), Ok(Route::Health));
        let namespace = "default";
        assert_eq!(route("GET", "/ws"), Ok(Route::Socket { namespace }));
        let namespace = "a/b";
        assert_eq!(route("POST", "/ws/a/b"), Ok(Route::Socket { namespace }));
        assert_eq!(route("PATCH", "/api/x"), Ok(Route::Api));
        for path in ["", "/api", "/wss", "/healthz/", "/index.html"] {
            assert_eq!(route("GET", path), Err(ProblemCode::NotFound), "{path}");
        }
        let refused = Err(ProblemCode::MethodNotAllowed);
        assert_eq!(route("POST", "/metrics"), refused);
    }
}
