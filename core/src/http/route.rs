//! Where a request goes.

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

impl<'a> Route<'a> {
    /// The route of a request.
    ///
    /// # Errors
    ///
    /// When there is nothing at the path, or not with this method.
    pub fn of<H>(request: &Request<'a, H>) -> Result<Self, Problem> {
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
            "/" => Self::Page,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => {
                return Err(Problem::not_found(
                    "there are /, /ws, /ws/{namespace}, /api/v1/{namespace}/, /healthz, /readyz, \
                     /metrics",
                ));
            }
        };
        if matches!(request.method, "GET" | "HEAD") {
            Ok(route)
        } else {
            Err(Problem::not_allowed("GET, HEAD"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ProblemCode;

    fn route<'a>(method: &'a str, path: &'a str) -> Result<Route<'a>, ProblemCode> {
        let request = Request {
            method,
            path,
            query: "",
            headers: (),
            local: false,
        };
        Route::of(&request).map_err(|problem| problem.code())
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
