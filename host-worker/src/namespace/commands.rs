//! Commands of an input: their changes are saved, and they are carried out.

use roomcast_core::{Command, ConnId};

use super::Namespace;
use crate::{
    attachment,
    platform::{Platform, PlatformError},
};

impl<P: Platform> Namespace<P> {
    /// Carries out the commands, and saves their changes. The attachment of `opened` is not
    /// written, because it has no socket yet.
    pub(super) fn do_and_save(
        &mut self,
        heard: Option<ConnId>,
        opened: Option<ConnId>,
    ) -> Result<(), PlatformError> {
        self.load_histories()?;
        self.carry_out();
        self.save_attachments(heard, opened)?;
        self.save_kept()
    }

    /// Writes the attachments of connections whose state has changed.
    fn save_attachments(
        &mut self,
        heard: Option<ConnId>,
        opened: Option<ConnId>,
    ) -> Result<(), PlatformError> {
        let limits = &self.limits;
        // This state changes with every message, and the hub does not report it.
        let rated = limits.inbound_messages.is_some() || limits.inbound_bytes.is_some();
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(heard.filter(|_| rated || limits.heartbeat.is_some()));
        self.attachments.clear();
        for command in &self.out {
            if let Command::Persist { conn } | Command::Ping { conn } = command {
                changed.push(conn);
            }
            // Without an attachment it is not restored, even if the close frame is lost.
            if let Command::Close { conn, .. } = command
                && Some(conn) != opened
            {
                self.attachments.push_none(conn.slot());
            }
        }
        changed.retain(|&conn| Some(conn) != opened);
        changed.sort_unstable();
        changed.dedup();
        let saved = changed.iter().try_for_each(|&conn| self.attach(conn));
        changed.clear();
        self.changed = changed;
        saved?;
        if self.attachments.slots.is_empty() {
            return Ok(());
        }
        self.platform.save(&self.attachments)
    }

    /// Adds the attachment of a connection to those that are to be written.
    pub(super) fn attach(&mut self, conn: ConnId) -> Result<(), PlatformError> {
        let Some(Ok(state)) = self.app.as_ref().map(|app| app.hub().conn_state(conn)) else {
            return Ok(()); // closed by the same input
        };
        self.attachments
            .push(conn.slot(), |bytes| attachment::encode(&state, bytes))
            .map_err(|fault| PlatformError::new("an attachment cannot be encoded", fault))
    }

    /// Queues messages and closes, to be sent once the input is done.
    pub(super) fn carry_out(&mut self) {
        for command in &self.out {
            match command {
                Command::Send { to, frame, .. } => self.platform.send(to, frame),
                Command::Close { conn, code, reason } => {
                    self.conns[conn.slot()] = None;
                    self.platform.close(conn.slot(), code, reason);
                }
                // The platform has no ping that an object could send; signs of life are read at the
                // next timeout. What is to persist is saved.
                Command::Ping { .. }
                | Command::Persist { .. }
                | Command::Append { .. }
                | Command::PersistRoom { .. }
                | Command::PersistKey { .. }
                | Command::LoadHistory { .. }
                | Command::Relay(_)
                | Command::Tell { .. } => {}
            }
        }
    }
}
