//! `$members`: pages of a room's users.

use alloc::string::String;
use core::num::NonZeroU64;

use serde::Deserialize;

use super::{answer, object, page_limit, write_json};
use crate::hub::{Hub, RequestError};
use crate::outbox::{Kind, Outbox};
use crate::room::presence::Who;
use crate::{policy::Right, time::Timestamp, wire::Message};

/// The `data` of `$members`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct MembersData {
    after: Option<String>,
    limit: Option<NonZeroU64>,
}

impl Hub {
    pub(super) fn verb_members(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        if let Some(room) = request.room.as_deref()
            && self.is_clustered()
            && self.can_ask_users(room)
        {
            let data = self.check_members(now, request)?;
            // Further pages continue the list of the first page.
            if data.after.is_none() || !self.knows_users(room) {
                return self.list_users(request, room, out);
            }
        }
        self.list_members(now, request, out)
    }

    /// Checks that a connection may list the users of a room.
    fn check_members(
        &self,
        now: Timestamp,
        request: &Message<'_>,
    ) -> Result<MembersData, RequestError> {
        let room = self.room_of(request)?;
        let data: MembersData = object(request.data.as_str()).ok_or(RequestError::MembersData)?;
        let after = data.after.as_deref();
        if after.is_some_and(|cursor| Who::parse(cursor).is_none()) {
            return Err(RequestError::MembersData);
        }
        self.check_right(now, request.conn, Right::Presence, room)?;
        self.member_of(request)?;
        Ok(data)
    }

    /// Answers with the known users.
    pub(super) fn list_members(
        &self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let data = self.check_members(now, request)?;
        let (room, after) = (self.room_of(request)?, data.after.as_deref());
        let page = self.presence(room, after, page_limit(data.limit))?;
        answer(Kind::CONTROL, request, out, |text| write_json(text, &page));
        Ok(())
    }
}
