//! Random choice of the next ops.

use roomcast_tests::{Actor, Op, To};

use super::{
    message::data,
    random::Random,
    scene::{LISTED, ROOMS},
    world::World,
};

pub(crate) struct Chance {
    random: Random,
    /// The last number that a request or a message had.
    count: u64,
    /// Sends under a key, to be repeated.
    sends: Vec<Op>,
}

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            count: 0,
            sends: Vec::new(),
        }
    }

    /// Returns the ops of one step.
    pub(crate) fn ops(&mut self, world: &World) -> Vec<Op> {
        let at = self.random.below(world.clients.len());
        let client = &world.clients[at];
        // Often one that it is in.
        let mine: Vec<_> = client.views.keys().map(|name| &**name).collect();
        let room = match mine.len() {
            0 => ROOMS[self.random.below(ROOMS.len())],
            count if self.random.below(2) == 0 => mine[self.random.below(count)],
            _ => ROOMS[self.random.below(ROOMS.len())],
        };
        let actor = client.actor.clone();
        let Some(link) = &client.link else {
            return match self.random.below(4) {
                0..=2 => self.connects(world, at),
                _ => vec![self.sends(room)],
            };
        };
        match self.random.below(32) {
            0 => vec![Op::Disconnect { actor }],
            1 => vec![Op::Vanish { actor }],
            2..=3 if !link.stalled => vec![Op::Stall { actor }],
            2..=4 if link.stalled => vec![Op::Read { actor, bytes: None }],
            5 if link.stalled => {
                let bytes = u32::try_from(self.random.below(400)).ok();
                vec![Op::Read { actor, bytes }]
            }
            6 if self.random.below(3) == 0 => vec![Op::Crash],
            7 if self.random.below(2) == 0 => {
                let code = [4410, 1001][self.random.below(2)];
                let reason = "because".into();
                vec![Op::Close {
                    actor,
                    code,
                    reason,
                }]
            }
            8 => vec![self.wait()],
            9 => vec![self.request(&actor, "$leave", room)],
            10 => vec![self.request(&actor, "$members", room)],
            11 => vec![self.asks(&actor, r#""event":"$join""#)],
            24..=25 => vec![self.pages(world, at, room)],
            12..=15 => self.joins(world, at, room),
            16..=19 => vec![self.sends(room)],
            20..=21 => {
                let count = self.sends.len();
                match count {
                    0 => vec![self.sends(room)],
                    _ => vec![self.sends[self.random.below(count)].clone()],
                }
            }
            22..=23 => {
                // As much as fills a queue.
                let count = 4 + self.random.below(8);
                (0..count).map(|_| self.sends(room)).collect()
            }
            _ => vec![self.publishes(&actor, room)],
        }
    }

    /// Everybody reads on, comes back and asks for everything.
    pub(crate) fn last(&mut self, world: &World, at: usize) -> Vec<Op> {
        let actor = world.clients[at].actor.clone();
        let mut ops = vec![Op::Read { actor, bytes: None }];
        ops.extend(self.connects(world, at));
        for room in ROOMS {
            ops.extend(self.joins(world, at, room));
        }
        ops
    }

    /// Returns the ops of a client library after a connect: it joins its rooms again, from the
    /// positions that it had there.
    fn connects(&mut self, world: &World, at: usize) -> Vec<Op> {
        let client = &world.clients[at];
        let mut ops = vec![Op::Connect {
            actor: client.actor.clone(),
            namespace: None,
            user: client.user.map(Into::into),
            query: None,
            headers: Vec::new(),
            welcome: false,
        }];
        for room in client.views.keys() {
            ops.extend(self.joins(world, at, room));
        }
        ops
    }

    fn joins(&mut self, world: &World, at: usize, room: &str) -> Vec<Op> {
        let client = &world.clients[at];
        let position = client
            .views
            .get(room)
            .and_then(|view| view.position.as_ref());
        let rest = match position {
            Some(position) => format!(
                r#""event":"$join","room":"{room}","data":{{"since":{{"epoch":"{}","offset":{},"conn":{}}}}}"#,
                position.epoch,
                position.offset,
                client.previous_conns()
            ),
            None => format!(r#""event":"$join","room":"{room}""#),
        };
        let mut ops = vec![self.asks(&client.actor, &rest)];
        if LISTED.contains(&room) {
            ops.push(self.request(&client.actor, "$members", room));
        }
        ops
    }

    /// A page of a history, around where it ends.
    fn pages(&mut self, world: &World, at: usize, room: &str) -> Op {
        let (client, top) = (&world.clients[at], world.truth.rooms[room].top);
        let mut data = Vec::new();
        for name in ["after", "before"] {
            if self.random.below(2) == 0 {
                let back = self.random.below(10) as u64;
                data.push(format!(r#""{name}":{}"#, (top + 2).saturating_sub(back)));
            }
        }
        if self.random.below(2) == 0 {
            data.push(format!(r#""limit":{}"#, self.random.below(6)));
        }
        if self.random.below(3) > 0 {
            data.push(format!(r#""conn":{}"#, client.previous_conns()));
        }
        let data = data.join(",");
        let actor = client.actor.clone();
        self.asks(
            &actor,
            &format!(r#""event":"$history","room":"{room}","data":{{{data}}}"#),
        )
    }

    fn request(&mut self, actor: &Actor, event: &str, room: &str) -> Op {
        self.asks(actor, &format!(r#""event":"{event}","room":"{room}""#))
    }

    fn asks(&mut self, actor: &Actor, rest: &str) -> Op {
        self.count += 1;
        let (actor, id) = (actor.clone(), self.count);
        Op::Text {
            actor,
            text: format!(r#"{{"id":{id},{rest}}}"#),
            times: 1,
        }
    }

    fn publishes(&mut self, actor: &Actor, room: &str) -> Op {
        let event = ["said", "moved"][self.random.below(2)];
        let echo = self.random.below(2) == 0;
        let data = data(self.count + 1);
        let rest = format!(r#""event":"{event}","room":"{room}","echo":{echo},"data":{data}"#);
        self.asks(actor, &rest)
    }

    /// The backend sends, often to one room, sometimes but to some, sometimes under a key.
    fn sends(&mut self, room: &str) -> Op {
        self.count += 1;
        let mut to = To::room(room);
        if self.random.below(4) == 0 {
            to.rooms.push(ROOMS[self.random.below(ROOMS.len())].into());
            to.rooms.dedup();
        }
        // A key is for one audience, and a name for one connection after another.
        let keyed = self.random.below(3) == 0;
        match self.random.below(12) {
            0 if !keyed => to.except_conns.push("alice".into()),
            1 => to.except_users.push("ann".into()),
            2 => to
                .except_rooms
                .push(ROOMS[self.random.below(ROOMS.len())].into()),
            _ => {}
        }
        let key = keyed.then(|| format!("k{}", self.count).into());
        let op = Op::Send {
            namespace: None,
            key,
            to,
            event: "told".into(),
            path: None,
            data: data(self.count).into(),
        };
        if keyed {
            self.sends.push(op.clone());
        }
        op
    }

    fn wait(&mut self) -> Op {
        let millis = [1, 1_000, 5_000, 10_000, 30_000, 31_000][self.random.below(6)];
        Op::Wait { millis }
    }
}
