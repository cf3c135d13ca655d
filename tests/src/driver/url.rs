//! Any Roomcast server, reached by its WebSocket address.

use std::{collections::BTreeMap, time::Duration};

use hyper::Method;
use tokio::runtime::{Builder, Runtime};

use self::{
    nodes::Nodes,
    socket::{Socket, Speech},
};
use super::{Driver, DriverError, api::encode};
use crate::{
    Actor, Answer, Event, Op,
    op::{Claim, sent_json, unix_s},
};

mod barrier;
mod nodes;
mod socket;

/// The longest wait in real time. Stories with longer ones need a clock that can be moved.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The time by which timers of a busy server may be late: so much longer is waited in truth, and no
/// story has anything due within it.
const LATE: Duration = Duration::from_millis(300);

/// A server that is reached through `ws://host:port/ws`, with or without a path before that; ops of
/// the application use its HTTP API.
///
/// After each op every connection, first the one that acted, sends `$rooms`. Everything that the
/// server sent before comes before the answer, so all effects have arrived when it does. Nothing
/// depends on time.
///
/// Others name an actor by its connection id. An actor that does not ask for `$welcome` learns it
/// from a message to itself, in a room `~` that it leaves again.
#[derive(Debug)]
pub struct Url {
    runtime: Runtime,
    nodes: Nodes,
    /// The namespace that stories call the default one.
    namespace: String,
    speech: Speech,
    welcome: bool,
    users: Option<Users>,
    waits: bool,
    sockets: BTreeMap<Actor, Socket>,
    /// The last connection of every actor.
    conns: BTreeMap<Actor, Conn>,
    inboxes: BTreeMap<Actor, Vec<Event>>,
    barriers: u64,
}

/// A connection of an actor.
#[derive(Debug)]
struct Conn {
    namespace: String,
    id: String,
    /// The server that it is connected to.
    node: usize,
}

/// The way in which the server learns the user of a connection.
#[derive(Debug, Clone)]
enum Users {
    /// `?user=ann` in the address.
    Address,
    /// A header field, as a proxy sets it.
    Header(Box<str>),
}

impl Url {
    /// The server at `ws://host:port/ws`, without its HTTP API.
    ///
    /// # Errors
    ///
    /// When the address has another form.
    pub fn new(address: impl Into<String>) -> Result<Self, DriverError> {
        let nodes = Nodes::new(address.into())?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|fault| DriverError::Transport(fault.to_string()))?,
            nodes,
            namespace: "default".into(),
            speech: Speech::Envelopes,
            welcome: false,
            users: None,
            waits: false,
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            barriers: 0,
        })
    }

    /// The same, with the HTTP API on the same host and port, beside `/ws`.
    #[must_use]
    pub fn with_api(mut self, key: Option<&str>) -> Self {
        self.nodes.set_api(key);
        self
    }

    /// The same, with further servers (or none) that share its rooms through a relay. Connections
    /// and API calls go to the servers in turn. A call about a connection goes to a server that
    /// does not have it, if there is more than one.
    ///
    /// # Errors
    ///
    /// When an address has another form.
    pub fn with_relay<A: Into<String>>(
        mut self,
        others: impl IntoIterator<Item = A>,
    ) -> Result<Self, DriverError> {
        self.nodes.share(others.into_iter().map(Into::into))?;
        Ok(self)
    }

    /// The same, with all connections on the first server, and API calls to the others: for stories
    /// about the connections of one server.
    #[must_use]
    pub const fn with_connections_together(mut self) -> Self {
        self.nodes.keep_together();
        self
    }

    /// The same, with another namespace in place of the default one: stories in different
    /// namespaces do not disturb each other.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The same for an application that guards its rooms, so that clients cannot learn their ids by
    /// a message to themselves. Every client asks for `$welcome`, which is reported only if the
    /// story asks for it.
    #[must_use]
    pub const fn with_welcome(mut self) -> Self {
        self.welcome = true;
        self
    }

    /// The same, where an application takes the user of a connection from `?user=ann` in its
    /// address.
    #[must_use]
    pub fn with_users(mut self) -> Self {
        self.users = Some(Users::Address);
        self
    }

    /// The same, where the server takes the user from a header field, as a proxy sets it.
    #[must_use]
    pub fn with_user_header(mut self, name: &str) -> Self {
        self.users = Some(Users::Header(name.into()));
        self
    }

    /// The same, with real waits where time passes in a story, up to two seconds each.
    #[must_use]
    pub const fn with_waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// The same, in namespaces without envelopes. Their application answers `join:ROOM` with
    /// `Joined room: ROOM` and then, to the room, `ID joined`, and `leave:ROOM` with
    /// `Left room: ROOM`, before it answers later requests.
    #[must_use]
    pub const fn with_words(mut self) -> Self {
        self.speech = Speech::Words;
        self
    }

    /// Returns the name on the server of a namespace in a story.
    pub fn namespace(&self, namespace: &str) -> String {
        match namespace {
            "default" => self.namespace.clone(),
            other if self.namespace == "default" => other.into(),
            other => format!("{}-{other}", self.namespace),
        }
    }

    fn connect(
        &mut self,
        actor: &Actor,
        namespace: &str,
        user: Option<&str>,
        query: Option<&str>,
        headers: &[(Box<str>, Box<str>)],
        welcome: bool,
    ) -> Result<Answer, DriverError> {
        if self.sockets.contains_key(actor) {
            return Ok(Answer::none());
        }
        let namespace = self.namespace(namespace);
        let node = self.nodes.next_for_connection();
        let mut address = self.nodes.address(node).to_owned();
        if namespace != "default" {
            address = format!("{address}/{namespace}");
        }
        let mut headers = headers.to_vec();
        if let (Some(Users::Header(name)), Some(user)) = (&self.users, user) {
            headers.push((name.clone(), user.into()));
        }
        let user = user.filter(|_| matches!(self.users, Some(Users::Address)));
        let user = user.map(|user| format!("user={}", encode(user)));
        let query: Vec<_> = user.as_deref().into_iter().chain(query).collect();
        if !query.is_empty() {
            address = format!("{address}?{}", query.join("&"));
        }
        let opened = Socket::open(&address, &headers, self.speech, welcome || self.welcome);
        let opened = self.runtime.block_on(opened)?;
        let (mut socket, mut events) = match opened {
            Ok(opened) => opened,
            Err(status) => return Ok(Answer::refused(status)),
        };
        let id = match events.first() {
            Some(Event::Text(text)) => socket::welcomed(text),
            _ => {
                let name = format!("probe-{}-{}", std::process::id(), self.barriers);
                self.barriers += 1;
                let (id, pushed) = self.runtime.block_on(socket.find_id(&name))?;
                events.extend(pushed);
                id
            }
        };
        if !welcome && self.speech == Speech::Envelopes {
            events.clear();
        }
        let conn = Conn {
            namespace,
            id,
            node,
        };
        self.conns.insert(actor.clone(), conn);
        self.deliver(actor, events);
        self.sockets.insert(actor.clone(), socket);
        Ok(Answer::none())
    }

    fn deliver(&mut self, actor: &Actor, events: Vec<Event>) {
        let inbox = self.inboxes.entry(actor.clone()).or_default();
        // A connection that was opened during a barrier may get it late.
        inbox.extend(
            events
                .into_iter()
                .filter(|event| !barrier::is_of_relay(event)),
        );
    }

    /// Calls the API of the next server in turn.
    fn call(
        &mut self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<String>,
    ) -> Result<Answer, DriverError> {
        let node = self.nodes.next();
        match self.nodes.api(node) {
            Some(api) => self.runtime.block_on(api.call(method, path, key, body)),
            None => Err(DriverError::Unsupported("it needs the HTTP API".into())),
        }
    }

    fn send(&mut self, op: &Op) -> Result<Answer, DriverError> {
        let Op::Send {
            key,
            to,
            event,
            path,
            data,
            ..
        } = op
        else {
            return Ok(Answer::none());
        };
        let namespace = self.namespace(op.namespace());
        let audience = to.audience(|actor| {
            let conn = self.conns.get(actor)?;
            (conn.namespace == namespace).then(|| conn.id.parse().ok())?
        });
        let event = roomcast_core::Event::new(event).with_path(path.as_deref());
        let body = sent_json(audience, event, data);
        let path = format!("{namespace}/send");
        self.call(Method::POST, &path, key.as_deref(), Some(body))
    }

    /// Calls the API about the last connection of an actor: its namespace and id make the path.
    fn call_about(
        &mut self,
        actor: &Actor,
        method: Method,
        path: impl FnOnce(&str, &str) -> String,
    ) -> Result<Answer, DriverError> {
        match self.conns.get(actor) {
            Some(conn) => {
                let path = path(&conn.namespace, &conn.id);
                self.nodes.follow(conn.node);
                self.call(method, &path, None, None)
            }
            None => Ok(Answer::refused(404)),
        }
    }

    fn move_member(
        &mut self,
        method: Method,
        actor: &Actor,
        room: &str,
    ) -> Result<Answer, DriverError> {
        self.call_about(actor, method, |namespace, id| {
            format!("{namespace}/rooms/{}/members/{id}", encode(room))
        })
    }

    fn list(&mut self, op: &Op, what: &str) -> Result<Answer, DriverError> {
        let path = format!("{}/{what}", self.namespace(op.namespace()));
        self.call(Method::GET, &path, None, None)
    }

    fn withdraw(&mut self, namespace: &str, user: &str) -> Result<Answer, DriverError> {
        let (user, before) = (encode(user), unix_s() + 1);
        let namespace = self.namespace(namespace);
        let path = format!("{namespace}/users/{user}/connections?not_before={before}");
        self.call(Method::DELETE, &path, None, None)
    }

    fn act(&mut self, op: &Op) -> Result<Answer, DriverError> {
        match op {
            Op::Connect {
                actor,
                user,
                query,
                headers,
                welcome,
                ..
            } => {
                let (user, query) = (user.as_deref(), query.as_deref());
                return self.connect(actor, op.namespace(), user, query, headers, *welcome);
            }
            Op::Join { actor, .. }
            | Op::Leave { actor, .. }
            | Op::Rooms { actor }
            | Op::Publish { actor, .. }
            | Op::Text { actor, .. } => {
                let times = if let Op::Text { times, .. } = op {
                    *times
                } else {
                    1
                };
                if let (Some(socket), Some(text)) = (self.sockets.get_mut(actor), op.text()) {
                    self.runtime.block_on(socket.send(&text, times));
                }
            }
            Op::Binary { actor, bytes } => {
                if let Some(socket) = self.sockets.get_mut(actor) {
                    self.runtime.block_on(socket.send_binary(bytes));
                }
            }
            Op::Disconnect { actor } => {
                if let Some(socket) = self.sockets.remove(actor) {
                    let events = self.runtime.block_on(socket.close())?;
                    self.deliver(actor, events);
                    self.wait_until_gone(actor)?;
                }
            }
            Op::Vanish { actor } => {
                if let Some(socket) = self.sockets.remove(actor) {
                    self.runtime.block_on(async { drop(socket) });
                    self.wait_until_gone(actor)?;
                }
            }
            Op::Wait { millis } => {
                let time = Duration::from_millis(*millis) + LATE;
                self.runtime
                    .block_on(async { tokio::time::sleep(time).await });
            }
            Op::Authenticate { actor, claim } => {
                if let Some(socket) = self.sockets.get_mut(actor) {
                    let text = Claim::text(&claim.sign());
                    self.runtime.block_on(socket.send(&text, 1));
                }
            }
            Op::Withdraw { user } => return self.withdraw(op.namespace(), user),
            Op::Send { .. } => return self.send(op),
            Op::ServerJoin { actor, room } => return self.move_member(Method::PUT, actor, room),
            Op::ServerLeave { actor, room } => {
                return self.move_member(Method::DELETE, actor, room);
            }
            Op::Close {
                actor,
                code,
                reason,
            } => {
                return self.call_about(actor, Method::DELETE, |namespace, id| {
                    let reason = encode(reason);
                    format!("{namespace}/connections/{id}?code={code}&reason={reason}")
                });
            }
            Op::ListRooms { .. } => return self.list(op, "rooms"),
            Op::ListConnections { .. } => return self.list(op, "connections"),
            Op::Pong { .. } | Op::Stall { .. } | Op::Read { .. } | Op::Crash => {
                return Err(DriverError::Unsupported(op.to_string()));
            }
        }
        Ok(Answer::none())
    }
}

impl Driver for Url {
    fn supports(&self, op: &Op) -> bool {
        match op {
            Op::Connect { user, .. } => user.is_none() || self.users.is_some(),
            Op::Wait { millis } => self.waits && Duration::from_millis(*millis) <= WAIT_MAX,
            Op::Authenticate { .. }
            | Op::Join { .. }
            | Op::Leave { .. }
            | Op::Rooms { .. }
            | Op::Publish { .. }
            | Op::Text { .. }
            | Op::Binary { .. }
            | Op::Disconnect { .. } => true,
            // Only the API shows when the server has noticed.
            Op::Vanish { .. }
            | Op::Send { .. }
            | Op::ServerJoin { .. }
            | Op::ServerLeave { .. }
            | Op::Close { .. }
            | Op::Withdraw { .. }
            | Op::ListRooms { .. }
            | Op::ListConnections { .. } => self.nodes.have_apis(),
            Op::Pong { .. } | Op::Stall { .. } | Op::Read { .. } | Op::Crash => false,
        }
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        if !self.supports(op) {
            return Err(DriverError::Unsupported(op.to_string()));
        }
        if self.nodes.are_shared() {
            // Late effects of earlier ops may still be in flight.
            self.pass_relay()?;
        }
        let answer = self.act(op)?;
        self.synchronize(op)?;
        Ok(answer)
    }

    fn is_late(&self) -> bool {
        self.waits
    }

    fn is_relayed(&self) -> bool {
        self.nodes.are_shared()
    }

    fn is_divided(&self) -> bool {
        self.nodes.are_several()
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.inboxes.remove(actor).unwrap_or_default()
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.conns.get(actor).map(|conn| conn.id.clone())
    }
}
