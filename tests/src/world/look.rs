//! Questions to a world.

use roomcast_core::{App, ConnId, Gateway, Hub, Router, gateway::Fault};

use super::World;
use crate::{Actor, Answer, Driver, Event};

impl<G: Gateway> World<G> {
    /// Frames of everybody from the last op, in the order in which it was sent.
    pub fn heard(&self) -> &[(Actor, Event)] {
        &self.heard
    }

    /// Answer to the last op: for connecting the HTTP status, for the server side what its API
    /// answers.
    pub const fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Faults of the application since this was last asked.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        self.core.take_faults("default")
    }

    /// The application, once something happened.
    pub fn app(&self) -> Option<&App<G>> {
        self.core.app("default")
    }

    /// The hub, once something happened.
    pub fn hub(&self) -> Option<&Hub> {
        self.core.hub("default")
    }

    /// The rooms that have members or are kept, by name.
    pub fn rooms(&self) -> Vec<String> {
        let rooms = self.hub().map(|hub| hub.rooms("", None));
        let rooms = rooms.into_iter().flatten();
        rooms.map(|room| room.name.to_owned()).collect()
    }

    /// The rooms that an actor is in, by name.
    pub fn rooms_of(&self, actor: impl Into<Actor>) -> Vec<String> {
        let conn = self.conn(actor);
        let rooms = conn.and_then(|conn| self.hub()?.rooms_of(conn));
        rooms.into_iter().flatten().map(str::to_owned).collect()
    }

    /// Members of a room by name, in the order of their connecting.
    pub fn members(&self, room: &str) -> Vec<Actor> {
        let members = self.hub().map(|hub| hub.members(room));
        let members = members.unwrap_or_default().iter();
        members
            .filter_map(|&conn| self.core.actor("default", conn))
            .collect()
    }

    /// True when an actor is connected.
    pub fn is_connected(&self, actor: impl Into<Actor>) -> bool {
        self.core.is_connected(&actor.into())
    }

    /// The connection of an actor; `None` when it is not connected.
    pub fn conn(&self, actor: impl Into<Actor>) -> Option<ConnId> {
        let actor = actor.into();
        let id = self.core.conn(&actor)?;
        self.core.is_connected(&actor).then(|| id.parse().ok())?
    }
}

impl<S> World<Router<S>>
where
    Router<S>: Gateway,
{
    /// The state of the application's router.
    ///
    /// # Panics
    ///
    /// When nothing happened yet: the application is made when something does.
    #[track_caller]
    pub fn state(&self) -> &S {
        let app = self.app();
        app.expect("nothing happened yet").gateway().state()
    }
}
