//! HTTP rules that all hosts share: the page, health, the API, and who may open a WebSocket.
//!
//! Like the core it does no I/O. A host converts an incoming request into a [`Request`], and
//! handles it by its [`Route`], which [`Access::route`] gives:
//!
//! 1. [`Route::Page`], [`Route::Inspector`], [`Route::Client`], [`Route::Server`],
//!    [`Route::Health`], [`Route::Ready`], [`Route::Metrics`], [`Route::Options`]: answers of
//!    [`Response`].
//! 2. [`Route::Socket`]: [`Upgrade::check`], then [`Access::admit`], then [`Tokens::credentials`].
//!    The host verifies the token with [`Tokens::verifier`], and [`identity_of`] makes an identity
//!    of its claims. If [`Upgrade::refuse_in_band`], a client that may not connect is told so
//!    through the open socket.
//! 3. [`Route::Api`]: [`Access::authorize`], then [`ApiRequest::read`]. A [`SendHead`] still needs
//!    the body. The [`ApiCall`] can be sent to the place of its namespace, and is run there; the
//!    [`Answer`] becomes a [`Response`].
//!
//! Every failure is a [`Problem`], which becomes a [`Response`] as well; so is a fault that only
//! the host can find. A host counts it by its [`Reason`], and logs the notice that
//! [`RefusalNotices`] gives for it.
//!
//! A host that knows its peers may trust some of them, by [`ProxyTrust`], to name the address and
//! the user of a client.
//!
//! [`Request::proxy_sign`] shows that a proxy stands before the host. After the first such request
//! the host passes `is_proxied` to [`Access::authorize`].
//!
//! ```
//! use std::borrow::Cow;
//!
//! use roomcast_core::{Limits, wire::Coded};
//! use roomcast_http::{
//!     Access, ApiRequest, Headers, Problem, Request, Response, Route, ServerFacts,
//! };
//!
//! struct NoFields;
//!
//! impl Headers for NoFields {
//!     fn values(&self, _: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
//!         std::iter::empty()
//!     }
//!
//!     fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
//!         std::iter::empty()
//!     }
//! }
//!
//! fn answer(access: &Access, request: &Request<'_, NoFields>) -> Result<Response, Problem> {
//!     Ok(match access.route(request)? {
//!         Route::Health => Response::health(),
//!         Route::Api => {
//!             access.authorize(request, false)?;
//!             let call = ApiRequest::read(request, access, &Limits::default())?;
//!             // ... run it in `call.namespace()`
//! #           unreachable!()
//!         }
//!         Route::Options { allow } => Response::options(allow),
//!         Route::Client => Response::client(),
//!         Route::Inspector => Response::inspector(),
//!         Route::Page(file) => Response::page(file),
//!         Route::Server => Response::server(ServerFacts::native(1, false, false)),
//!         Route::Ready | Route::Metrics | Route::Socket { .. } => Response::health(),
//!     })
//! }
//!
//! let (access, method, query) = (Access::default(), "GET", "");
//! let (local, other_user, loopback_listener) = (false, false, false);
//! let (http_1_0, admin_elsewhere) = (false, false);
//! let request = |path| Request {
//!     method, path, query, headers: NoFields, local, other_user, loopback_listener, http_1_0,
//!     admin_elsewhere,
//! };
//! assert_eq!(answer(&access, &request("/healthz")), Ok(Response::health()));
//! let refused = answer(&access, &request("/api/v1/default/rooms"));
//! assert_eq!(refused.map_err(|problem| problem.code().status()), Err(403));
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod access;
mod api;
mod authorization;
#[cfg(feature = "toml")]
mod config_file;
mod page;
mod problem;
mod readiness;
mod request;
mod response;
mod route;
mod server;
pub mod settings;
mod trusted_proxy;
mod upgrade;

pub use access::{
    Access, ApiKey, ApiKeyError, Credentials, HostRule, HostRuleError, KeyScope, OriginRule,
    OriginRuleError, RefusalNotices, TokenKey, TokenRefusal, Tokens, anonymous_identity,
    identity_of,
};
pub use api::{Answer, ApiCall, ApiRequest, SendHead, api_pattern};
#[cfg(feature = "toml")]
pub use config_file::{ConfigFile, FileSetting, PolicyFileError, policies_from_toml};
pub use page::PageFile;
pub use problem::{Problem, Reason};
pub use readiness::Readiness;
pub use request::{Headers, NAMESPACE_FORM, Request, is_namespace};
pub use response::{Response, TIME_HEADER};
pub use route::Route;
pub use server::ServerFacts;
pub use trusted_proxy::{
    NamedUserError, Network, NetworkError, ProxyTrust, UserHeader, UserHeaderNameError,
};
pub use upgrade::{SUBPROTOCOL, Upgrade};
