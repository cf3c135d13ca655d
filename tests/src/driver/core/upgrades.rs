//! Upgrade requests that wait for the decision of an application.

use std::{pin::Pin, task::Poll};

use roomcast_core::{
    Handshake, Rejection, Timestamp, UnixTime,
    gateway::{Admission, Later},
};

use super::work::poll_through;
use crate::{Actor, Answer};

/// Pending upgrade requests. A clone has none, because their futures cannot be cloned.
#[derive(Default)]
pub(super) struct Upgrades(Vec<Upgrade>);

impl Clone for Upgrades {
    fn clone(&self) -> Self {
        Self::default()
    }
}

pub(super) struct Upgrade {
    pub(super) actor: Actor,
    pub(super) namespace: Box<str>,
    /// With the time of the request.
    pub(super) handshake: (Handshake, UnixTime),
    pub(super) saying: Later<Result<Admission, Rejection>>,
    /// The end of the wait.
    pub(super) deadline: Timestamp,
}

/// The answer to an upgrade request that has waited.
#[derive(Debug, Clone)]
pub(crate) struct Late {
    pub(crate) actor: Actor,
    pub(crate) namespace: Box<str>,
    pub(crate) answer: Answer,
    /// The reason of a refusal.
    pub(crate) reason: Option<String>,
}

impl Upgrades {
    pub(super) fn push(&mut self, upgrade: Upgrade) {
        self.0.push(upgrade);
    }

    /// True when the actor waits.
    pub(super) fn has(&self, actor: &Actor) -> bool {
        self.0.iter().any(|upgrade| upgrade.actor == *actor)
    }

    /// Gives up the request of an actor.
    pub(super) fn cancel(&mut self, actor: &Actor) {
        self.0.retain(|upgrade| upgrade.actor != *actor);
    }

    /// Removes and returns a request that has timed out.
    pub(super) fn take_late(&mut self, now: Timestamp) -> Option<Upgrade> {
        let at = self.0.iter().position(|upgrade| upgrade.deadline <= now)?;
        Some(self.0.remove(at))
    }

    pub(super) fn take_done(&mut self) -> Option<(Upgrade, Result<Admission, Rejection>)> {
        let (at, said) = poll_through(|cx| {
            let mut all = self.0.iter_mut().enumerate();
            all.find_map(
                |(at, upgrade)| match Pin::new(&mut upgrade.saying).poll(cx) {
                    Poll::Ready(said) => Some((at, said)),
                    Poll::Pending => None,
                },
            )
        })?;
        Some((self.0.remove(at), said))
    }
}
