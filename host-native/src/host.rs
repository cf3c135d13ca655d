//! A server with applications.

mod accept;
mod announce;
#[cfg(feature = "axum")]
pub mod axum;
mod descriptors;
mod drain;
mod guests;
mod relay;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod sources;

use std::{error::Error, fmt, net, sync::Arc};

use roomcast_core::Gateway;
use roomcast_http::{NAMESPACE_FORM, is_namespace};

use self::{
    reload::Reloader,
    run::{RunError, Serving},
};
use crate::{
    http::service::Service,
    namespace::{
        gateways::Gateways,
        handle::{Namespace, Shards},
    },
    settings::Settings,
    shard::Switchboard,
};

/// A server before it runs: its settings, and the gateways of its namespaces.
///
/// A namespace with its own gateway starts and ends with the server. Other namespaces come and go
/// with their connections. Without a gateway they have rooms only. With
/// [`other_gateways`](Self::other_gateways) each gets a new gateway, and stays if that has
/// persistent state.
///
/// A gateway is created on the thread of its namespace and stays there, so it need not be `Send`.
/// Gateways share only what their factory shares. Other code reaches the connections by a
/// [`Namespace`].
///
/// ```no_run
/// use roomcast::{Context, Host, Router, Settings, ok};
///
/// #[derive(serde::Deserialize)]
/// struct Say {
///     room: String,
///     text: String,
/// }
///
/// fn chat() -> Router {
///     Router::default()
///         .on("join", |cx: &mut Context, room: String| cx.join(&room).map(|_| room))
///         .on("say", |cx: &mut Context, Say { room, text }: Say| {
///             cx.to(cx.room(&room).except_self()).emit("said", &text)?;
///             ok(())
///         })
/// }
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let settings = Settings::default();
///     let listeners = roomcast::listen(&settings)?;
///     let host = Host::new(settings).gateway("default", |_| chat());
///     let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
///     Ok(host.run(listeners, ctrl_c).await?)
/// }
/// ```
#[must_use = "nothing happens before `run`"]
pub struct Host {
    settings: Settings,
    gateways: Gateways,
    switchboard: Arc<Switchboard>,
    serving: Option<Serving>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("settings", &self.settings)
            .field("gateways", &self.gateways)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// A server without applications.
    pub fn new(settings: Settings) -> Self {
        let switchboard = Arc::<Switchboard>::default();
        Self {
            settings,
            gateways: Gateways::new(switchboard.clone()),
            switchboard,
            serving: None,
        }
    }

    /// Sets the gateway of a namespace. `default` is served at `/ws`, any other at
    /// `/ws/{namespace}`. The factory runs once, when the server starts.
    ///
    /// # Panics
    ///
    /// When the namespace already has a gateway, or its name is not 1 to 64 of `A-Z a-z 0-9 _ -`.
    pub fn gateway<G: Gateway + 'static>(
        mut self,
        namespace: &str,
        factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
    ) -> Self {
        let valid = is_namespace(namespace);
        assert!(
            valid,
            "the name of a namespace is {NAMESPACE_FORM}: {namespace}"
        );
        let first = self.gateways.mount(namespace, factory);
        assert!(first, "`{namespace}` has a gateway already");
        self
    }

    /// Sets the factory of gateways for all other namespaces; [`Namespace::name`](Namespace::name)
    /// tells it which. Such a namespace starts with its first connection, and ends some time after
    /// the last one, together with its gateway. It stays if the gateway is
    /// [persistent](roomcast_core::Gateway::is_persistent) and its saved state has changed. If the
    /// factory panics, the connection is refused.
    ///
    /// # Panics
    ///
    /// When there is already such a factory.
    pub fn other_gateways<G: Gateway + 'static>(
        mut self,
        factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
    ) -> Self {
        let first = self.gateways.mount_others(factory);
        assert!(first, "other namespaces have a gateway already");
        self
    }

    /// Calls a function once, when the server accepts connections, for example to notify a
    /// supervisor.
    pub fn on_serving(mut self, serving: impl FnOnce() + Send + 'static) -> Self {
        self.serving = Some(Box::new(serving));
        self
    }

    /// The handle of a namespace, with or without a gateway. It works once [`run`](Self::run) is
    /// called.
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(name, Shards(self.switchboard.clone()))
    }

    /// A handle to change settings while the server runs. It works once [`run`](Self::run) is
    /// called.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(self.switchboard.clone())
    }

    /// The server as a service, for a program with an HTTP server of its own. It works once
    /// [`run_service`](Self::run_service) or [`run`](Self::run) is called. Before and after that it
    /// answers 503.
    pub fn service(&self) -> Service {
        Service::new(self.switchboard.clone())
    }

    /// Serves on the given listeners, one I/O thread each, until `shutdown` completes. Then it
    /// notifies all applications and clients, closes, and returns.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or the gateways, a gateway cannot be created, or a
    /// thread cannot start.
    pub fn run(
        self,
        listeners: Vec<net::TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> impl Future<Output = Result<(), RunError>> {
        let line = self.switchboard;
        let (settings, gateways, serving) = (self.settings, self.gateways, self.serving);
        let listeners = listeners.into_iter().map(Some).collect();
        run::serve(listeners, settings, gateways, line, serving, shutdown)
    }

    /// Serves without a listener the requests of a [`Service`], on
    /// [`Settings::threads`](crate::Settings::threads) I/O threads beside the program's runtime. If
    /// the program's server has a signal for graceful shutdown, pass the same one as `shutdown`:
    /// from then on new requests are answered with 503, and WebSockets are closed in order.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or the gateways, a gateway cannot be created, or a
    /// thread cannot start. The error is also logged, since all requests are answered with 503 from
    /// then on.
    pub fn run_service(
        self,
        shutdown: impl Future<Output = ()>,
    ) -> impl Future<Output = Result<(), RunError>> {
        let line = self.switchboard;
        let (settings, gateways, serving) = (self.settings, self.gateways, self.serving);
        let nowhere = (0..settings.threads).map(|_| None).collect();
        let ended = run::serve(nowhere, settings, gateways, line, serving, shutdown);
        async {
            let tell = |fault: &RunError| {
                let fault: &(dyn Error + 'static) = fault;
                tracing::error!(fault, "the mounted server has ended");
            };
            ended.await.inspect_err(tell)
        }
    }
}

/// Serves on the given listeners, one I/O thread each, until `shutdown` completes. Then it notifies
/// all clients, closes, and returns. Namespaces have no applications: [`Host`] is for those.
///
/// ```no_run
/// # async fn example() -> Result<(), roomcast::RunError> {
/// let settings = roomcast::Settings::default();
/// let listeners = roomcast::listen(&settings)?;
/// let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
/// roomcast::run(listeners, settings, ctrl_c).await
/// # }
/// ```
///
/// # Errors
///
/// When the settings contradict each other or a thread cannot start.
pub async fn run(
    listeners: Vec<net::TcpListener>,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    Host::new(settings).run(listeners, shutdown).await
}
