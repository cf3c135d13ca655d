//! Handles of namespaces, and their way to the shards.

use std::{fmt, pin::Pin, sync::Arc};

use roomcast_core::{
    NamespaceHandle,
    ask::{Answer, Ask, AskError, Transport},
};
use tokio::sync::oneshot;

/// A handle of one namespace of a server, usable from anywhere: other tasks and threads, HTTP
/// routes, the application itself; see [`NamespaceHandle`].
///
/// Requests run on the namespace's thread. The handle can be created before the server runs, and
/// can outlive it: before [`Host::run`](crate::Host::run) is called and after it has ended, its
/// methods return [`NotRunning`](AskError::NotRunning).
///
/// ```no_run
/// use roomcast::{Audience, Host, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::default();
/// let listeners = roomcast::listen(&settings)?;
/// let host = Host::new(settings);
/// let namespace = host.namespace("default");
/// tokio::spawn(host.run(listeners, std::future::pending()));
///
/// namespace.send(Audience::room("orders"), "paid", &["order-7"]).await?;
/// # Ok(())
/// # }
/// ```
pub type Namespace = NamespaceHandle<Shards>;

/// The way to the threads of a server.
#[derive(Debug, Clone)]
pub struct Shards(pub(crate) Arc<dyn Line>);

impl Transport for Shards {
    type Asking = Pin<Box<dyn Future<Output = Result<Answer, AskError>> + Send>>;

    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Self::Asking {
        let answered = self.0.ask(namespace, ask);
        Box::pin(async move { answered?.await.unwrap_or(Err(AskError::NotRunning)) })
    }
}

/// A pending answer; its sender is dropped when there will be none.
pub(crate) type Answered = oneshot::Receiver<Result<Answer, AskError>>;

/// The way to the shards, while they run.
pub(crate) trait Line: fmt::Debug + Send + Sync {
    /// Asks a namespace.
    ///
    /// # Errors
    ///
    /// When no server runs.
    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Result<Answered, AskError>;
}
