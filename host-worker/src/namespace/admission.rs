//! The application's decision on requests for a WebSocket.

use roomcast_core::{
    Rejection,
    gateway::{Admission, NowOrLater, UpgradeRequest},
};

use super::{
    Namespace,
    upgrades::{Said, Upgrading},
};
use crate::platform::{Platform, PlatformError};

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
        let (open, asked) = (app.hub().counts().connections, app.upgrade(request));
        Ok(match asked {
            NowOrLater::Now(said) => Upgrading::Said(self.heard(said)),
            NowOrLater::Later(_) if open + self.upgrades.len() >= self.limits.connections => {
                let full = "too many clients wait to connect: try again later";
                Upgrading::Said(Err(Rejection::overloaded(full)))
            }
            NowOrLater::Later(saying) => Upgrading::Waits(self.upgrades.add(saying)),
        })
    }

    /// Takes the application's decision on a request that waited for it. Without one the client is
    /// refused.
    pub(crate) fn take_admission(&mut self, number: u64) -> Said {
        let lost = || Err(Rejection::overloaded("the server began anew: try again"));
        // Without applications nothing waits, and the code for it is left out.
        if cfg!(feature = "applications") && self.upgrades.give_up(number) {
            let limit_ms = self.admission_ms();
            self.platform
                .log(&format!("upgrade: not decided within {limit_ms} ms"));
            return Err(Rejection::undecided());
        }
        let said = self.upgrades.take(number);
        self.heard(said.unwrap_or_else(lost))
    }

    /// Drops a decision that nobody waits for.
    pub(crate) fn drop_admission(&mut self, number: u64) {
        if cfg!(feature = "applications") {
            self.upgrades.give_up(number);
            self.upgrades.take(number);
        }
    }

    /// The longest wait for the application's decision, in milliseconds.
    pub(crate) fn admission_ms(&self) -> u32 {
        let limit = self.limits.admission_timeout.as_millis();
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    /// Logs the cause of an internal error.
    fn heard(&self, said: Said) -> Said {
        if let Some(cause) = said.as_ref().err().and_then(Rejection::cause) {
            self.platform.log(&format!("upgrade: {cause}"));
        }
        said
    }
}
