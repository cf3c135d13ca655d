//! Questions to a world.

use roomcast_core::{App, ConnId, Gateway, Hub, Router, gateway::HandlerError};

use super::World;
use crate::{Actor, Answer, Driver, Event};

impl<G: Gateway> World<G> {
    /// The events of all clients from the last op, in the order in which they were sent.
    pub fn heard(&self) -> &[(Actor, Event)] {
        &self.heard
    }

    /// The answer to the last op: the HTTP status of a connect, or the API's answer to an op of the
    /// server side.
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Takes the errors of the application since the last call.
    pub fn take_errors(&mut self) -> Vec<HandlerError> {
        self.core.take_errors("default")
    }

    /// The application of the default namespace; `None` before the first op.
    pub fn app(&self) -> Option<&App<G>> {
        self.core.app("default")
    }

    /// The hub of the default namespace; `None` before the first op.
    pub fn hub(&self) -> Option<&Hub> {
        self.core.hub("default")
    }

    /// The rooms of the default namespace, by name.
    pub fn rooms(&self) -> Vec<String> {
        self.rooms_in("default")
    }

    /// The rooms of a namespace, by name.
    pub fn rooms_in(&self, namespace: &str) -> Vec<String> {
        let hub = self.core.hub(namespace);
        let rooms = hub.into_iter().flat_map(|hub| hub.rooms("", None));
        rooms.map(|room| room.name.to_owned()).collect()
    }

    /// The rooms that an actor is in, by name, in its namespace.
    ///
    /// # Panics
    ///
    /// When nobody of this name is in the story.
    #[track_caller]
    pub fn rooms_of(&self, actor: impl Into<Actor>) -> Vec<String> {
        let actor = actor.into();
        let conn = self.conn(actor.clone());
        let hub = self.core.hub(self.known.home(&actor));
        let rooms = conn.and_then(|conn| hub?.rooms_of(conn));
        rooms.into_iter().flatten().map(str::to_owned).collect()
    }

    /// Members of a room of the default namespace by name, in the order of their connecting.
    ///
    /// # Panics
    ///
    /// As for [`members_in`](Self::members_in).
    #[track_caller]
    pub fn members(&self, room: &str) -> Vec<Actor> {
        self.members_in("default", room)
    }

    /// Members of a room of a namespace by name, in the order of their connecting.
    ///
    /// # Panics
    ///
    /// When the room was never there, and no line of the story nor anything that somebody got names
    /// it; or when it was there in another namespace only. [`with_names`](Self::with_names) makes
    /// names known beforehand.
    #[track_caller]
    pub fn members_in(&self, namespace: &str, room: &str) -> Vec<Actor> {
        if let Some(fault) = self.unknown_room(namespace, room) {
            panic!("{fault}\n{self}");
        }
        let hub = self.core.hub(namespace);
        let members = hub.map(|hub| hub.members(room)).unwrap_or_default().iter();
        members
            .filter_map(|&conn| self.core.actor(namespace, conn))
            .collect()
    }

    /// True when an actor is connected.
    ///
    /// # Panics
    ///
    /// When nobody of this name is in the story.
    #[track_caller]
    pub fn is_connected(&self, actor: impl Into<Actor>) -> bool {
        let actor = actor.into();
        if let Some(fault) = self.unknown_actor(&actor) {
            panic!("{fault}\n{self}");
        }
        self.core.is_connected(&actor)
    }

    /// The connection of an actor; `None` when it is not connected.
    ///
    /// # Panics
    ///
    /// When nobody of this name is in the story.
    #[track_caller]
    pub fn conn(&self, actor: impl Into<Actor>) -> Option<ConnId> {
        let actor = actor.into();
        if !self.is_connected(actor.clone()) {
            return None;
        }
        self.core.conn(&actor)?.parse().ok()
    }

    /// The reason why an actor cannot be asked about: it is unknown, probably a typing error, for
    /// which a plain "no" would be misleading.
    fn unknown_actor(&self, actor: &Actor) -> Option<String> {
        if self.named.contains(actor.as_str()) {
            return None;
        }
        let there = self.actors.iter().map(Actor::as_str);
        let there: Vec<_> = there.collect();
        (!self.actors.contains(actor)).then(|| {
            let there = there.join(", ");
            format!("nobody called `{actor}` is in the story; there are: {there}")
        })
    }

    /// The same for a room.
    fn unknown_room(&self, namespace: &str, room: &str) -> Option<String> {
        let homes = self.rooms_ever.iter().filter(|(_, name)| **name == *room);
        let homes: Vec<&str> = homes.map(|(home, _)| &**home).collect();
        if homes.contains(&namespace) || self.named.contains(room) {
            return None;
        }
        if let Some(home) = homes.first() {
            return Some(format!(
                "the room `{room}` is of the namespace `{home}` and not of `{namespace}`: ask for \
                 members_in(\"{home}\", \"{room}\")"
            ));
        }
        let is_told = self.story.iter().any(|told| {
            let op = told.op.as_ref();
            let heard = || told.heard.iter().any(|(_, event)| names(event, room));
            op.is_some_and(|op| op.to_string().contains(room)) || heard()
        });
        if is_told {
            return None;
        }
        let ever = self
            .rooms_ever
            .iter()
            .filter(|(home, _)| **home == *namespace);
        let ever: Vec<&str> = ever.map(|(_, name)| &**name).collect();
        Some(format!(
            "no room `{room}` was ever in the namespace `{namespace}`, and nothing in the story names \
             it; there were: {}",
            ever.join(", ")
        ))
    }
}

/// True when a frame has a text in it.
fn names(event: &Event, text: &str) -> bool {
    matches!(event, Event::Text(frame) if frame.contains(text))
}

impl<S> World<Router<S>>
where
    Router<S>: Gateway,
{
    /// The state of the application's router, in the default namespace.
    ///
    /// # Panics
    ///
    /// Before the first op, which makes the application.
    #[track_caller]
    pub fn state(&self) -> &S {
        let app = self.app();
        app.expect("nothing happened yet").gateway().state()
    }
}
