//! The handle of a namespace, and its way to the shards.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

use roomcast_core::{
    NamespaceHandle,
    ask::{Answer, Ask, AskError, Transport},
};
use tokio::sync::{mpsc, oneshot};

use crate::shard::{Mail, MailBatch, home_of};

/// One namespace of a server, from anywhere: other tasks and threads, HTTP routes, the application
/// itself; see [`NamespaceHandle`].
///
/// What is asked of it runs on the thread of the namespace. It can be made before the server runs, and
/// outlive it: its methods say [`NotRunning`](AskError::NotRunning) before
/// [`Host::run`](crate::Host::run) is called and after it is done.
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
pub struct Shards(pub(crate) Arc<Switchboard>);

impl Transport for Shards {
    type Asking = Pin<Box<dyn Future<Output = Result<Answer, AskError>> + Send>>;

    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Self::Asking {
        let answered = self.post(namespace, ask);
        Box::pin(async move { answered?.await.unwrap_or(Err(AskError::NotRunning)) })
    }
}

impl Shards {
    fn post(&self, namespace: &Arc<str>, ask: Ask) -> Result<Answered, AskError> {
        let posts = self.0.posts().ok_or(AskError::NotRunning)?;
        if posts.is_empty() {
            return Err(AskError::NotRunning);
        }
        let home = home_of(namespace, posts.len());
        let (answer, answered) = oneshot::channel();
        let mail = Mail::Ask {
            namespace: namespace.clone(),
            ask: Box::new(ask),
            answer,
        };
        // As if from itself: it counts in no account between shards.
        let posted = posts[home].send(MailBatch::new(home, vec![mail]));
        posted.map_err(|_| AskError::NotRunning)?;
        Ok(answered)
    }
}

type Answered = oneshot::Receiver<Result<Answer, AskError>>;

/// The way of handles to the shards, while there are any.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    posts: RwLock<Option<Posts>>,
    /// Held while settings are changed.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

/// The way to each shard.
pub(crate) type Posts = Arc<[mpsc::UnboundedSender<MailBatch>]>;

impl Switchboard {
    pub(crate) fn posts(&self) -> Option<Posts> {
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner);
        posts.clone()
    }

    /// Opens, for as long as the value lives.
    pub(crate) fn open(self: &Arc<Self>, posts: Posts) -> Open {
        self.set(Some(posts));
        Open(self.clone())
    }

    fn set(&self, posts: Option<Posts>) {
        *self.posts.write().unwrap_or_else(PoisonError::into_inner) = posts;
    }
}

/// Closes the switchboard when dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Switchboard>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
