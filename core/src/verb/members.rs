//! `$members`: pages of those who are in a room.

use alloc::string::String;
use core::num::NonZeroU64;

use serde::Deserialize;

use super::{answer, object, page_limit, write_json};
use crate::hub::{Hub, RequestError};
use crate::outbox::{Kind, Outbox};
use crate::{policy::Right, room::presence::Who, time::Timestamp, wire::Message};

/// The `data` of `$members`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct MembersData {
    after: Option<String>,
    limit: Option<NonZeroU64>,
}

impl Hub {
    pub(super) fn verb_members(
        &self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let data: MembersData = object(request.data.as_str()).ok_or(RequestError::MembersData)?;
        let after = data.after.as_deref();
        if after.is_some_and(|cursor| Who::parse(cursor).is_none()) {
            return Err(RequestError::MembersData);
        }
        self.check_right(now, request.conn, Right::Presence, room)?;
        self.member_of(request)?;
        let page = self.presence(room, after, page_limit(data.limit))?;
        answer(Kind::CONTROL, request, out, |text| write_json(text, &page));
        Ok(())
    }
}
