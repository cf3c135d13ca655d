//! Recipients of a send, and how many of them it reached.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{wire::ConnId, wire::named::by_name};

/// Recipients of a send: a union of everybody, rooms, connections and users, minus rooms,
/// connections and users. Each connection counts once, however often it is named.
///
/// A plain value, the same in Rust and in JSON:
///
/// ```
/// use roomcast_core::Audience;
///
/// let audience = Audience::room("lobby").and_user("ann").except_room("muted");
/// let json = r#"{"rooms":["lobby"],"users":["ann"],"except_rooms":["muted"]}"#;
/// assert_eq!(serde_json::to_string(&audience)?, json);
/// assert_eq!(serde_json::from_str::<Audience>(json)?, audience);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub struct Audience {
    /// Every live connection of the namespace.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub all: bool,
    /// The members of these rooms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Box<str>>,
    /// These connections.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "conns")]
    pub conns: Vec<ConnId>,
    /// The connections of these users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Box<str>>,
    /// Rooms whose members are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_rooms: Vec<Box<str>>,
    /// Connections that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "conns")]
    pub except_conns: Vec<ConnId>,
    /// Users whose connections are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_users: Vec<Box<str>>,
}

by_name!(Audience);

/// Builder methods that each add a name to one list.
macro_rules! parts {
    ($($(#[$doc:meta])* $add:ident $list:ident $name:ident: $kind:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $add(mut self, $name: $kind) -> Self {
            self.$list.push($name.into());
            self
        })*
    };
}

impl Audience {
    /// An audience of nobody, to build on.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every live connection of the namespace.
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// The members of one room.
    pub fn room(room: impl Into<Box<str>>) -> Self {
        Self::none().and_room(room)
    }

    /// The members of any of several rooms.
    pub fn rooms<R: Into<Box<str>>>(rooms: impl IntoIterator<Item = R>) -> Self {
        Self {
            rooms: rooms.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// A single connection.
    pub fn conn(conn: ConnId) -> Self {
        Self::none().and_conn(conn)
    }

    /// The connections of one user.
    pub fn user(user: impl Into<Box<str>>) -> Self {
        Self::none().and_user(user)
    }

    parts! {
        /// Adds the members of this room.
        and_room rooms room: impl Into<Box<str>>;
        /// Adds this connection.
        and_conn conns conn: ConnId;
        /// Adds the connections of this user.
        and_user users user: impl Into<Box<str>>;
        /// Leaves out the members of this room.
        except_room except_rooms room: impl Into<Box<str>>;
        /// Leaves out this connection.
        except_conn except_conns conn: ConnId;
        /// Leaves out the connections of this user.
        except_user except_users user: impl Into<Box<str>>;
    }

    /// The room, when the audience is a single room, with or without exceptions; `None` otherwise.
    /// Only messages to a single room carry its name.
    pub fn as_room(&self) -> Option<&str> {
        let (room, more) = self.rooms.split_first()?;
        let only = !self.all && self.conns.is_empty() && self.users.is_empty();
        (only && more.iter().all(|other| other == room)).then_some(room)
    }

    pub(crate) const fn has_exceptions(&self) -> bool {
        !(self.except_rooms.is_empty()
            && self.except_conns.is_empty()
            && self.except_users.is_empty())
    }
}

/// Reads the ids of connections. A string that is not an id matches nobody, like the id of a
/// connection that has ended.
fn conns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ConnId>, D::Error> {
    let named = Vec::<Named>::deserialize(deserializer)?;
    Ok(named.into_iter().map(|Named(conn)| conn).collect())
}

struct Named(ConnId);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Ok(Self(text.parse().unwrap_or(ConnId::NOBODY)))
    }
}

/// Counts of the connections that a send matched and reached.
///
/// The hub counts all matched connections as queued. A host whose queue for a connection is over
/// its limit moves that connection from `queued` to `dropped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Connections in the audience, each counted once.
    pub matched: usize,
    /// Connections that the message was queued for.
    pub queued: usize,
    /// Connections that lost the message; each of them is notified or closed.
    pub dropped: usize,
    /// The message's offset in its room's history, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

impl Delivery {
    pub(crate) const fn queued(count: usize) -> Self {
        Self {
            matched: count,
            queued: count,
            dropped: 0,
            offset: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn one_room_is_named_with_or_without_exceptions() {
        assert_eq!(Audience::room("r").as_room(), Some("r"));
        let minus = Audience::room("r").except_room("q").except_user("u");
        assert_eq!(minus.as_room(), Some("r"));
        assert_eq!(Audience::rooms(["r", "q"]).as_room(), None);
        assert_eq!(Audience::rooms(["r", "r"]).as_room(), Some("r"));
        assert_eq!(Audience::room("r").and_user("u").as_room(), None);
        assert_eq!(Audience::all().as_room(), None);
    }

    #[test]
    fn a_list_is_no_audience() {
        for list in ["[]", "[true]", r#"[true,["r"],[],[],[],[],[]]"#] {
            let fault = serde_json::from_str::<Audience>(list).expect_err(list);
            assert!(
                fault.to_string().contains("invalid type: sequence"),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_misspelt_member_is_an_error() {
        assert!(serde_json::from_str::<Audience>(r#"{"room":["r"]}"#).is_err());
        assert!(serde_json::from_str::<Audience>(r#"{"conns":[1]}"#).is_err());
    }

    #[test]
    fn a_string_that_is_no_id_names_nobody_and_comes_back_as_that() {
        let json = r#"{"rooms":["r"],"conns":["x","","7","-1","9007199254740992"]}"#;
        let audience: Audience = serde_json::from_str(json).expect("no error");
        assert_eq!(audience.as_room(), None, "the room is not all of it");
        let ids: Vec<_> = audience.conns.iter().map(|conn| conn.as_u64()).collect();
        assert_eq!(ids, [u64::MAX, u64::MAX, 7, u64::MAX, u64::MAX]);
        let again = serde_json::to_string(&audience).expect("JSON");
        let again: Audience = serde_json::from_str(&again).expect("what was written");
        assert_eq!(again, audience);
        for json in [
            r#"{"conns":"7"}"#,
            r#"{"except_conns":[null]}"#,
            r#"{"conns":[["7"]]}"#,
        ] {
            assert!(serde_json::from_str::<Audience>(json).is_err(), "{json}");
        }
    }
}
