//! Waiting for all effects of an op.

use std::collections::BTreeMap;

use hyper::Method;

use super::{
    Conn, Url,
    socket::{PATIENCE, Socket},
};
use crate::{Actor, Event, Op, driver::DriverError};

/// The prefix of the names of barrier events, which go through a relay to everybody.
const PASSED: &str = "relay-barrier-";

/// True for a barrier event.
pub(super) fn is_of_relay(event: &Event) -> bool {
    let text = if let Event::Text(text) = event {
        text.strip_prefix(r#"{"event":""#)
    } else {
        None
    };
    text.is_some_and(|rest| rest.starts_with(PASSED))
}

impl Url {
    /// Waits until all effects of the op have arrived.
    pub(super) fn synchronize(&mut self, op: &Op) -> Result<(), DriverError> {
        let actor = op.client();
        // The effects of connecting have been read, and a barrier would count towards its rate.
        if let Some(actor) = actor
            && !matches!(op, Op::Connect { .. })
        {
            self.barrier(std::slice::from_ref(actor))?;
        }
        if self.nodes.are_shared() {
            self.pass_relay()?;
        }
        let others = self.sockets.keys().filter(|other| Some(*other) != actor);
        let others: Vec<_> = others.cloned().collect();
        self.barrier(&others)
    }

    /// Requests the rooms of each actor, and reads until the answers arrive.
    fn barrier(&mut self, actors: &[Actor]) -> Result<(), DriverError> {
        self.barriers += 1;
        let id = format!("barrier-{}", self.barriers);
        for actor in actors {
            if let Some(socket) = self.sockets.get_mut(actor) {
                self.runtime.block_on(socket.ask(&id));
            }
        }
        for actor in actors {
            self.read_until(actor, async |socket| socket.read_until_answered(&id).await)?;
        }
        Ok(())
    }

    /// Reads the events of an actor until `read` is done, or its connection ends.
    fn read_until(
        &mut self,
        actor: &Actor,
        read: impl AsyncFnOnce(&mut Socket) -> Result<(Vec<Event>, bool), DriverError>,
    ) -> Result<(), DriverError> {
        let Some(socket) = self.sockets.get_mut(actor) else {
            return Ok(());
        };
        let (events, open) = self.runtime.block_on(read(socket))?;
        self.deliver(actor, events);
        if !open {
            self.sockets.remove(actor);
            self.wait_until_gone(actor)?;
        }
        Ok(())
    }

    /// Sends a message from each server through the relay to everybody, and reads until all have
    /// arrived: the relay keeps the order in which a server publishes.
    pub(super) fn pass_relay(&mut self) -> Result<(), DriverError> {
        let open = self.sockets.keys().filter_map(|actor| {
            let conn = self.conns.get(actor)?;
            Some((conn.namespace.clone(), actor.clone()))
        });
        let mut by_namespace: BTreeMap<String, Vec<Actor>> = BTreeMap::new();
        for (namespace, actor) in open {
            by_namespace.entry(namespace).or_default().push(actor);
        }
        for (namespace, actors) in by_namespace {
            for node in 0..self.nodes.count() {
                let event = self.send_to_all(&namespace, node)?;
                for actor in &actors {
                    let read = async |socket: &mut Socket| socket.read_until_pushed(&event).await;
                    self.read_until(actor, read)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a barrier event through the API of a server, and returns its name.
    fn send_to_all(&mut self, namespace: &str, node: usize) -> Result<String, DriverError> {
        self.barriers += 1;
        let event = format!("{PASSED}{}", self.barriers);
        let body = format!(r#"{{"audience":{{"all":true}},"event":"{event}"}}"#);
        let path = format!("{namespace}/send");
        let Some(api) = self.nodes.api(node) else {
            let needed = "a relay needs the HTTP API".into();
            return Err(DriverError::Unsupported(needed));
        };
        let sent = api.call(Method::POST, &path, None, Some(body));
        match self.runtime.block_on(sent)?.status {
            200 => Ok(event),
            status => {
                let fault = format!("a message to everybody was answered {status}");
                Err(DriverError::Transport(fault))
            }
        }
    }

    /// Waits until the server has noticed the end of a connection.
    pub(super) fn wait_until_gone(&mut self, actor: &Actor) -> Result<(), DriverError> {
        let Some(Conn {
            namespace,
            id,
            node,
        }) = self.conns.get(actor)
        else {
            return Ok(());
        };
        let Some(api) = self.nodes.api(*node) else {
            return Ok(());
        };
        let path = format!("{namespace}/connections/{id}");
        let gone = async {
            while api.call(Method::GET, &path, None, None).await?.status != 404 {
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        let patience = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, gone).await });
        patience.unwrap_or_else(|_| {
            let fault = format!("{actor} is gone, but the server still lists its connection");
            Err(DriverError::Transport(fault))
        })
    }
}
