//! Rights, said in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{CLIENTS, GRANTS, Person, ROOMS, Rule, STANDARD, Step, USERS};
use super::story::{FORGETFUL, NARROW, QUIET, UNSEEN, WITHDRAWN_MAX};

/// Lines of what each client got, such as `1: $join a ok`.
pub(super) type Got = Vec<String>;

/// Rooms of each client that is connected.
pub(super) type Memberships = BTreeMap<usize, BTreeSet<&'static str>>;

/// The lines of each client in their order. A client leaves several rooms at once in any order.
pub(super) fn in_order(step: &Step, mut got: Got) -> Got {
    if matches!(step, Step::Auth { .. } | Step::Configure { .. }) {
        got.sort();
    } else {
        got.sort_by(|one, other| one[..1].cmp(&other[..1]));
    }
    got
}

const NOTICE_S: u64 = 60;
const GRACE_MS: u64 = 25_000;
const AUTH_MS: u64 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Model {
    now: u64,
    conns: BTreeMap<usize, Conn>,
    /// Messages of each room.
    tops: BTreeMap<usize, u64>,
    /// The last message of each room that each client saw.
    seen: BTreeMap<(usize, usize), u64>,
    withdrawn: BTreeMap<usize, u64>,
    /// The time that holds for all users.
    not_before_s: u64,
    standard: usize,
    got: Got,
}

#[derive(Debug, Clone)]
struct Conn {
    /// `None` is a client that has yet to say who it is.
    person: Option<Person>,
    rooms: BTreeSet<usize>,
    /// The time at which it connected, or said who it is.
    since: u64,
    warned: bool,
}

impl Conn {
    fn deadline(&self) -> Option<u64> {
        Some(self.since + 1000 * self.person?.holds_s?)
    }

    /// Returns the time of its next timer, and whether that ends it.
    fn next(&self) -> Option<(u64, bool)> {
        if self.person.is_none() {
            return Some((self.since + AUTH_MS, true));
        }
        let deadline = self.deadline()?;
        let holds = deadline - self.since;
        let notice = deadline - (1000 * NOTICE_S).min(holds / 2);
        Some(if self.warned {
            (deadline + GRACE_MS, true)
        } else {
            (notice, false)
        })
    }
}

/// `*` is any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => name.is_empty(),
        Some(("*", rest)) => (0..=name.len()).any(|cut| matches(rest, &name[cut..])),
        Some((letter, rest)) => name
            .strip_prefix(letter)
            .is_some_and(|name| matches(rest, name)),
    }
}

fn gives((pattern, rights): &Rule, user: Option<usize>, right: usize, room: usize) -> bool {
    let pattern = match (pattern.split_once("{user}"), user.map(|user| USERS[user])) {
        (None, _) => (*pattern).to_owned(),
        (Some(_), None | Some("*")) => return false,
        (Some((before, after)), Some(user)) => format!("{before}{user}{after}"),
    };
    rights[right] && matches(&pattern, ROOMS[room])
}

const JOIN: usize = 0;
const PUBLISH: usize = 1;
const PRESENCE: usize = 2;
const HISTORY: usize = 3;

impl Model {
    pub(super) fn memberships(&self) -> Memberships {
        let conns = self.conns.iter();
        let rooms = conns.map(|(who, conn)| {
            let rooms = conn.rooms.iter().map(|&room| ROOMS[room]);
            (*who, rooms.collect())
        });
        rooms.collect()
    }

    /// Every member has the right to its room.
    pub(super) fn assert_rights(&self) {
        for (who, conn) in &self.conns {
            for &room in &conn.rooms {
                assert!(self.has(conn, JOIN, room), "{who} in {}", ROOMS[room]);
            }
        }
    }

    fn has(&self, conn: &Conn, right: usize, room: usize) -> bool {
        let Some(person) = conn.person else {
            return false;
        };
        let mut own = GRANTS[person.grants].iter();
        let mut standard = STANDARD[self.standard].iter();
        own.any(|rule| gives(rule, person.user, right, room))
            || standard.any(|(users_only, rule)| {
                (person.user.is_some() || !users_only) && gives(rule, person.user, right, room)
            })
    }

    /// The code of the error, if it may not.
    fn refusal(&self, conn: &Conn, right: usize, room: usize) -> Option<&'static str> {
        if conn.person.is_none() {
            Some("unauthorized")
        } else if conn.deadline().is_some_and(|deadline| deadline <= self.now) {
            Some("expired")
        } else if self.has(conn, right, room) {
            None
        } else {
            Some("forbidden")
        }
    }

    fn is_withdrawn(&self, person: Person) -> bool {
        person.user.is_some_and(|user| {
            let own = self.withdrawn.get(&user).copied().unwrap_or_default();
            person.issued_s.unwrap_or(0) < own.max(self.not_before_s)
        })
    }

    fn tell(&mut self, who: usize, what: &str) {
        self.got.push(format!("{who}: {what}"));
    }

    fn push(&mut self, room: usize) {
        let mut line = format!("say {} ok", ROOMS[room]);
        if ROOMS[room] != FORGETFUL {
            let top = self.tops.entry(room).or_default();
            *top += 1;
            line = format!("say {} {top}", ROOMS[room]);
        }
        let top = self.tops.get(&room).copied();
        let members = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.rooms.contains(&room));
        for who in members.map(|(who, _)| *who).collect::<Vec<_>>() {
            self.tell(who, &line);
            if let Some(top) = top {
                self.seen.insert((who, room), top);
            }
        }
    }

    pub(super) fn perform(&mut self, step: &Step) -> Got {
        match *step {
            Step::Connect { who, person } => self.connect(who, Some(person)),
            Step::ConnectUnidentified { who } => self.connect(who, None),
            Step::Auth { who, person } => self.auth(who, person),
            Step::Join { who, room, since } => self.join(who, room, since),
            Step::Leave { who, room } => {
                if let Some(conn) = self.conns.get_mut(&who) {
                    let outcome = if conn.person.is_none() {
                        "unauthorized"
                    } else {
                        conn.rooms.remove(&room);
                        "ok"
                    };
                    self.tell(who, &format!("$leave {} {outcome}", ROOMS[room]));
                }
            }
            Step::Publish { who, room } => {
                if let Some(conn) = self.conns.get(&who) {
                    match self.refusal(conn, PUBLISH, room) {
                        None if ROOMS[room] == QUIET => {
                            self.tell(who, &format!("say {QUIET} forbidden"));
                        }
                        None => self.push(room),
                        Some(code) => self.tell(who, &format!("say {} {code}", ROOMS[room])),
                    }
                }
            }
            Step::Members { who, room } => self.ask(who, "$members", PRESENCE, room),
            Step::History { who, room } => self.ask(who, "$history", HISTORY, room),
            Step::Send { room } => self.push(room),
            Step::Withdraw { user, not_before_s } => self.withdraw(user, not_before_s),
            Step::Configure { standard } => self.configure(standard),
            Step::Vanish { who } => {
                self.conns.remove(&who);
            }
            Step::Wait { seconds } => self.wait(1000 * seconds),
            Step::Sleep => {}
            Step::Restart => self.conns.clear(),
        }
        in_order(step, std::mem::take(&mut self.got))
    }

    fn connect(&mut self, who: usize, person: Option<Person>) {
        if self.conns.contains_key(&who) || person.is_some_and(|person| self.is_withdrawn(person)) {
            return;
        }
        let conn = Conn {
            person,
            rooms: BTreeSet::new(),
            since: self.now,
            warned: false,
        };
        self.conns.insert(who, conn);
    }

    fn auth(&mut self, who: usize, person: Option<Person>) {
        let Some(conn) = self.conns.get(&who).cloned() else {
            return;
        };
        let user = conn.person.and_then(|person| person.user);
        let outcome = match person {
            None => "unauthorized",
            Some(person) if self.is_withdrawn(person) => "unauthorized",
            Some(person) if person.user == user => "ok",
            Some(_) if user.is_none() && conn.rooms.is_empty() => "ok",
            Some(_) => "forbidden",
        };
        self.tell(who, &format!("$auth {outcome}"));
        if outcome != "ok" {
            if conn.person.is_none() {
                self.close(who);
            }
            return;
        }
        let renewed = Conn {
            person,
            since: self.now,
            warned: false,
            ..conn
        };
        self.conns.insert(who, renewed);
        self.leave_forbidden(who);
    }

    fn leave_forbidden(&mut self, who: usize) {
        let conn = self.conns[&who].clone();
        let (kept, lost): (BTreeSet<usize>, BTreeSet<usize>) = conn
            .rooms
            .iter()
            .copied()
            .partition(|room| self.has(&conn, JOIN, *room));
        for room in &lost {
            self.tell(who, &format!("$leave {} forbidden", ROOMS[*room]));
        }
        self.conns.insert(
            who,
            Conn {
                rooms: kept,
                ..conn
            },
        );
    }

    fn join(&mut self, who: usize, room: usize, since: bool) {
        let Some(conn) = self.conns.get(&who) else {
            return;
        };
        let name = ROOMS[room];
        if let Some(code) = self.refusal(conn, JOIN, room) {
            return self.tell(who, &format!("$join {name} {code}"));
        }
        let others = self.conns.iter().filter(|(other, _)| **other != who);
        if name == NARROW
            && others
                .into_iter()
                .any(|(_, conn)| conn.rooms.contains(&room))
        {
            return self.tell(who, &format!("$join {name} member_limit"));
        }
        let top = self.tops.get(&room).copied().unwrap_or_default();
        let seen = self.seen.get(&(who, room)).copied().unwrap_or_default();
        // The client only asks to recover messages that exist.
        let recovered = (since && top > 0).then(|| self.refusal(conn, HISTORY, room).is_none());
        let told = recovered.map_or(String::new(), |recovered| format!(" {recovered}"));
        self.tell(who, &format!("$join {name} ok{told}"));
        if recovered == Some(true) {
            for offset in seen + 1..=top {
                self.tell(who, &format!("say {name} {offset}"));
            }
        }
        self.conns.get_mut(&who).map(|conn| conn.rooms.insert(room));
        self.seen.insert((who, room), top);
    }

    fn ask(&mut self, who: usize, verb: &str, right: usize, room: usize) {
        if let Some(conn) = self.conns.get(&who) {
            let refusal = self.refusal(conn, right, room);
            let outcome = match refusal {
                Some(code) => code,
                None if right == PRESENCE && ROOMS[room] == UNSEEN => "forbidden",
                None if right == HISTORY && ROOMS[room] == FORGETFUL => "forbidden",
                None if conn.rooms.contains(&room) => "ok",
                None => "forbidden",
            };
            self.tell(who, &format!("{verb} {} {outcome}", ROOMS[room]));
        }
    }

    fn withdraw(&mut self, user: usize, not_before_s: u64) {
        let time = self.withdrawn.entry(user).or_default();
        *time = not_before_s.max(*time);
        self.withdrawn.retain(|_, time| *time > self.not_before_s);
        while self.withdrawn.len() > WITHDRAWN_MAX {
            self.not_before_s = *self.withdrawn.values().min().expect("some");
            self.withdrawn.retain(|_, time| *time > self.not_before_s);
        }
        for who in 0..CLIENTS {
            let person = self.conns.get(&who).and_then(|conn| conn.person);
            let is_early = |person: Person| {
                person.user == Some(user) && person.issued_s.unwrap_or(0) < not_before_s
            };
            if person.is_some_and(is_early) {
                self.close(who);
            }
        }
    }

    fn configure(&mut self, standard: usize) {
        self.standard = standard;
        for who in 0..CLIENTS {
            if self.conns.contains_key(&who) {
                self.leave_forbidden(who);
            }
        }
    }

    fn close(&mut self, who: usize) {
        self.conns.remove(&who);
        self.tell(who, "$bye 4401");
        self.tell(who, "closed 4401");
    }

    /// Runs all that happens of itself, each thing in its time.
    fn wait(&mut self, millis: u64) {
        let target = self.now + millis;
        loop {
            let conns = self.conns.iter();
            let dues = conns.filter_map(|(who, conn)| Some((conn.next()?, *who)));
            let Some(((at, is_end), who)) = dues.min().filter(|((at, _), _)| *at <= target) else {
                break;
            };
            self.now = at;
            if is_end {
                self.close(who);
            } else if let Some(conn) = self.conns.get_mut(&who) {
                conn.warned = true;
                self.tell(who, "$expiring");
            }
        }
        self.now = target;
    }
}
