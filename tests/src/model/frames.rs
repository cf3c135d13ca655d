//! Frames and answers that the model predicts.

use roomcast_core::{CloseCode, Limits, Policies};

use crate::{Actor, Answer, op::json_string};

pub(super) fn head(event: &str, id: Option<&str>, room: Option<&str>) -> String {
    let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
    let room = room.map_or(String::new(), |room| {
        format!(r#","room":{}"#, json_string(room))
    });
    format!(r#"{{"event":{}{id}{room}"#, json_string(event))
}

/// The reason of a refusal: its code, and the limit if one was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejection {
    code: &'static str,
    limit: Option<usize>,
}

impl Rejection {
    pub(super) const fn limit(code: &'static str, limit: usize) -> Self {
        let limit = Some(limit);
        Self { code, limit }
    }
}

impl From<&'static str> for Rejection {
    fn from(code: &'static str) -> Self {
        Self { code, limit: None }
    }
}

pub(super) fn error(head: &str, Rejection { code, limit }: Rejection) -> String {
    let details = limit.map_or(String::new(), |limit| {
        format!(r#","details":{{"limit":{limit}}}"#)
    });
    format!(r#"{head},"error":{{"code":"{code}","message":"<message>"{details}}}}}"#)
}

pub(super) fn left(was: bool) -> Answer {
    Answer::ok(format!(r#"{{"was":{was}}}"#))
}

pub(super) fn bye(code: CloseCode) -> String {
    let reconnect = code.reconnect();
    format!(r#"{{"event":"$bye","data":{{"code":{code},"reconnect":{reconnect},"after_ms":0}}}}"#)
}

pub(super) fn welcome(
    actor: &Actor,
    user: Option<&str>,
    limits: &Limits,
    policies: &Policies,
) -> String {
    let user = json_string(user.unwrap_or_default());
    let heartbeat = limits.heartbeat.unwrap_or_default().as_millis();
    let Limits {
        message_bytes,
        rooms_per_connection,
        room_name_bytes,
        page_entries,
        meta_bytes,
        ..
    } = limits;
    let kept = if policies.is_empty() {
        String::new()
    } else {
        format!(r#","page_entries":{page_entries},"meta_bytes":{meta_bytes}"#)
    };
    let limits = format!(
        r#"{{"message_bytes":{message_bytes},"rooms_per_connection":{rooms_per_connection},"room_name_bytes":{room_name_bytes}{kept}}}"#
    );
    format!(
        r#"{{"event":"$welcome","data":{{"conn":"<{actor}>","user":{user},"heartbeat_ms":{heartbeat},"limits":{limits}}}}}"#
    )
}
