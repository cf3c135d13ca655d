//! An axum application on threads of its own, with the server below a path.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use roomcast::{Admission, Host, Namespace, Settings, UpgradeRequest};
use tokio::{net::TcpListener, runtime::Builder, sync::watch};

/// An axum application; it ends with this value.
pub(crate) struct Around {
    authority: SocketAddr,
    /// The namespace `default`.
    pub(crate) server: Namespace,
    stop: watch::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// Names the user of a client that says `?user=ann`.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let user = UpgradeRequest::new("/ws", query).param("user");
    if let Some(user) = user.map(|user| user.into_owned()) {
        let admission = Admission::new().with_user(user);
        request.extensions_mut().insert(admission);
    }
    next.run(request).await
}

impl Around {
    /// The key of the HTTP API.
    pub(crate) const API_KEY: &str = "test-key";

    /// Starts it with a server that has these settings.
    pub(crate) fn start(settings: Settings) -> Self {
        Self::with(settings, |rooms| rooms.layer(middleware::from_fn(identify)))
    }

    /// Starts it with another middleware.
    pub(crate) fn with(settings: Settings, layer: impl FnOnce(Router) -> Router) -> Self {
        Self::of(Host::new(settings), layer)
    }

    /// Starts it with this server, and a middleware.
    pub(crate) fn of(host: Host, layer: impl FnOnce(Router) -> Router) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let authority = listener.local_addr().expect("bound");
        let server = host.namespace("default");
        let app = Router::new()
            .route("/", get(|| async { "the application" }))
            .nest_service("/live", layer(roomcast::axum::router(&host)));
        let (stop, stopping) = watch::channel(());
        let run = async move {
            let stopped = || {
                let mut stopping = stopping.clone();
                async move { drop(stopping.changed().await) }
            };
            let rooms = tokio::spawn(host.run_service(stopped()));
            let listener = TcpListener::from_std(listener).expect("a socket");
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            let served = axum::serve(listener, app).with_graceful_shutdown(stopped());
            served.await.expect("served to the end");
            rooms.await.expect("no panic").expect("a server that runs");
        };
        let thread = thread::spawn(move || {
            let mut runtime = Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(run);
        });
        Self {
            authority,
            server,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:port`.
    pub(crate) const fn authority(&self) -> SocketAddr {
        self.authority
    }

    /// The address to which clients connect: `ws://127.0.0.1:port/live/ws`.
    pub(crate) fn address(&self) -> String {
        format!("ws://{}/live/ws", self.authority)
    }

    /// Begins its shutdown.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(());
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        self.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the application panicked");
        }
    }
}
