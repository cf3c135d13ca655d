//! Clients that say who they are, with the verb `$auth`.

use roomcast_core::{Frame, Identity, Input, hub::RequestError};

use super::{Namespace, awake::Awake};
use crate::platform::{Platform, PlatformError};

impl<P: Platform> Namespace<P> {
    /// True when the rate of a connection allows a message of this many bytes.
    pub(crate) fn has_rate(&mut self, slot: usize, bytes: usize) -> Result<bool, PlatformError> {
        let Some(conn) = self.conn(slot)? else {
            return Ok(false);
        };
        let Awake { now, app, .. } = self.awake()?;
        Ok(app.hub().has_rate(now, conn, bytes))
    }

    /// True when the identity was withdrawn: it is refused.
    pub(crate) fn has_withdrawn(&mut self, identity: &Identity) -> Result<bool, PlatformError> {
        Ok(self.awake()?.app.hub().has_withdrawn(identity))
    }

    /// Processes a message with the verb `$auth`: the message without its token, and the identity
    /// of the token, if it is valid. `unavailable` means that the refusal is only temporary.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub(crate) fn authenticate(
        &mut self,
        slot: usize,
        text: &str,
        identity: Option<Box<Identity>>,
        unavailable: bool,
    ) -> Result<(), PlatformError> {
        let done = self.try_authenticate(slot, text, identity, unavailable);
        done.or_else(|fault| {
            let log = format!("a message was not processed: {fault}");
            self.platform.log(&log);
            self.decline(slot, Frame::Text(text), RequestError::Unsaved)
        })
    }

    fn try_authenticate(
        &mut self,
        slot: usize,
        text: &str,
        identity: Option<Box<Identity>>,
        unavailable: bool,
    ) -> Result<(), PlatformError> {
        let Some(conn) = self.conn(slot)? else {
            return Ok(());
        };
        let text = text.into();
        let input = Input::Authenticate {
            conn,
            text,
            identity,
            unavailable,
        };
        self.hear(conn, &input)
    }
}
