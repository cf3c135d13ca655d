//! The handle of a namespace, and its connection to the objects.

use std::{cell::RefCell, collections::VecDeque, fmt, pin::Pin, rc::Rc, sync::Arc};

use futures_channel::oneshot;
use roomcast_core::{
    NamespaceHandle,
    ask::{Answer, Ask, AskError, Transport, wire},
};

use crate::tasks::notify::Notifier;

/// Handle of one namespace of the Worker, usable from anywhere in an application: a factory for
/// [`mount`](crate::mount) is given it, to be kept and awaited in the futures of
/// [`Context::spawn`](roomcast_core::Context::spawn); see [`NamespaceHandle`].
///
/// A request to the namespace is done when its effects are saved. Another namespace is another
/// object, maybe on another continent: asking it takes a request to that object, which starts if
/// it was not running.
pub type Namespace = NamespaceHandle<Objects>;

/// The way to the objects of a Worker, from one of them.
#[derive(Debug, Clone)]
pub struct Objects {
    /// The name of the namespace that the asking object is.
    own: Arc<str>,
    mailbox: Rc<Mailbox>,
}

/// Asks another namespace with an encoded request; returns the encoded answer, or the reason why
/// there is none.
pub(crate) type Remote =
    Box<dyn Fn(&str, String) -> Pin<Box<dyn Future<Output = Result<String, String>>>>>;

/// Requests of an object's own application to the object, and the way to other objects.
pub(crate) struct Mailbox {
    asks: RefCell<VecDeque<Letter>>,
    notifier: Notifier,
    remote: Remote,
}

/// A request, and the way back for its answer.
pub(crate) type Letter = (Ask, oneshot::Sender<Result<Answer, AskError>>);

impl Mailbox {
    pub(crate) fn new(notifier: Notifier, remote: Remote) -> Rc<Self> {
        Rc::new(Self {
            asks: RefCell::default(),
            notifier,
            remote,
        })
    }

    /// Takes the next request.
    pub(crate) fn take(&self) -> Option<Letter> {
        self.asks.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asks.borrow().is_empty()
    }
}

impl Objects {
    /// The handle of the namespace that this object is.
    pub(crate) fn own(name: &str, mailbox: Rc<Mailbox>) -> Namespace {
        let own: Arc<str> = name.into();
        Namespace::new(own.clone(), Self { own, mailbox })
    }
}

impl Transport for Objects {
    type Asking = Pin<Box<dyn Future<Output = Result<Answer, AskError>>>>;

    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Self::Asking {
        if **namespace == *self.own {
            let (sender, answer) = oneshot::channel();
            self.mailbox.asks.borrow_mut().push_back((ask, sender));
            self.mailbox.notifier.notify();
            return Box::pin(async move {
                answer.await.unwrap_or_else(|_| {
                    let why = "its object failed and begins anew";
                    Err(AskError::Unavailable(why.into()))
                })
            });
        }
        let question = serde_json::to_string(&ask);
        let answer = question.map(|question| (self.mailbox.remote)(namespace, question));
        Box::pin(async move {
            let answer = answer.map_err(|fault| AskError::Unavailable(fault.to_string()))?;
            wire::read(&answer.await.map_err(AskError::Unavailable)?)
        })
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("asks", &self.asks.borrow().len())
            .finish_non_exhaustive()
    }
}
