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

/// A server before it runs: its settings, and which application belongs to which namespace.
///
/// A namespace with a gateway of its own begins with the server and ends with it. Other namespaces
/// come and go with their connections: without a gateway they are rooms only, with
/// [`other_gateways`](Self::other_gateways) each begins with a new one, and stays when that has
/// persistent state.
///
/// A gateway is made on the thread of its namespace and stays there: it need not be `Send`, and
/// nothing is shared that its factory does not share. To reach its connections from elsewhere there
/// is [`Namespace`].
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

    /// Gives a namespace its gateway; `default` is the one at `/ws`, any other is at
    /// `/ws/{namespace}`. The factory runs once, when the server starts.
    ///
    /// # Panics
    ///
    /// When the namespace has one already, or its name is not 1 to 64 of `A-Z a-z 0-9 _ -`.
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

    /// Gives every namespace without a gateway of its own one of these;
    /// [`Namespace::name`](Namespace::name) says which it is for. Such a namespace begins with its
    /// first connection and ends some time after the last, and its gateway with it, unless that is
    /// [persistent](roomcast_core::Gateway::is_persistent) and what it saves has changed. A factory
    /// that panics refuses the connection.
    ///
    /// # Panics
    ///
    /// When there is one already.
    pub fn other_gateways<G: Gateway + 'static>(
        mut self,
        factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
    ) -> Self {
        let first = self.gateways.mount_others(factory);
        assert!(first, "other namespaces have a gateway already");
        self
    }

    /// Calls this once, when the server accepts connections: for a supervisor that waits for it.
    pub fn on_serving(mut self, serving: impl FnOnce() + Send + 'static) -> Self {
        self.serving = Some(Box::new(serving));
        self
    }

    /// The handle of a namespace, with or without a gateway; it works as soon as
    /// [`run`](Self::run) is called.
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(name, Shards(self.switchboard.clone()))
    }

    /// The way to change settings while the server runs; it works as soon as [`run`](Self::run) is
    /// called.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(self.switchboard.clone())
    }

    /// The server as a service for a program that has an HTTP server already; it works as soon as
    /// [`run_service`](Self::run_service) or [`run`](Self::run) is called, and answers 503 before
    /// and after.
    pub fn service(&self) -> Service {
        Service::new(self.switchboard.clone())
    }

    /// Serves on the given listeners, one I/O thread each, until `shutdown` completes; then tells
    /// every application and every client, closes, and returns.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or the gateways, or a gateway cannot be made, or a
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

    /// The same without a listener, for what a [`Service`] hands over:
    /// [`Settings::threads`](crate::Settings::threads) I/O threads, beside the runtime of the
    /// program. Where that has a signal for a graceful shutdown of its server, `shutdown` is the
    /// same one: new requests are answered 503 then, and WebSockets closed in order.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or the gateways, or a gateway cannot be made, or a
    /// thread cannot start. The error is logged too, since all requests are answered 503 from then
    /// on.
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

/// Serves on the given listeners, one I/O thread each, until `shutdown` completes; then tells every
/// client, closes, and returns. Namespaces have no applications: for these there is [`Host`].
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
