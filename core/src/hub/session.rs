//! What an application keeps of a connection.

use alloc::boxed::Box;

use crate::{
    hub::Hub, hub::error::SessionError, hub::error::UnknownConn, outbox::Outbox, wire::ConnId,
};

impl Hub {
    /// The session of a connection, in JSON.
    pub(crate) fn session(&self, conn: ConnId) -> Option<&str> {
        self.conns.get(conn)?.session.as_deref()
    }

    /// Keeps a session, in JSON. The same as before is not persisted again.
    pub(crate) fn set_session(
        &mut self,
        conn: ConnId,
        json: Option<Box<str>>,
        out: &mut Outbox,
    ) -> Result<(), SessionError> {
        let bytes_max = self.limits().session_bytes;
        let connection = self.conns.get_mut(conn).ok_or(UnknownConn(conn))?;
        if json.as_ref().is_some_and(|json| json.len() > bytes_max) {
            return Err(SessionError::TooLarge { bytes_max });
        }
        if connection.session != json {
            connection.session = json;
            out.persist(conn);
        }
        Ok(())
    }
}
