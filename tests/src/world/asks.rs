//! Requests to the namespaces of a world.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use roomcast_core::ask::{Answer, Ask, AskError, Transport};

/// The transport to the namespaces of a [`World`](crate::World). Requests wait here until
/// [`World::ask`](crate::World::ask) answers them.
#[derive(Debug, Clone, Default)]
pub struct Asks(Rc<RefCell<VecDeque<Request>>>);

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) namespace: Arc<str>,
    pub(super) ask: Ask,
    answer: Slot,
}

type Slot = Rc<RefCell<Option<Result<Answer, AskError>>>>;

impl Asks {
    /// The request that has waited longest.
    pub(super) fn next(&self) -> Option<Request> {
        self.0.borrow_mut().pop_front()
    }
}

impl Request {
    pub(super) fn answer(self, answer: Result<Answer, AskError>) {
        *self.answer.borrow_mut() = Some(answer);
    }
}

impl Transport for Asks {
    type Asking = Asking;

    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Asking {
        let answer = Slot::default();
        self.0.borrow_mut().push_back(Request {
            namespace: namespace.clone(),
            ask,
            answer: answer.clone(),
        });
        Asking(answer)
    }
}

/// The future of an answer.
#[derive(Debug)]
pub struct Asking(Slot);

impl Future for Asking {
    type Output = Result<Answer, AskError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}
