//! A client that stays in its room whatever happens, and keeps its history.

mod content;
mod members;

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use self::content::{content, read_content};
use super::{
    history::{History, Joined, Position, Step},
    random::Random,
    world::{Phase, World},
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Timeouts for a connection, for an answer, and for a silent server.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(8);
/// The time between two queries for the users of the room.
const MEMBERS: Duration = Duration::from_millis(500);
/// Far away.
const NEVER: Duration = Duration::from_secs(86_400);

/// A member of a room, which may publish there.
pub(super) struct Client {
    number: usize,
    room: usize,
    name: String,
    world: Arc<World>,
    phase: watch::Receiver<Phase>,
    random: Random,
    steps: Vec<Step>,
    place: Place,
    /// Publishers whose last messages it has.
    ends: HashSet<u32>,
    publisher: Option<Publisher>,
    ids: u64,
    is_joined: bool,
    was_joined: bool,
    /// True with the last messages of all publishers.
    has_all: bool,
    /// The question for the users of the room, and the time of the next one.
    members: (Option<u64>, Instant),
    /// The mistakes of the last answer.
    last_members: Box<str>,
    is_done: bool,
}

/// The position of a client, as far as it knows.
#[derive(Default)]
struct Place {
    epoch: Option<Arc<str>>,
    offset: u64,
}

/// The part of a client that publishes, one message after the other.
struct Publisher {
    number: u32,
    next: u32,
    pending: Option<Pending>,
    due: Instant,
}

/// An unanswered message. Its key and content stay the same for every retry.
struct Pending {
    number: u32,
    is_last: bool,
    /// The pending request, and its deadline.
    request: Option<(u64, Instant)>,
}

impl Client {
    pub(super) fn new(number: usize, world: &Arc<World>) -> Self {
        let plan = world.plan;
        let room = number % plan.rooms();
        let publisher = (number < plan.publishers).then(|| Publisher {
            number: u32::try_from(number).expect("a few"),
            next: 0,
            pending: None,
            due: Instant::now(),
        });
        Self {
            number,
            room,
            name: plan.room(room),
            phase: world.phase.subscribe(),
            random: world.random.fork(number as u64 + 1),
            world: world.clone(),
            steps: Vec::new(),
            place: Place::default(),
            ends: HashSet::new(),
            publisher,
            ids: 0,
            is_joined: false,
            was_joined: false,
            has_all: false,
            members: (None, Instant::now()),
            last_members: "nobody".into(),
            is_done: false,
        }
    }

    /// Runs until the run is over, and returns its history.
    pub(super) async fn live(mut self) -> History {
        while *self.phase.borrow() != Phase::Over {
            match self.connect().await {
                Some(socket) => {
                    self.serve(socket).await;
                    self.is_joined = false;
                    self.members.0 = None;
                    if let Some(pending) =
                        self.publisher.as_mut().and_then(|it| it.pending.as_mut())
                    {
                        pending.request = None;
                    }
                }
                None => sleep(self.random.millis(20, 200)).await,
            }
        }
        if !self.has_all {
            self.steps.push(Step::Unfinished);
        } else if !self.is_done {
            self.steps.push(Step::Members(self.last_members));
        }
        History {
            room: self.room,
            publisher: self.publisher.map(|publisher| publisher.number),
            steps: self.steps,
        }
    }

    async fn connect(&mut self) -> Option<Socket> {
        let address = self.world.address(&mut self.random)?;
        let mut request = format!("ws://{address}/ws")
            .into_client_request()
            .expect("a URL");
        let user = format!("user-{}", self.number).parse().expect("a header");
        request.headers_mut().insert("x-user", user);
        let connected = timeout(CONNECT, connect_async(request)).await;
        self.world.connects.fetch_add(1, SeqCst);
        Some(connected.ok()?.ok()?.0)
    }

    /// Serves a connection until it ends.
    async fn serve(&mut self, mut socket: Socket) {
        // Some clients disconnect, and some wait for a silent server.
        let leaves = match self.random.below(4) {
            0 => self.random.millis(3_000, 40_000),
            _ => NEVER,
        };
        let leave_at = Instant::now() + leaves;
        let patience = if self.random.below(2) == 0 {
            SILENCE
        } else {
            3 * SILENCE
        };
        let mut heard = Instant::now();
        let mut joins = Joins {
            request: None,
            at: Instant::now(),
            tries: 0,
        };
        let mut phase = self.phase.clone();
        loop {
            if *phase.borrow() == Phase::Over {
                self.read_page(&mut socket).await;
                return;
            }
            let is_leaving = *phase.borrow() == Phase::Going && Instant::now() >= leave_at;
            if is_leaving || heard.elapsed() > patience || joins.tries > 5 {
                return;
            }
            if !self.send_due(&mut socket, &mut joins).await {
                return;
            }
            let wake = self
                .wake(&joins)
                .min(Instant::now() + Duration::from_secs(1));
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        heard = Instant::now();
                        let frame = serde_json::from_str(&text).expect("JSON");
                        self.take(&frame, &mut joins);
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => heard = Instant::now(),
                },
                () = sleep_until(wake) => {}
                _ = phase.changed() => {}
            }
        }
    }

    /// True while some member lacks messages of this client.
    fn publishes(&self) -> bool {
        let world = &self.world;
        self.is_joined && world.done.load(SeqCst) < world.plan.clients
    }

    /// True for a member after a gap, which asks for its position.
    fn asks(&self) -> bool {
        !self.is_joined || self.place.epoch.is_none()
    }

    /// The time at which there is something to send.
    fn wake(&self, joins: &Joins) -> Instant {
        let publish = self
            .publisher
            .iter()
            .filter(|_| self.publishes())
            .map(|it| {
                let answer = it.pending.as_ref().and_then(|pending| pending.request);
                answer.map_or(it.due, |(_, until)| until)
            });
        let members = self.asks_members().then_some(self.members.1);
        let publish = publish.chain(members);
        let join = joins.request.map(|(_, until)| until);
        let join = join.or_else(|| self.asks().then_some(joins.at));
        let all = publish.chain(join).min();
        all.unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// Sends what is due. False when the connection does not take it, or does not answer.
    async fn send_due(&mut self, socket: &mut Socket, joins: &mut Joins) -> bool {
        let now = Instant::now();
        if let Some((_, until)) = joins.request
            && until <= now
        {
            return false;
        }
        if joins.request.is_none() && self.asks() && joins.at <= now {
            let (id, request) = self.join();
            joins.request = Some((id, now + ANSWER));
            if !send(socket, &request).await {
                return false;
            }
        }
        if self.asks_members() && self.members.1 <= now {
            self.ids += 1;
            self.members = (Some(self.ids), now + MEMBERS);
            let ask = json!({"event": "$members", "id": self.ids, "room": self.name});
            if !send(socket, &ask).await {
                return false;
            }
        }
        if !self.publishes() {
            return true;
        }
        match self.publish(now) {
            Due::Nothing => true,
            Due::Request(request) => send(socket, &request).await,
            Due::Late => false,
        }
    }

    fn join(&mut self) -> (u64, Value) {
        self.ids += 1;
        let since = match &self.place.epoch {
            Some(epoch) if self.was_joined && !self.is_joined => {
                json!({"epoch": &**epoch, "offset": self.place.offset})
            }
            _ => Value::Null,
        };
        let data = json!({"since": since});
        let join = json!({"event": "$join", "id": self.ids, "room": self.name, "data": data});
        (self.ids, join)
    }

    fn publish(&mut self, now: Instant) -> Due {
        let Some(publisher) = &mut self.publisher else {
            return Due::Nothing;
        };
        if let Some((_, until)) = publisher.pending.as_ref().and_then(|it| it.request) {
            return if until <= now {
                Due::Late
            } else {
                Due::Nothing
            };
        }
        if publisher.due > now {
            return Due::Nothing;
        }
        let pending = publisher.pending.get_or_insert_with(|| {
            let number = publisher.next;
            publisher.next += 1;
            self.steps.push(Step::Invoked(number));
            let is_last = *self.phase.borrow() == Phase::Ending;
            Pending {
                number,
                is_last,
                request: None,
            }
        });
        self.ids += 1;
        pending.request = Some((self.ids, now + ANSWER));
        let key = format!("{}-{}", publisher.number, pending.number);
        let data = content(publisher.number, pending.number, pending.is_last);
        Due::Request(json!({
            "event": "said", "id": self.ids, "room": self.name, "key": key, "echo": true, "data": data,
        }))
    }

    fn take(&mut self, frame: &Value, joins: &mut Joins) {
        let id = frame["id"].as_u64();
        if id.is_some() && id == joins.request.map(|(id, _)| id) {
            joins.request = None;
            return self.take_join(frame, joins);
        }
        if id.is_some() && id == self.members.0 {
            return self.take_members(frame);
        }
        let publisher = self.publisher.as_mut();
        if let (Some(id), Some(publisher)) = (id, publisher) {
            let pending = publisher.pending.as_mut();
            if let Some(pending) = pending.filter(|it| it.request.is_some_and(|it| it.0 == id)) {
                pending.request = None;
                let number = pending.number;
                self.take_answer(frame, number);
            }
            return;
        }
        match frame["event"].as_str() {
            // Without a room it is about messages for everybody.
            Some("$gap") if frame["room"].is_string() => {
                self.steps.push(Step::Gap);
                self.place = Place::default();
                self.ends.clear();
                // If a join is already in flight, its answer is for the time after the gap.
                joins.at = Instant::now();
            }
            Some("said") => self.take_message(frame),
            _ => {}
        }
    }

    fn take_join(&mut self, frame: &Value, joins: &mut Joins) {
        if let Some(code) = frame["error"]["code"].as_str() {
            joins.tries += 1;
            joins.at = Instant::now() + self.random.millis(50, 300);
            if code != "unavailable" && code != "overloaded" {
                self.steps.push(Step::Failed(frame.to_string().into()));
            }
            return;
        }
        let data = &frame["data"];
        let at = Position {
            epoch: data["epoch"].as_str().expect("an epoch").into(),
            offset: data["offset"].as_u64().expect("an offset"),
        };
        let already = data["already"] == true;
        let since = match (data["recovered"].as_bool(), &self.place.epoch) {
            (Some(recovered), Some(epoch)) => {
                let (epoch, offset) = (epoch.clone(), self.place.offset);
                let missed = recovered.then(|| data["missed"].as_u64().expect("a number"));
                Some((Position { epoch, offset }, missed))
            }
            _ => None,
        };
        let is_recovered = since.as_ref().is_some_and(|(_, missed)| missed.is_some());
        if !already && !is_recovered {
            self.ends.clear();
            self.place.offset = at.offset;
        }
        self.place.epoch = Some(at.epoch.clone());
        self.place.offset = if is_recovered {
            self.place.offset
        } else {
            at.offset
        };
        if !self.was_joined {
            self.world.note_joined();
        }
        (self.is_joined, self.was_joined) = (true, true);
        joins.tries = 0;
        self.steps
            .push(Step::Joined(Box::new(Joined { at, already, since })));
    }

    fn take_message(&mut self, frame: &Value) {
        let Some((id, is_last)) = read_content(&frame["data"]) else {
            return self.steps.push(Step::Foreign(frame.to_string().into()));
        };
        let offset = frame["offset"].as_u64();
        if let Some(offset) = offset {
            self.place.offset = offset;
        }
        self.steps.push(Step::Message { id, offset });
        if is_last {
            self.ends.insert(id.publisher);
            let plan = &self.world.plan;
            self.has_all |= self.ends.len() == plan.publishers_in(self.room);
            if self.has_all && !plan.keeps(self.room) {
                // Such rooms show no users.
                self.finish();
            }
        }
    }

    fn take_answer(&mut self, frame: &Value, number: u32) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        let now = Instant::now();
        match frame["error"]["code"].as_str() {
            None => {
                publisher.pending = None;
                let offset = frame["data"]["offset"].as_u64();
                self.steps.push(Step::Acked { number, offset });
                self.world.note_acked(self.room);
                let (from, to) = self.world.plan.pause_ms;
                publisher.due = now + self.random.millis(from, to);
            }
            Some("unavailable" | "overloaded") => {
                publisher.due = now + self.random.millis(50, 400);
            }
            Some(_) => {
                self.steps.push(Step::Failed(frame.to_string().into()));
                publisher.due = now + self.random.millis(50, 400);
            }
        }
    }

    /// Reads the newest messages of the history, when the run is over.
    async fn read_page(&mut self, socket: &mut Socket) {
        if !self.is_joined || !self.world.plan.keeps(self.room) {
            return;
        }
        self.ids += 1;
        let request = json!({"event": "$history", "id": self.ids, "room": self.name, "data": {}});
        if !send(socket, &request).await {
            return;
        }
        while let Ok(Some(Ok(message))) = timeout(ANSWER, socket.next()).await {
            let Message::Text(text) = message else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["id"] != self.ids {
                continue;
            }
            let Some(epoch) = frame["data"]["epoch"].as_str() else {
                return;
            };
            let messages = frame["data"]["messages"].as_array();
            let messages = messages.into_iter().flatten().filter_map(|message| {
                let (id, _) = read_content(&message["data"])?;
                Some((message["offset"].as_u64()?, id))
            });
            let (epoch, messages) = (epoch.into(), messages.collect());
            return self.steps.push(Step::Page { epoch, messages });
        }
    }
}

/// Joins of a connection: the first one, and questions for the position.
struct Joins {
    request: Option<(u64, Instant)>,
    at: Instant,
    tries: u32,
}

enum Due {
    Nothing,
    Request(Value),
    /// No answer came in time.
    Late,
}

async fn send(socket: &mut Socket, request: &Value) -> bool {
    let sent = socket.send(Message::text(request.to_string()));
    matches!(timeout(ANSWER, sent).await, Ok(Ok(())))
}
