//! The core in this process: no socket, no clock, no waiting.

use std::collections::BTreeMap;

use roomcast_core::{
    Command, Config, ConnId, Frame, Handshake, Hub, HubState, Input, Limits, Opening, Outbox,
    Record, Timestamp,
};

use super::{Driver, DriverError};
use crate::{Actor, Answer, Event, Op};

mod calls;

/// What a [`Core`] does between two ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sleep {
    /// Nothing: the hubs stay in memory.
    #[default]
    Never,
    /// It saves the whole state of its hubs as text, forgets them, and restores them.
    Saved,
    /// The same, but of a connection it has only what it wrote down at the last
    /// [`Command::Persist`].
    Persisted,
}

/// An in-process server: one [`Hub`] for each namespace.
///
/// It checks every command that it is given: recipients are sorted, unique and alive, and nothing
/// follows a close.
#[derive(Debug, Clone)]
pub struct Core {
    limits: Limits,
    now: Timestamp,
    hubs: BTreeMap<Box<str>, Hub>,
    /// The last connection of every actor, dead or alive.
    lives: BTreeMap<Actor, (Box<str>, ConnId)>,
    /// Who is connected.
    live: BTreeMap<(Box<str>, ConnId), Actor>,
    inboxes: BTreeMap<Actor, Vec<Event>>,
    sleep: Sleep,
    persisted: BTreeMap<(Box<str>, ConnId), String>,
    commands: Vec<String>,
    journal: Vec<String>,
}

impl Core {
    /// A server that nobody is connected to, with these limits for each namespace.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            now: Timestamp::ZERO,
            hubs: BTreeMap::new(),
            lives: BTreeMap::new(),
            live: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            sleep: Sleep::Never,
            persisted: BTreeMap::new(),
            commands: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// The same, sleeping between any two ops.
    #[must_use]
    pub const fn with_sleep(mut self, sleep: Sleep) -> Self {
        self.sleep = sleep;
        self
    }

    /// The hub of a namespace, once something happened in it.
    pub fn hub(&self, namespace: &str) -> Option<&Hub> {
        self.hubs.get(namespace)
    }

    /// The time on the driver's clock.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The commands that the last op led to, as text.
    pub fn commands(&self) -> &[String] {
        &self.commands
    }

    /// Every input so far, as the lines of a journal.
    pub fn journal(&self) -> &[String] {
        &self.journal
    }

    /// Checks the hubs from inside, and that they know the same connections as this driver.
    ///
    /// # Panics
    ///
    /// When a hub is broken.
    pub fn assert_consistent(&self) {
        for (namespace, hub) in &self.hubs {
            hub.assert_consistent();
            let live = self.live.keys().filter(|(other, _)| other == namespace);
            assert_eq!(hub.counts().connections, live.count(), "{namespace}");
        }
        for (namespace, id) in self.live.keys() {
            let known = self.hubs.get(namespace).and_then(|hub| hub.connection(*id));
            assert!(known.is_some(), "{namespace}/{id} is forgotten");
        }
    }

    fn is_live(&self, actor: &Actor) -> bool {
        let life = self.lives.get(actor);
        life.is_some_and(|life| self.live.contains_key(life))
    }

    fn config(&self, namespace: &str) -> Config {
        Config::new(format!("epoch of {namespace}")).with_limits(self.limits.clone())
    }

    /// One call of a hub: written down and made, its commands carried out.
    fn call<T>(
        &mut self,
        namespace: &str,
        input: Input<'_>,
        call: impl FnOnce(&mut Hub, Timestamp, &mut Outbox) -> T,
    ) -> Result<T, DriverError> {
        let (result, out) = self.begin(namespace, input, call);
        self.finish(namespace, &out)?;
        Ok(result)
    }

    fn begin<T>(
        &mut self,
        namespace: &str,
        input: Input<'_>,
        call: impl FnOnce(&mut Hub, Timestamp, &mut Outbox) -> T,
    ) -> (T, Outbox) {
        let config = self.config(namespace);
        if !self.hubs.contains_key(namespace) {
            let opening = Opening::new(config.clone(), HubState::default());
            self.write_down(namespace, Record::Open(opening));
        }
        self.write_down(namespace, Record::Input(input));
        let hub = self.hubs.entry(namespace.into());
        let hub = hub.or_insert_with(|| Hub::new(config));
        let mut out = Outbox::new();
        let result = call(hub, self.now, &mut out);
        (result, out)
    }

    fn finish(&mut self, namespace: &str, out: &Outbox) -> Result<(), DriverError> {
        for command in out {
            self.commands.push(format!("{command:?}"));
            self.carry_out(namespace, &command)?;
        }
        if self.sleep != Sleep::Never {
            self.nap(namespace)?;
        }
        Ok(())
    }

    fn write_down(&mut self, namespace: &str, record: Record<'_>) {
        let entry = roomcast_core::Entry::new(self.now, namespace, record);
        self.journal.push(entry.to_line());
    }

    fn carry_out(&mut self, namespace: &str, command: &Command<'_>) -> Result<(), DriverError> {
        let broken = |what: &str| Err(DriverError::Command(format!("{what}: {command:?}")));
        match *command {
            Command::Send { to, frame } => {
                if to.is_empty() || !to.is_sorted_by(|a, b| a < b) {
                    return broken("recipients must be sorted and unique");
                }
                let Frame::Text(text) = frame else {
                    return broken("only text is spoken");
                };
                for &id in to {
                    let Some(actor) = self.actor(namespace, id) else {
                        return broken("a recipient is not connected");
                    };
                    self.tell(&actor, Event::Text(text.into()));
                }
            }
            Command::Close { conn, code, reason } => {
                let Some(actor) = self.live.remove(&(namespace.into(), conn)) else {
                    return broken("nobody to close");
                };
                self.persisted.remove(&(namespace.into(), conn));
                let (code, reason) = (code.as_u16(), reason.into());
                self.tell(&actor, Event::Closed { code, reason });
            }
            Command::Ping { conn } => match self.actor(namespace, conn) {
                Some(actor) => self.tell(&actor, Event::Ping),
                None => return broken("nobody to ping"),
            },
            Command::Persist { conn } => {
                let hub = self.hubs.get(namespace);
                // The hub does not know it when it was closed within the same turn.
                if let Some(Ok(state)) = hub.map(|hub| hub.conn_state(conn)) {
                    let text = serde_json::to_string(&state).unwrap_or_default();
                    self.persisted.insert((namespace.into(), conn), text);
                }
            }
        }
        Ok(())
    }

    fn actor(&self, namespace: &str, id: ConnId) -> Option<Actor> {
        self.live.get(&(namespace.into(), id)).cloned()
    }

    fn tell(&mut self, actor: &Actor, event: Event) {
        self.inboxes.entry(actor.clone()).or_default().push(event);
    }

    /// Forgets a hub and restores it from text.
    fn nap(&mut self, namespace: &str) -> Result<(), DriverError> {
        let Some(hub) = self.hubs.get(namespace) else {
            return Ok(());
        };
        let broken = |fault: &dyn std::fmt::Display| DriverError::Command(fault.to_string());
        let state = serde_json::to_string(&hub.state()).map_err(|fault| broken(&fault))?;
        let mut conns = Vec::new();
        for ((other, id), _) in self
            .live
            .iter()
            .filter(|((other, _), _)| **other == *namespace)
        {
            conns.push(match self.sleep {
                Sleep::Persisted => self
                    .persisted
                    .get(&(other.clone(), *id))
                    .cloned()
                    .ok_or_else(|| broken(&format!("{id} was never persisted")))?,
                Sleep::Never | Sleep::Saved => hub
                    .conn_state(*id)
                    .map(|state| serde_json::to_string(&state).unwrap_or_default())
                    .map_err(|fault| broken(&fault))?,
            });
        }
        let state = serde_json::from_str(&state).map_err(|fault| broken(&fault))?;
        let conns: Result<Vec<_>, _> = conns
            .iter()
            .map(|conn| serde_json::from_str(conn))
            .collect();
        let conns = conns.map_err(|fault| broken(&fault))?;
        let hub =
            Hub::restore(self.config(namespace), state, conns).map_err(|fault| broken(&fault))?;
        self.hubs.insert(namespace.into(), hub);
        Ok(())
    }
}

impl Driver for Core {
    fn supports(&self, _op: &Op) -> bool {
        true
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        self.commands.clear();
        self.dispatch(op)
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.inboxes.remove(actor).unwrap_or_default()
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.lives.get(actor).map(|(_, id)| id.to_string())
    }
}

/// A handshake as the op describes it.
fn handshake(user: Option<&str>, welcome: bool) -> Handshake {
    let handshake = Handshake::new().with_welcome(welcome);
    match user {
        Some(user) => handshake.with_user(user),
        None => handshake,
    }
}
