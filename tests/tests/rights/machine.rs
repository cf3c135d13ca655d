//! The core, and the mistakes that are planted in it.

#![allow(clippy::wildcard_enum_match_arm)] // clients hear of a few commands only

use std::{borrow::Cow, collections::BTreeMap};

use roomcast_core::{
    App, Applied, Audience, Command, Config, ConnId, DisconnectReason, Explained, Explanation,
    Frame, Handshake, Identity, Input, Limits, Outbox, Policies, Timestamp,
    explain::Reason,
    gateway::AppState,
    hub::ConnState,
    policy::{GrantRules, Grants},
    room::HistoryMessage,
};
use serde_json::{Value, json};

use super::model::{Got, Memberships, in_order};
use super::rows::Rows;
use super::story::{FORGETFUL, NARROW, QUIET, UNSEEN, WITHDRAWN_MAX};
use super::story::{GRANTS, Person, ROOMS, Rule, STANDARD, Step, USERS};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    RenewalForgetsToLeave,
    PatternMatchesTooMuch,
    /// The user `*` also replaces `{user}`.
    AnyNameIsInserted,
    DeadlineIsLostInSleep,
    WithdrawalIsLostInSleep,
    WithdrawalIsLostInRestart,
    /// The common withdrawal time is reset to zero.
    FoldIsLostInRestart,
    /// Rooms begin again, with other messages.
    RoomsAreLostInRestart,
    ExplanationForgetsPolicies,
    ExplanationForgetsTime,
}

pub(super) struct Machine {
    bug: Option<Bug>,
    app: App<()>,
    now: u64,
    standard: usize,
    clients: BTreeMap<usize, ConnId>,
    /// Messages of rooms, as a store has them.
    kept: BTreeMap<String, Vec<HistoryMessage>>,
    rows: Rows,
    /// The last message of each room that each client saw.
    seen: BTreeMap<(usize, usize), u64>,
    got: Got,
}

const RIGHTS: [&str; 4] = ["join", "publish", "presence", "history"];

fn rule((rooms, rights): &Rule) -> Value {
    let can = RIGHTS.iter().zip(rights).filter(|(_, has)| **has);
    json!({"rooms": rooms, "can": can.map(|(right, _)| right).collect::<Vec<_>>()})
}

fn policies(standard: usize) -> Policies {
    let grants = STANDARD[standard].iter().map(|(users_only, standard)| {
        let mut rule = rule(standard);
        rule["for"] = json!(if *users_only { "users" } else { "anyone" });
        rule
    });
    let grants: Vec<_> = grants.collect();
    let history = json!({"messages": 1000, "age_s": 100_000});
    let rooms = json!([
        {"match": QUIET, "publish": false, "presence": "counts", "history": history},
        {"match": UNSEEN, "history": history},
        {"match": FORGETFUL, "presence": "counts"},
        {"match": NARROW, "members": 1, "presence": "counts", "history": history},
        {"match": "*", "presence": "counts", "history": history},
    ]);
    let policies = json!({"rooms": rooms, "grants": grants});
    serde_json::from_value(policies).expect("policies")
}

fn config(standard: usize) -> Config {
    let mut limits = Limits::default();
    (
        limits.heartbeat,
        limits.inbound_messages,
        limits.inbound_bytes,
    ) = (None, None, None);
    limits.withdrawn_users = WITHDRAWN_MAX;
    Config::new("e")
        .with_limits(limits)
        .with_policies(policies(standard))
        .with_durable(true)
}

impl Machine {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Self {
            bug,
            app: App::new(config(0), ()),
            now: 0,
            standard: 0,
            clients: BTreeMap::new(),
            kept: BTreeMap::new(),
            rows: Rows::default(),
            seen: BTreeMap::new(),
            got: Vec::new(),
        }
    }

    pub(super) fn memberships(&self) -> Memberships {
        let hub = self.app.hub();
        let rooms = |conn: &ConnId| {
            let rooms = hub.rooms_of(*conn).unwrap_or_default().into_iter();
            rooms.filter_map(|name| ROOMS.into_iter().find(|room| *room == name))
        };
        let clients = self.clients.iter();
        clients
            .map(|(who, conn)| (*who, rooms(conn).collect()))
            .collect()
    }

    fn grants(&self, person: Person) -> Grants {
        let user = person.user.map(|user| USERS[user]);
        let rules = GRANTS[person.grants].iter().map(|written| {
            let mut rule = rule(written);
            let rooms = written.0.to_owned();
            rule["rooms"] = json!(match self.bug {
                Some(Bug::PatternMatchesTooMuch) => rooms + "*",
                Some(Bug::AnyNameIsInserted) => rooms.replace("{user}", user.unwrap_or_default()),
                _ => rooms,
            });
            rule
        });
        let rules = Value::from_iter(rules);
        let rules: GrantRules = serde_json::from_value(rules).expect("rules");
        rules.for_user(user)
    }

    fn identity(&self, person: Person) -> Identity {
        let mut identity = Identity::new().with_grants(self.grants(person));
        identity.user = person.user.map(|user| USERS[user].into());
        identity.issued_s = person.issued_s;
        let deadline = |seconds| Timestamp::from_millis(self.now + 1000 * seconds);
        identity.deadline = person.holds_s.map(deadline);
        identity
    }

    pub(super) fn perform(&mut self, step: &Step) -> Got {
        let explained = self.explain(step);
        self.carry_on(step);
        self.app.hub().assert_consistent();
        let got = in_order(step, std::mem::take(&mut self.got));
        if let Some((who, explanation)) = explained {
            let answer = format!("{who}: {} ", step.event().expect("an action"));
            let answer = got.iter().find(|line| line.starts_with(&answer));
            let codes = ["forbidden", "expired", "unauthorized", "member_limit"];
            let refused = answer.is_some_and(|answer| {
                let end = answer.rsplit(' ').next().expect("words");
                codes.contains(&end)
            });
            let allowed = explanation.reason.received();
            if allowed != Some(!refused) {
                let reason = &explanation.reason;
                return vec![format!("{who}: explained by {reason:?}, got {answer:?}")];
            }
        }
        got
    }

    /// The explanation of the right that an action of a client needs, before it.
    fn explain(&self, step: &Step) -> Option<(usize, Explanation)> {
        let (who, right, room) = step.right()?;
        let conn = *self.clients.get(&who)?;
        let room = ROOMS[room].to_owned();
        let asked = Explained::Right { right, room };
        let mut explanation = self.app.hub().explain(&asked, conn);
        let forgotten = match self.bug {
            Some(Bug::ExplanationForgetsPolicies) => matches!(
                explanation.reason,
                Reason::PublishForbidden
                    | Reason::NoPresence
                    | Reason::KeepsNoHistory
                    | Reason::RoomFull { .. }
            ),
            Some(Bug::ExplanationForgetsTime) => explanation.reason == Reason::Expired,
            _ => false,
        };
        if forgotten {
            explanation.reason = Reason::Granted { right };
        }
        Some((who, explanation))
    }

    fn carry_on(&mut self, step: &Step) {
        match *step {
            Step::Connect { who, person } => {
                let handshake = Handshake::new().with_identity(self.identity(person));
                self.connect(who, handshake);
            }
            Step::ConnectUnidentified { who } => {
                self.connect(who, Handshake::new().with_unidentified(true));
            }
            Step::Auth { who, person } => self.auth(who, person),
            Step::Join { who, room, since } => self.join(who, room, since),
            Step::Leave { who, room } => self.request(who, "$leave", room, ""),
            Step::Publish { who, room } => self.request(who, "say", room, r#","echo":true"#),
            Step::Members { who, room } => self.request(who, "$members", room, ""),
            Step::History { who, room } => self.request(who, "$history", room, ""),
            Step::Send { room } => {
                let data = serde_json::value::to_raw_value(&()).expect("JSON");
                self.apply(&Input::Send {
                    key: None,
                    audience: Cow::Owned(Audience::room(ROOMS[room])),
                    event: "say".into(),
                    path: None,
                    data: Cow::Owned(data),
                });
            }
            Step::Withdraw { user, not_before_s } => {
                let user = USERS[user].into();
                self.apply(&Input::Withdraw { user, not_before_s });
            }
            Step::Configure { standard } => {
                self.standard = standard;
                let policies = Cow::Owned(policies(standard));
                self.apply(&Input::SetPolicies { policies });
            }
            Step::Vanish { who } => {
                if let Some(conn) = self.clients.remove(&who) {
                    let reason = DisconnectReason::Lost;
                    self.apply(&Input::Disconnect { conn, reason });
                }
            }
            Step::Wait { seconds } => self.wait(1000 * seconds),
            Step::Sleep => self.sleep(),
            Step::Restart => self.restart(),
        }
    }

    fn connect(&mut self, who: usize, handshake: Handshake) {
        if self.clients.contains_key(&who) {
            return;
        }
        if let Applied::Connected(Ok(conn)) = self.apply(&Input::Connect(handshake)) {
            self.clients.insert(who, conn);
        }
    }

    fn auth(&mut self, who: usize, person: Option<Person>) {
        let Some(&conn) = self.clients.get(&who) else {
            return;
        };
        let rooms = |machine: &Self| {
            let rooms = machine.app.hub().rooms_of(conn).unwrap_or_default();
            rooms.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let before = rooms(self);
        let identity = person.map(|person| Box::new(self.identity(person)));
        let text = Cow::Borrowed(r#"{"event":"$auth"}"#);
        self.apply(&Input::Authenticate {
            conn,
            text,
            identity,
            unavailable: false,
        });
        if self.bug == Some(Bug::RenewalForgetsToLeave) {
            let after = rooms(self);
            for room in before.iter().filter(|room| !after.contains(room)) {
                let (room, meta) = (Cow::Borrowed(&**room), None);
                self.apply(&Input::Join { conn, room, meta });
            }
        }
    }

    fn join(&mut self, who: usize, room: usize, since: bool) {
        let position = self.app.hub().position(ROOMS[room]);
        let seen = self.seen.get(&(who, room)).copied().unwrap_or_default();
        let data = if since && position.offset > 0 {
            let epoch = &position.epoch;
            format!(r#","data":{{"since":{{"epoch":"{epoch}","offset":{seen}}}}}"#)
        } else {
            String::new()
        };
        self.request(who, "$join", room, &data);
    }

    fn request(&mut self, who: usize, event: &str, room: usize, rest: &str) {
        if let Some(&conn) = self.clients.get(&who) {
            let text = format!(r#"{{"event":"{event}","room":"{}"{rest}}}"#, ROOMS[room]);
            self.apply(&Input::message(conn, Frame::Text(&text)));
        }
    }

    fn wait(&mut self, millis: u64) {
        let target = self.now + millis;
        while let Some(due) = self
            .app
            .next_timeout()
            .filter(|due| due.as_millis() <= target)
        {
            self.now = due.as_millis().max(self.now);
            self.apply(&Input::Timeout);
        }
        self.now = target;
    }

    fn sleep(&mut self) {
        let hub = self.app.hub();
        let conns = self.clients.values();
        let conns = conns.map(|conn| hub.conn_state(*conn).expect("alive"));
        let conns: Vec<_> = conns.collect();
        let mut saved = serde_json::to_value((self.app.state(), conns)).expect("JSON");
        match self.bug {
            Some(Bug::DeadlineIsLostInSleep) => {
                for conn in saved[1].as_array_mut().into_iter().flatten() {
                    if let Some(access) = conn.get_mut("access").and_then(Value::as_object_mut) {
                        access.remove("deadline");
                        access.remove("due");
                    }
                }
            }
            Some(Bug::WithdrawalIsLostInSleep) => {
                saved[0]["hub"]
                    .as_object_mut()
                    .map(|hub| hub.remove("withdrawn"));
            }
            _ => {}
        }
        let (state, conns): (AppState, Vec<ConnState>) =
            serde_json::from_value(saved).expect("a state");
        self.app = App::restore(config(self.standard), (), state, conns).expect("restored");
    }

    /// Begins again as a server with a store does after `kill -9`.
    fn restart(&mut self) {
        self.clients.clear();
        let mut saved = serde_json::to_value(AppState::from(self.rows.state())).expect("JSON");
        let lost = match self.bug {
            Some(Bug::WithdrawalIsLostInRestart) => Some("withdrawn"),
            Some(Bug::FoldIsLostInRestart) => Some("not_before_s"),
            Some(Bug::RoomsAreLostInRestart) => Some("rooms"),
            _ => None,
        };
        let hub = saved["hub"].as_object_mut();
        let _ = hub.zip(lost).map(|(hub, lost)| hub.remove(lost));
        let state: AppState = serde_json::from_value(saved).expect("a state");
        self.app = App::restore(config(self.standard), (), state, []).expect("restored");
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        let mut out = Outbox::new();
        let now = Timestamp::from_millis(self.now);
        let applied = self.app.apply(now, input, &mut out);
        self.rows.store(self.app.hub(), input, &out);
        let mut wanted = Vec::new();
        for command in &out {
            match command {
                Command::LoadHistory { room } => wanted.push(room.to_owned()),
                command => self.carry_out(&command),
            }
        }
        wanted.dedup();
        for room in wanted {
            let messages = self.kept.get(&room).cloned().unwrap_or_default();
            let (room, messages) = (Cow::Owned(room), Cow::Owned(messages));
            self.apply(&Input::HistoryLoaded { room, messages });
        }
        applied
    }

    fn client(&self, conn: ConnId) -> Option<usize> {
        let mut clients = self.clients.iter();
        clients
            .find(|(_, other)| **other == conn)
            .map(|(who, _)| *who)
    }

    fn carry_out(&mut self, command: &Command<'_>) {
        match command {
            Command::Send {
                to,
                frame: Frame::Text(text),
                ..
            } => {
                for conn in *to {
                    if let Some(who) = self.client(*conn) {
                        let line = self.line(who, text);
                        self.got.push(format!("{who}: {line}"));
                    }
                }
            }
            Command::Close { conn, code, .. } => {
                if let Some(who) = self.client(*conn) {
                    self.clients.remove(&who);
                    self.got.push(format!("{who}: closed {code}"));
                }
            }
            Command::Append {
                room,
                offset,
                at,
                frame,
                except,
            } => {
                let message = HistoryMessage::new(*offset, *at, *frame, (*except).clone());
                self.kept.entry((*room).into()).or_default().push(message);
            }
            _ => {}
        }
    }

    /// The line for a message that a client got.
    fn line(&mut self, who: usize, text: &str) -> String {
        let message: Value = serde_json::from_str(text).expect("JSON");
        let event = message["event"].as_str().expect("an event");
        if event == "$bye" {
            return format!("$bye {}", message["data"]["code"]);
        }
        let mut line = event.to_owned();
        let name = message["room"].as_str();
        let room = name.and_then(|name| ROOMS.iter().position(|room| *room == name));
        line += &name.map_or(String::new(), |name| format!(" {name}"));
        if let Some(code) = message["error"]["code"].as_str() {
            return format!("{line} {code}");
        }
        if event == "$expiring" {
            return line;
        }
        let offset = message["offset"].as_u64();
        if let (Some(offset), Some(room)) = (offset, room) {
            self.seen.insert((who, room), offset);
            return format!("{line} {offset}");
        }
        line += " ok";
        if event == "$join"
            && let Some(room) = room
        {
            let data = &message["data"];
            if let Some(recovered) = data["recovered"].as_bool() {
                line += &format!(" {recovered}");
            }
            let top = data["offset"].as_u64().unwrap_or_default();
            self.seen.insert((who, room), top);
        }
        line
    }
}
