//! Waits for everything that an op led to.

use std::collections::BTreeMap;

use hyper::Method;

use super::{
    Conn, Url,
    socket::{PATIENCE, Socket},
};
use crate::{Actor, Event, Op, driver::DriverError};

impl Url {
    /// Waits until everything has arrived that the op led to.
    pub(super) fn synchronize(&mut self, op: &Op) -> Result<(), DriverError> {
        let actor = op.client();
        // What follows from connecting has been read, and a ping would count for its rate.
        if let Some(actor) = actor
            && !matches!(op, Op::Connect { .. })
        {
            self.barrier(std::slice::from_ref(actor))?;
        }
        if self.nodes.are_shared() {
            self.relay_barrier(op)?;
        }
        let others = self.sockets.keys().filter(|other| Some(*other) != actor);
        let others: Vec<_> = others.cloned().collect();
        self.barrier(&others)
    }

    /// Asks each of these for its rooms, and reads until the answer is there.
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

    /// Reads what an actor gets up to something, or to the end of its connection.
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

    /// Has a message go through the relay behind everything that the op led to, and reads until it
    /// is there: what one server publishes reaches each other one in its order.
    fn relay_barrier(&mut self, op: &Op) -> Result<(), DriverError> {
        let node = op.client().and_then(|actor| self.conns.get(actor));
        let node = node.map_or_else(|| self.nodes.last(), |conn| conn.node);
        let open = self
            .conns
            .iter()
            .filter(|(actor, _)| self.sockets.contains_key(*actor));
        let mut by_namespace: BTreeMap<String, Vec<Actor>> = BTreeMap::new();
        for (actor, conn) in open {
            let actors = by_namespace.entry(conn.namespace.clone()).or_default();
            actors.push(actor.clone());
        }
        for (namespace, actors) in by_namespace {
            self.barriers += 1;
            let event = format!("relay-barrier-{}", self.barriers);
            let body = format!(r#"{{"audience":{{"all":true}},"event":"{event}"}}"#);
            let path = format!("{namespace}/send");
            let Some(api) = self.nodes.api(node) else {
                return Err(DriverError::Unsupported(
                    "a relay needs the HTTP API".into(),
                ));
            };
            let sent = self
                .runtime
                .block_on(api.call(Method::POST, &path, None, Some(body)))?;
            if sent.status != 200 {
                let fault = format!("a message to everybody was answered {}", sent.status);
                return Err(DriverError::Transport(fault));
            }
            for actor in &actors {
                self.read_until(actor, async |socket| socket.read_until_pushed(&event).await)?;
            }
        }
        Ok(())
    }

    /// The server may notice the end of a connection after its client: waits until it has.
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
