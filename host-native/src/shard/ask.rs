//! Requests to a namespace from outside its connections.

mod nodes;
mod part;

use std::{
    rc::{Rc, Weak},
    sync::Arc,
};

use roomcast_core::{
    App, Applied, Config, Failure, Hub, Input, Outbox, Outcome,
    ask::{Answer, Ask, AskError, Asked},
    gateway::Work,
    hub::Cluster,
    queue::QueueFate,
};
use roomcast_hooks::Verdict;
use roomcast_http::Problem;
use tokio::{sync::oneshot, task::spawn_local};

use self::{nodes::Detailed, nodes::Inquiry, part::at_queue};
use super::{
    egress::Link,
    hosted::Hosted,
    state::{Mail, Shard},
};
use crate::namespace::refusal::OpenError;

/// The namespace that a request is for.
pub(crate) enum Reached<'a> {
    AtHome {
        shard: &'a Shard,
        namespace: Rc<Hosted>,
    },
    /// A namespace that is not open, and treated as empty.
    Nobody { shard: &'a Shard, app: Box<App<()>> },
}

impl Reached<'_> {
    /// Moves everything sent so far into the queue of the connection that the request asks about.
    pub(crate) fn queue_for(&self, ask: &Ask) {
        if let (Self::AtHome { shard, namespace }, Ask::Explain { conn, .. }) = (self, ask) {
            shard.finish_for(namespace, *conn);
        }
    }
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
            Self::AtHome { shard, namespace } => shard.apply_and_report(namespace, input),
            Self::Nobody { shard, app } => app.apply(shard.now(), input, &mut Outbox::new()),
        }
    }
}

impl Shard {
    /// Finds the namespace of a request, and opens it if it has to remember the request.
    pub(crate) fn reach(&self, name: &Arc<str>, ask: &Ask) -> Result<Reached<'_>, AskError> {
        // With a relay, rooms without local members may have members elsewhere.
        let is_send = matches!(
            ask,
            Ask::Send { .. } | Ask::SendText { .. } | Ask::SendBinary { .. }
        );
        let is_relayed = is_send && self.shared.relay.is_some();
        if is_relayed || ask.is_remembered(&self.policies()) {
            let namespace = self.open_namespace(name)?;
            let shard = self;
            return Ok(Reached::AtHome { shard, namespace });
        }
        Ok(self.found(name))
    }

    /// The namespace, if it is open.
    pub(super) fn found(&self, name: &str) -> Reached<'_> {
        let shard = self;
        if let Some(namespace) = self.namespace(name) {
            return Reached::AtHome { shard, namespace };
        }
        let mut config = Config::new(self.shared.epoch())
            .with_limits(self.shared.settings.hub.clone())
            .with_policies(self.policies().clone())
            .with_unix_zero_ms(self.unix_zero_ms.get());
        if self.shared.relay.is_some() {
            // A hub in a cluster does not claim that a room with members elsewhere is empty.
            config = config.with_cluster(Cluster::new("nobody", 0, 0));
        }
        let app = Box::new(App::new(config, ()));
        Reached::Nobody { shard, app }
    }

    /// Asks all nodes for an answer of the HTTP API, for a namespace whose home is this shard.
    /// `None` for a request that concerns only this node. Parts of the answer arrive later.
    pub(crate) fn ask_nodes(
        self: &Rc<Self>,
        name: &Arc<str>,
        ask: Ask,
    ) -> Option<oneshot::Receiver<Detailed>> {
        let inquiry = Inquiry::new(self, name, &ask, true)?;
        let (tell, told) = oneshot::channel();
        spawn_local(async move {
            let _ = tell.send(inquiry.ask_detailed(&ask).await); // the caller may be gone
        });
        Some(told)
    }

    /// Runs a request to a namespace whose home is this shard, and passes the answer on once the
    /// turn is committed. If a queue may have dropped the message, the socket's shard answers.
    pub(super) fn ask(
        self: &Rc<Self>,
        name: &Arc<str>,
        ask: &Ask,
        answer: oneshot::Sender<Result<Answer, AskError>>,
    ) {
        if let Some(inquiry) = Inquiry::new(self, name, ask, false) {
            let ask = ask.clone();
            spawn_local(async move {
                let gathered = inquiry.ask(&ask).await;
                let _ = answer.send(gathered.into_answer(&ask)); // the caller may be gone
            });
            return;
        }
        let asked = self.run_ask(name, ask);
        if let Ok(Answer::Relayed(token)) = asked
            && let Some(namespace) = self.namespace(name)
        {
            return namespace.when_relayed(token, move |outcome| {
                let outcome = outcome.map(Answer::Sent).map_err(AskError::from);
                let _ = answer.send(outcome); // the caller may be gone
            });
        }
        let question = asked.as_ref().ok().and_then(|found| at_queue(ask, found));
        let namespace = self.namespace(name);
        let way = question.and_then(|(conn, message)| Some((namespace?.link(conn)?, message)));
        let (way, message) = way.unzip();
        let shard = self.weak.clone();
        self.egress.when_committed(move || {
            let send = move |fate: Option<QueueFate>| {
                let mut asked = asked;
                if let (Ok(Answer::Explanation(explanation)), Some(fate)) = (&mut asked, fate) {
                    explanation.resolve(fate);
                }
                let _ = answer.send(asked); // the caller may be gone
            };
            match (way, message, shard.upgrade()) {
                (Some(Link::Local(socket)), Some(message), _) => send(Some(socket.fate(&message))),
                (Some(Link::Remote { shard: index, key }), Some(message), Some(shard)) => {
                    let there = move |shard: &Rc<Self>| {
                        send(shard.egress.socket(key).map(|socket| socket.fate(&message)));
                    };
                    shard.egress.post(index, Mail::task(there));
                }
                (..) => send(None),
            }
        });
    }

    fn run_ask(&self, name: &Arc<str>, ask: &Ask) -> Result<Answer, AskError> {
        let mut reached = self.reach(name, ask)?;
        reached.queue_for(ask);
        ask.run(self.now(), &mut reached)
    }
}

/// Questions to the backend of `[ask]`.
impl Shard {
    /// Work that asks the backend whether a user may join a room. It results in the rights there,
    /// or in a failure for the client.
    pub(super) fn ask_join(
        &self,
        namespace: &Arc<str>,
        user: Option<Box<str>>,
        room: Box<str>,
    ) -> Work {
        let (shard, namespace) = (self.weak.clone(), namespace.clone());
        let asker = self.shared.ask.asker();
        Box::pin(async move {
            let asked = match &asker {
                Some(asker) if asker.settings().on.join => {
                    asker.ask_join(&namespace, user.as_deref(), &room).await
                }
                _ => Err(Verdict::Unavailable), // a reload has just removed the backend
            };
            asked.unwrap_or_else(|verdict| refused(&shard, verdict))
        })
    }
}

/// Counts a join that the backend did not allow, and returns the failure for the client.
fn refused(shard: &Weak<Shard>, verdict: Verdict) -> Outcome {
    let problem = Problem::Backend(verdict);
    if let Some((reason, shard)) = problem.reason().zip(shard.upgrade()) {
        shard.metrics().count_refusal(reason);
    }
    Outcome::Fail(Failure::of(&problem))
}

impl From<OpenError> for AskError {
    fn from(fault: OpenError) -> Self {
        match fault {
            OpenError::Full { limit } => Self::TooManyNamespaces { limit },
            OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_) => Self::NotOpened,
        }
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::wire::ErrorBody;

    use super::*;

    #[test]
    fn a_join_past_the_limit_of_questions_says_the_limit() {
        let Outcome::Fail(failure) = refused(&Weak::new(), Verdict::Overloaded(7)) else {
            panic!("refused")
        };
        let frame = ErrorBody::from(&failure).frame();
        assert!(frame.contains(r#""details":{"limit":7}"#), "{frame}");
    }
}
