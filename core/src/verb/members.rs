//! `$members`: pages of those who are in a room.

use alloc::string::String;

use serde::Deserialize;

use super::{answer, object, page_limit};
use crate::{
    hub::Hub, hub::RequestError, outbox::Kind, outbox::Outbox, room::presence::Who, wire::ConnId,
    wire::Envelope,
};

/// The `data` of `$members`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct MembersData {
    after: Option<String>,
    limit: Option<u64>,
}

impl Hub {
    pub(super) fn verb_members(
        &self,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let data: Option<MembersData> =
            object(request.data.as_str()).ok_or(RequestError::MembersData)?;
        let MembersData { after, limit } = data.unwrap_or_default();
        let limit = page_limit(limit).ok_or(RequestError::MembersData)?;
        let after = after.as_deref();
        if after.is_some_and(|cursor| Who::parse(cursor).is_none()) {
            return Err(RequestError::MembersData);
        }
        self.member_of(conn, request)?;
        let page = self.presence(room, after, limit)?;
        answer(Kind::CONTROL, conn, request, out, |text| {
            // Fails only for maps with keys that are no strings; there is none.
            text.push_str(&serde_json::to_string(&page).unwrap_or_default());
        });
        Ok(())
    }
}
