//! The way from a connection to its namespace, on this thread or another.

use std::{rc::Rc, sync::Arc};

use roomcast_core::{
    ConnId, Handshake, Hub, Input, Rejection,
    gateway::{Admission, Later, NowOrLater},
    hub::RequestError,
};
use roomcast_http::Problem;
use tokio::{sync::oneshot, task::spawn_local};

use super::{
    egress::Link,
    hosted::Hosted,
    state::{Mail, Shard},
    tasks::caught,
};
use crate::{
    clock::patience,
    namespace::{OwnedUpgradeRequest, admission, log_failure, refusal::Refusal},
    shared::Shared,
    socket::Socket,
};

/// The location of a connection's hub.
#[derive(Debug)]
pub(crate) enum Home {
    /// A hub on this shard.
    Local(Rc<Hosted>),
    /// A hub on another shard.
    Remote { shard: usize, namespace: Arc<str> },
}

impl Home {
    /// The home shard of the namespace, for a connection of this shard.
    pub(crate) fn shard(&self, here: &Shard) -> usize {
        match self {
            Self::Local(_) => here.index,
            Self::Remote { shard, .. } => *shard,
        }
    }

    /// The name of the namespace.
    pub(crate) fn namespace(&self) -> &Arc<str> {
        match self {
            Self::Local(namespace) => &namespace.name,
            Self::Remote { namespace, .. } => namespace,
        }
    }

    /// Passes an input of a connection to its namespace.
    pub(crate) fn input(&self, here: &Shard, input: Input<'_>) {
        match self {
            Self::Local(namespace) => {
                here.apply(namespace, &input);
            }
            Self::Remote { shard, namespace } => {
                let (namespace, input) = (namespace.clone(), input.into_owned().into());
                here.egress.post(*shard, Mail::Input { namespace, input });
            }
        }
    }

    /// Answers a message that the host refuses, after the answers to all messages before it.
    pub(crate) fn decline(&self, here: &Shard, conn: ConnId, text: &str, error: RequestError) {
        match self {
            Self::Local(namespace) => here.decline(namespace, conn, text, error),
            Self::Remote { shard, namespace } => {
                let (namespace, text) = (namespace.clone(), text.to_owned());
                let there = move |home: &Rc<Shard>| {
                    if let Some(namespace) = home.namespace(&namespace) {
                        home.decline(&namespace, conn, &text, error);
                    }
                };
                here.egress.post(*shard, Mail::task(there));
            }
        }
    }

    /// Queries the hub, if it is on this shard.
    pub(crate) fn ask_here<R>(&self, question: impl FnOnce(&Hub) -> R) -> Option<R> {
        match self {
            Self::Local(namespace) => Some(namespace.ask(question)),
            Self::Remote { .. } => None,
        }
    }

    /// Runs `there` on the namespace's shard, if the namespace exists, and then `back` on this one,
    /// after everything that the namespace has sent here.
    pub(crate) fn there_and_back(
        &self,
        here: &Shard,
        there: impl FnOnce(&Shard, &Rc<Hosted>) + Send + 'static,
        back: impl FnOnce(&Shard) + Send + 'static,
    ) {
        match self {
            Self::Local(namespace) => {
                there(here, namespace);
                back(here);
            }
            Self::Remote { shard, namespace } => {
                let (from, namespace) = (here.index, namespace.clone());
                let there = move |home: &Rc<Shard>| {
                    if let Some(namespace) = home.namespace(&namespace) {
                        there(home, &namespace);
                    }
                    home.egress.post(from, Mail::task(move |here| back(here)));
                };
                here.egress.post(*shard, Mail::task(there));
            }
        }
    }
}

/// The decision of an application on an upgrade request.
enum Said {
    Now(Result<Admission, Rejection>),
    Later(oneshot::Receiver<Result<Admission, Rejection>>),
}

impl Shard {
    /// Asks the application of a namespace, on any shard, whether a request is to be granted. Also
    /// returns whether messages are in a format of the application, without envelopes.
    ///
    /// # Errors
    ///
    /// When the application refuses the request, takes too long, or cannot be asked.
    pub(crate) async fn ask_upgrade(
        self: &Rc<Self>,
        namespace: &Arc<str>,
        request: Option<OwnedUpgradeRequest>,
    ) -> Result<(Admission, bool), Problem> {
        let name = namespace.clone();
        let ask = move |home: &Rc<Self>| {
            let namespace = home.open_namespace(&name)?;
            let said = match request.map(|request| namespace.upgrade(&request)) {
                None => Said::Now(Ok(Admission::new())),
                Some(NowOrLater::Now(said)) => Said::Now(said),
                Some(NowOrLater::Later(saying)) => {
                    let (answer, answered) = oneshot::channel();
                    spawn_local(say(home.shared.clone(), name, saying, answer));
                    Said::Later(answered)
                }
            };
            Ok((said, namespace.is_raw()))
        };
        let asked = self.at_home(namespace, ask).await;
        let (said, raw) = asked.unwrap_or(Err(Problem::DrainingSocket))?;
        let admission = match said {
            Said::Now(said) => said?,
            Said::Later(answered) => answered.await.map_err(|_| Problem::DrainingSocket)??,
        };
        Ok((admission, raw))
    }

    /// Enters a connection into its namespace, on any shard.
    pub(crate) async fn enter(
        self: &Rc<Self>,
        socket: &Rc<Socket>,
        namespace: Arc<str>,
        handshake: Handshake,
    ) -> Result<(Home, ConnId), Refusal> {
        let shard = self.home_of(&namespace);
        if self.shared.relay.is_some() {
            self.wait_for_place(shard, &namespace).await;
        }
        if shard == self.index {
            let namespace = self.open_namespace(&namespace)?;
            let link = Link::Local(socket.clone());
            let conn = self.connect(&namespace, handshake, link)?;
            return Ok((Home::Local(namespace), conn));
        }
        let (name, from, key) = (namespace.clone(), self.index, socket.key);
        let connect = move |home: &Rc<Self>| {
            let namespace = home.open_namespace(&name)?;
            let link = Link::Remote { shard: from, key };
            home.connect(&namespace, handshake, link)
        };
        let connected = self.on_shard(shard, connect).await;
        let conn = connected.unwrap_or(Err(Refusal::unanswered()))?;
        Ok((Home::Remote { shard, namespace }, conn))
    }
}

/// Waits for the decision of an application, until its time limit, or until the client is gone.
/// During a drain it does not wait: the dropped sender tells the caller.
async fn say(
    shared: Arc<Shared>,
    namespace: Arc<str>,
    saying: Later<Result<Admission, Rejection>>,
    mut answer: oneshot::Sender<Result<Admission, Rejection>>,
) {
    let time = shared.settings.hub.admission_timeout;
    let said = tokio::select! {
        said = patience::within(time, caught(saying)) => said,
        () = answer.closed() => return,
        () = shared.drains() => return,
    };
    let said = said.unwrap_or_else(|| {
        let text = format!("not decided within {} ms", time.as_millis());
        log_failure(&namespace, None, "upgrade", &text);
        Ok(Err(Rejection::undecided()))
    });
    let _ = answer.send(admission(&namespace, said)); // the caller may be gone
}
