//! The server as routes of an axum application.

use std::net::SocketAddr;

use ::axum::{
    Router,
    extract::{ConnectInfo, OriginalUri, Request},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use tower_service::Service as _;

use super::Host;
use crate::http::service::{PeerAddress, Service};

/// Returns the routes of a server, for [`Router::nest_service`] under a path of the application.
/// The [`Service`] behind them documents the extensions of a request. ([`Router::nest`] does not
/// match a path with a trailing slash, and the page has one.)
///
/// Without a path it can be the [`Router::fallback_service`] of an application, which answers what
/// no route matches. It does not fit [`Router::merge`], which panics if the application has a
/// fallback too.
///
/// The client address is taken from axum's [`ConnectInfo`], if the application is served with
/// `into_make_service_with_connect_info::<SocketAddr>()`, unless a middleware adds a
/// [`PeerAddress`].
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use axum::{Router, extract::Request, middleware::{self, Next}, routing::get};
/// use roomcast::{Admission, Host, Settings};
///
/// # fn user_of(_: &Request) -> Option<String> { None }
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let host = Host::new(Settings::default());
///     let identify = middleware::from_fn(|mut request: Request, next: Next| async {
///         if let Some(user) = user_of(&request) {
///             request.extensions_mut().insert(Admission::new().with_user(user));
///         }
///         next.run(request).await
///     });
///     let app = Router::new()
///         .route("/", get(|| async { "the application" }))
///         .nest_service("/live", roomcast::axum::router(&host).layer(identify));
///
///     let ctrl_c = || async { tokio::signal::ctrl_c().await.unwrap_or_default() };
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
///     let app = app.into_make_service_with_connect_info::<SocketAddr>();
///     let rooms = host.run_service(ctrl_c());
///     let served = axum::serve(listener, app).with_graceful_shutdown(ctrl_c());
///     // Rooms that cannot start end the application, with the reason.
///     tokio::try_join!(async { Ok(rooms.await?) }, async { Ok(served.await?) }).map(drop)
/// }
/// ```
pub fn router<S: Clone + Send + Sync + 'static>(host: &Host) -> Router<S> {
    let service = host.service();
    Router::new()
        .fallback(|OriginalUri(uri): OriginalUri, request: Request| answer(service, uri, request))
}

async fn answer(mut service: Service, original: Uri, mut request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if request.uri().path() == "/"
        && is_read
        && let Some(below) = with_slash(&original)
    {
        return (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, below)]).into_response();
    }
    let extensions = request.extensions_mut();
    if extensions.get::<PeerAddress>().is_none()
        && let Some(ConnectInfo(peer)) = extensions.get::<ConnectInfo<SocketAddr>>()
    {
        let peer = PeerAddress(peer.ip());
        extensions.insert(peer);
    }
    service.call(request).await.into_response()
}

/// The URL of the page with a trailing slash, for requests without one: its files are relative to
/// that. The URL is relative, since a proxy may have removed a prefix.
fn with_slash(original: &Uri) -> Option<HeaderValue> {
    let (_, last) = original.path().rsplit_once('/')?;
    let last = Some(last).filter(|last| !last.is_empty())?;
    let query = original.query().map(|query| format!("?{query}"));
    // Without `./`, a colon in the first segment would end a scheme (RFC 3986, section 4.2).
    HeaderValue::from_str(&format!("./{last}/{}", query.unwrap_or_default())).ok()
}
