//! The application's word on requests for a WebSocket.

use std::collections::BTreeMap;

use roomcast_core::{
    Rejection,
    gateway::{Admission, NowOrLater, UpgradeRequest},
};

use super::Namespace;
use crate::{
    platform::{Platform, PlatformError},
    tasks::{Done, Tasks, notify::Notifier},
};

type Said = Result<Admission, Rejection>;

/// Requests that wait for the word of the application, and words that nobody has taken.
#[derive(Debug)]
pub(super) struct Upgrades {
    under_way: Tasks<u64, Said>,
    said: BTreeMap<u64, Said>,
    next: u64,
}

/// The word on a request, or the number by which the platform is told that it is there.
#[derive(Debug)]
pub(crate) enum Upgrading {
    Said(Said),
    Waits(u64),
}

impl Upgrades {
    /// Numbers of clients that a backend is asked for are below.
    const FIRST: u64 = 1 << 63;

    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            under_way: Tasks::new(notifier),
            said: BTreeMap::new(),
            next: Self::FIRST,
        }
    }

    /// True when one can go on.
    pub(super) fn is_ready(&self) -> bool {
        self.under_way.is_ready()
    }

    /// Polls one of those that can go on; the number of one that need not wait any more.
    pub(super) fn poll(&mut self) -> Option<u64> {
        let Done { token, outcome, .. } = self.under_way.poll()?;
        self.said.insert(token, outcome);
        Some(token)
    }
}

impl<P: Platform> Namespace<P> {
    /// Asks the application whether a WebSocket may be opened. Changes nothing.
    pub(crate) fn upgrade(
        &mut self,
        request: &UpgradeRequest<'_>,
    ) -> Result<Upgrading, PlatformError> {
        if !self.application.is_some() {
            return Ok(Upgrading::Said(Ok(Admission::new())));
        }
        let app = self.awake()?.app;
        let (places, asked) = (app.hub().counts().connections, app.upgrade(request));
        Ok(match asked {
            NowOrLater::Now(said) => Upgrading::Said(self.heard(said)),
            NowOrLater::Later(_)
                if places + self.upgrades.under_way.len() >= self.limits.connections =>
            {
                let full = "too many clients wait to connect: try again later";
                Upgrading::Said(Err(Rejection::overloaded(full)))
            }
            NowOrLater::Later(saying) => {
                let number = self.upgrades.next;
                self.upgrades.next += 1;
                self.upgrades.under_way.add(number, Box::pin(saying));
                Upgrading::Waits(number)
            }
        })
    }

    /// The word of the application that was waited for. Where there is none, nobody comes in.
    pub(crate) fn take_admission(&mut self, number: u64) -> Said {
        let lost = || Err(Rejection::overloaded("the server began anew: try again"));
        let said = self.upgrades.said.remove(&number);
        self.heard(said.unwrap_or_else(lost))
    }

    /// Logs the cause of an internal error.
    fn heard(&self, said: Said) -> Said {
        if let Some(cause) = said.as_ref().err().and_then(Rejection::cause) {
            self.platform.log(&format!("upgrade: {cause}"));
        }
        said
    }
}
