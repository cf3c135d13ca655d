//! An audience by the names of actors.

use roomcast_core::{Audience, ConnId};
use serde::{Deserialize, Serialize};

use crate::Actor;

/// Recipients of a send by the server: an [`Audience`] with actors in place of connection ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct To {
    /// Every connection of the namespace.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// The members of these rooms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Box<str>>,
    /// These connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conns: Vec<Actor>,
    /// The connections of these users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Box<str>>,
    /// Rooms whose members are excluded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_rooms: Vec<Box<str>>,
    /// Connections that are excluded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_conns: Vec<Actor>,
    /// Users whose connections are excluded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_users: Vec<Box<str>>,
}

impl To {
    /// Every connection of the namespace.
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// The members of one room.
    pub fn room(room: impl Into<Box<str>>) -> Self {
        Self {
            rooms: vec![room.into()],
            ..Self::default()
        }
    }

    /// Addresses one connection.
    pub fn conn(actor: impl Into<Actor>) -> Self {
        Self {
            conns: vec![actor.into()],
            ..Self::default()
        }
    }

    /// Converts it to connection ids. An actor without one gets an id that nobody ever has, so that
    /// the audience names the same number of connections.
    pub fn audience(&self, id: impl Fn(&Actor) -> Option<ConnId>) -> Audience {
        let nobody = || "9007199254740991".parse().ok();
        let id = |actor: &Actor| id(actor).or_else(nobody);
        let mut audience = Audience::none();
        audience.all = self.all;
        audience.rooms.clone_from(&self.rooms);
        audience.conns = self.conns.iter().filter_map(id).collect();
        audience.users.clone_from(&self.users);
        audience.except_rooms.clone_from(&self.except_rooms);
        audience.except_conns = self.except_conns.iter().filter_map(id).collect();
        audience.except_users.clone_from(&self.except_users);
        audience
    }
}
