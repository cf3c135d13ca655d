//! What the API shows: the JSON of its answers.

use roomcast_core::{ConnId, Hub};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct RoomView {
    pub(super) room: String,
    pub(super) members: usize,
    pub(super) epoch: String,
    pub(super) offset: u64,
}

impl RoomView {
    pub(super) fn of(hub: &Hub, name: &str, members: usize) -> Self {
        let position = hub.position(name);
        Self {
            room: name.to_owned(),
            members,
            epoch: position.epoch.into_owned(),
            offset: position.offset,
        }
    }
}

#[derive(Serialize)]
pub(super) struct RoomsView {
    pub(super) rooms: Vec<RoomView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
pub(super) struct JoinedView {
    pub(super) epoch: String,
    pub(super) offset: u64,
    pub(super) already: bool,
}

#[derive(Serialize)]
pub(super) struct LeftView {
    pub(super) was: bool,
}

#[derive(Serialize)]
pub(super) struct ConnectionView {
    pub(super) conn: ConnId,
    pub(super) user: String,
    pub(super) rooms: Vec<String>,
    pub(super) since_ms: u64,
    pub(super) queued_bytes: usize,
}

#[derive(Serialize, Default)]
pub(super) struct ConnectionsView {
    pub(super) connections: Vec<ConnectionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<ConnId>,
}

#[derive(Serialize, Default)]
pub(super) struct DisconnectedView {
    pub(super) disconnected: usize,
}
