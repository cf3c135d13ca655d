//! The line from handles to the shards of a server that runs.

use std::sync::{Arc, PoisonError, RwLock};

use roomcast_core::ask::{Ask, AskError};
use tokio::sync::oneshot;

use super::mail::{Mail, MailBatch, Posts, home_of};
use crate::handle::{Answered, Line};

/// The way of handles to the shards, while there are any.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    posts: RwLock<Option<Posts>>,
    /// Held while settings are changed.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

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

impl Line for Switchboard {
    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Result<Answered, AskError> {
        let posts = self.posts().ok_or(AskError::NotRunning)?;
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

/// Closes the switchboard when dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Switchboard>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
