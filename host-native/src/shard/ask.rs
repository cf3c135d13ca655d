//! Requests to a namespace from outside of its connections.

use std::{rc::Rc, sync::Arc};

use roomcast_core::{
    App, Applied, Config, Hub, Input, Outbox,
    ask::{Answer, Ask, AskError, Asked},
};

use super::state::{Hosted, Shard};
use crate::namespace::refusal::OpenError;

/// A namespace that somebody asks.
pub(crate) enum Reached<'a> {
    AtHome {
        shard: &'a Shard,
        namespace: Rc<Hosted>,
    },
    /// A namespace that nobody is in: it is as if it were empty.
    Nobody { shard: &'a Shard, app: Box<App<()>> },
}

impl Asked for Reached<'_> {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        match self {
            Self::AtHome { namespace, .. } => namespace.ask(question),
            Self::Nobody { app, .. } => question(app.hub()),
        }
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        match self {
            Self::AtHome { shard, namespace } => namespace.give(shard, input),
            Self::Nobody { shard, app } => app.apply(shard.now(), input, &mut Outbox::new()),
        }
    }
}

impl Shard {
    /// Finds the namespace of a request, and begins it if it has to remember the request.
    pub(crate) fn reach(&self, name: &Arc<str>, ask: &Ask) -> Result<Reached<'_>, AskError> {
        let found = if ask.is_remembered(&self.policies()) {
            Some(self.open_namespace(name)?)
        } else {
            self.namespace(name)
        };
        let shard = self;
        Ok(if let Some(namespace) = found {
            Reached::AtHome { shard, namespace }
        } else {
            let config = Config::new(self.shared.epoch())
                .with_limits(self.shared.settings.hub.clone())
                .with_policies(self.policies().clone());
            let app = Box::new(App::new(config, ()));
            Reached::Nobody { shard, app }
        })
    }

    /// Runs a request to a namespace that is at home here.
    pub(super) fn ask(&self, name: &Arc<str>, ask: &Ask) -> Result<Answer, AskError> {
        ask.run(self.now(), &mut self.reach(name, ask)?)
    }
}

impl From<OpenError> for AskError {
    fn from(fault: OpenError) -> Self {
        match fault {
            OpenError::Full { limit } => Self::TooManyNamespaces { limit },
            OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_) => Self::NotOpened,
        }
    }
}
