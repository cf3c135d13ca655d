//! Strategies: random stories that shrink to short ones.

use std::ops::RangeInclusive;

use proptest::{
    bool, collection, option,
    prelude::{BoxedStrategy, Just, Strategy},
    sample,
    strategy::Union,
};

use crate::{Actor, Op, To, op::json_string};

mod kept;
mod raw;
mod tokens;
mod typed;

/// The actors of random stories, and the rooms in which they act.
///
/// Actors and rooms that come first are the ones that a failing story shrinks to.
///
/// ```
/// use proptest::prelude::*;
/// use roomcast_tests::{Cast, Op};
///
/// let cast = Cast::new(["ann", "ben"], ["garden"]).with_users(["ann"]);
/// proptest!(|(ops in cast.ops(1..=20))| {
///     prop_assert!(ops.iter().all(|op| op.to_string().parse::<Op>().is_ok()));
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Cast {
    actors: Vec<Actor>,
    rooms: Vec<Box<str>>,
    users: Vec<Box<str>>,
    namespaces: Vec<Option<Box<str>>>,
    /// Messages with typed payloads.
    events: Vec<BoxedStrategy<String>>,
    welcome: bool,
    raw: bool,
    time: bool,
    kept: bool,
    keys: bool,
    /// Grants of the tokens that actors show, JSON.
    grants: Vec<Box<str>>,
}

/// The placeholder for a room in the messages of an application.
const ROOM: &str = r#""<room>""#;

/// Three actors and three rooms.
impl Default for Cast {
    fn default() -> Self {
        Self::new(["alice", "bob", "carol"], ["lobby", "kitchen", "attic"])
    }
}

impl Cast {
    /// A cast of these actors and rooms; at least one of each.
    pub fn new<A: Into<Actor>, R: Into<Box<str>>>(
        actors: impl IntoIterator<Item = A>,
        rooms: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            actors: actors.into_iter().map(Into::into).collect(),
            rooms: rooms.into_iter().map(Into::into).collect(),
            users: Vec::new(),
            namespaces: vec![None],
            events: Vec::new(),
            welcome: false,
            raw: false,
            time: false,
            kept: false,
            keys: false,
            grants: Vec::new(),
        }
    }

    /// Lets actors connect as these users, or anonymously. For drivers that support users.
    #[must_use]
    pub fn with_users<U: Into<Box<str>>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.users = users.into_iter().map(Into::into).collect();
        self
    }

    /// Lets actors connect to these namespaces and to the default one.
    #[must_use]
    pub fn with_namespaces<N: Into<Box<str>>>(
        mut self,
        namespaces: impl IntoIterator<Item = N>,
    ) -> Self {
        let namespaces = namespaces.into_iter().map(Into::into);
        self.namespaces.extend(namespaces.map(Some));
        self
    }

    /// Lets some actors ask for `$welcome`.
    #[must_use]
    pub const fn with_welcome(mut self) -> Self {
        self.welcome = true;
        self
    }

    /// Lets actors send malformed and unusual texts as well.
    #[must_use]
    pub const fn with_raw_texts(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Lets actors rejoin with positions, request histories and members, and set presence meta.
    #[must_use]
    pub const fn with_histories(mut self) -> Self {
        self.kept = true;
        self
    }

    /// Lets actors publish with idempotency keys, and repeat such publishes.
    #[must_use]
    pub const fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// Lets time pass, so that silent connections are pinged and closed. For drivers with a clock.
    #[must_use]
    pub const fn with_time(mut self) -> Self {
        self.time = true;
        self
    }

    /// A strategy for stories of `count` ops.
    pub fn ops(&self, count: RangeInclusive<usize>) -> BoxedStrategy<Vec<Op>> {
        let ops = if self.events.is_empty() {
            (self.op(), Just(Box::default()).boxed())
        } else {
            (self.op(), self.room())
        };
        self.story(ops.boxed(), count)
    }

    /// A strategy for stories of an application's clients: they connect, disconnect, and send these
    /// messages and the events of the cast. The string `"<room>"` in a message stands for a room.
    ///
    /// ```
    /// use roomcast_tests::Cast;
    ///
    /// let join = r#"{"event":"join","data":{"room":"<room>"}}"#;
    /// let stories = Cast::default().stories([join, r#"{"event":"presence"}"#], 1..=40);
    /// # let _ = stories;
    /// ```
    ///
    /// # Panics
    ///
    /// When there is neither a message nor an event.
    pub fn stories<M: Into<String>>(
        &self,
        messages: impl IntoIterator<Item = M>,
        count: RangeInclusive<usize>,
    ) -> BoxedStrategy<Vec<Op>> {
        let messages: Vec<String> = messages.into_iter().map(Into::into).collect();
        let mut texts = self.events.clone();
        if !messages.is_empty() {
            texts.insert(0, sample::select(messages).boxed());
        }
        assert!(!texts.is_empty(), "a story needs messages");
        self.told(Union::new(texts).boxed(), count)
    }

    /// Ops of clients that send these texts.
    fn told(
        &self,
        texts: BoxedStrategy<String>,
        count: RangeInclusive<usize>,
    ) -> BoxedStrategy<Vec<Op>> {
        let texts = (self.actor(), texts);
        let texts = texts.prop_map(|(actor, text)| Op::Text {
            actor,
            text,
            times: 1,
        });
        let ops = vec![
            (3, self.connect()),
            (10, texts.boxed()),
            (1, self.disconnect()),
        ];
        let ops = (Union::new_weighted(ops), self.room());
        self.story(ops.boxed(), count)
    }

    /// A strategy for an op.
    pub fn op(&self) -> BoxedStrategy<Op> {
        // Shrinking goes from the later alternatives to the earlier ones.
        let mut ops = vec![(4, self.connect()), (6, self.join()), (3, self.leave())];
        ops.extend([
            (6, self.publish()),
            (1, self.rooms_query()),
            (1, self.disconnect()),
        ]);
        ops.extend([
            (4, self.send()),
            (2, self.server_moves()),
            (1, self.lists()),
        ]);
        if !self.events.is_empty() {
            let texts = (self.actor(), Union::new(self.events.clone()));
            let texts = texts.prop_map(|(actor, text)| {
                let times = 1;
                Op::Text { actor, text, times }
            });
            ops.push((6, texts.boxed()));
        }
        if self.raw {
            let texts = (self.actor(), raw::text(&self.rooms));
            let texts = texts.prop_map(|(actor, text)| {
                let times = 1;
                Op::Text { actor, text, times }
            });
            let binary = (self.actor(), collection::vec(0_u8.., 0..4));
            let binary = binary.prop_map(|(actor, bytes)| Op::Binary { actor, bytes });
            ops.extend([(10, texts.boxed()), (1, binary.boxed())]);
        }
        if self.kept {
            let texts = kept::text(
                &self.actors,
                &self.rooms,
                &self.users,
                self.namespaces.len() == 1,
            );
            let texts = (self.actor(), texts).prop_map(|(actor, text)| {
                let times = 1;
                Op::Text { actor, text, times }
            });
            // Many publishes, so that there is something to recover.
            ops.extend([
                (14, texts.boxed()),
                (8, self.publish()),
                (3, self.connect()),
            ]);
        }
        if self.keys {
            let one_namespace = self.namespaces.len() == 1;
            let retries = kept::retry(&self.actors, &self.rooms, one_namespace);
            let retries = (self.actor(), retries).prop_map(|(actor, text)| {
                let times = 1;
                Op::Text { actor, text, times }
            });
            ops.extend([(6, self.publish_with_key()), (4, retries.boxed())]);
        }
        if self.time {
            let pongs = self.actor().prop_map(|actor| Op::Pong { actor });
            let waits: &[u64] = if self.kept {
                &[1, 1_000, 2_000, 4_999, 5_000, 9_999, 10_000, 20_000, 25_000]
            } else {
                &[1, 9_999, 10_000, 14_999, 15_000, 25_000, 60_000]
            };
            let waits = sample::select(waits);
            let waits = waits.prop_map(|millis| Op::Wait { millis });
            ops.extend([(1, pongs.boxed()), (4, waits.boxed())]);
        }
        ops.extend(self.token_ops());
        Union::new_weighted(ops).boxed()
    }

    /// A strategy for an actor.
    pub fn actor(&self) -> BoxedStrategy<Actor> {
        sample::select(self.actors.clone()).boxed()
    }

    /// A strategy for a room.
    pub fn room(&self) -> BoxedStrategy<Box<str>> {
        sample::select(self.rooms.clone()).boxed()
    }

    /// A strategy for an audience: everybody, or any union, with or without exceptions. It is
    /// sometimes empty.
    pub fn to(&self) -> BoxedStrategy<To> {
        let rooms = || collection::vec(self.room(), 0..=2);
        let conns = || collection::vec(self.actor(), 0..=2);
        let users = || match &*self.users {
            [] => Just(Vec::new()).boxed(),
            users => collection::vec(sample::select(users.to_vec()), 0..=2).boxed(),
        };
        let named = (rooms(), conns(), users());
        let except = (rooms(), conns(), users());
        let union = (bool::weighted(0.2), named, bool::ANY, except);
        let union = union.prop_map(|(all, (rooms, conns, users), minus, except)| {
            let (except_rooms, except_conns, except_users) =
                if minus { except } else { Default::default() };
            To {
                all,
                rooms,
                conns,
                users,
                except_rooms,
                except_conns,
                except_users,
            }
        });
        let room = self.room().prop_map(To::room);
        Union::new_weighted(vec![(1, room.boxed()), (2, union.boxed())]).boxed()
    }

    /// A strategy for a story of ops, each with the room that is filled into its text.
    fn story(
        &self,
        op: BoxedStrategy<(Op, Box<str>)>,
        count: RangeInclusive<usize>,
    ) -> BoxedStrategy<Vec<Op>> {
        let (actors, rooms) = (self.actors.clone(), self.rooms.clone());
        // Names shrink one op at a time, but a story in which a single op has another actor or room
        // rarely fails in the same way. So names are shrunk by renaming everywhere at once.
        let renamed = || sample::select(&[true, false][..]);
        let story = (renamed(), renamed(), collection::vec(op, count));
        let story = story.prop_map(move |(rename_actors, rename_rooms, mut ops)| {
            if rename_actors {
                rename(ops.iter_mut().flat_map(|(op, _)| op.actors_mut()), &actors);
            }
            if rename_rooms {
                let named = ops.iter_mut().flat_map(|(op, room)| {
                    let filled = matches!(op, Op::Text { text, .. } if text.contains(ROOM));
                    let mut named = op.rooms_mut();
                    named.extend(filled.then_some(room));
                    named
                });
                rename(named, &rooms);
            }
            let fill = |(mut op, room): (Op, Box<str>)| {
                if let Op::Text { text, .. } = &mut op {
                    *text = text.replace(ROOM, &json_string(&room));
                }
                op
            };
            ops.into_iter().map(fill).collect()
        });
        story.boxed()
    }

    fn namespace(&self) -> BoxedStrategy<Option<Box<str>>> {
        sample::select(self.namespaces.clone()).boxed()
    }

    fn connect(&self) -> BoxedStrategy<Op> {
        let user = match &*self.users {
            [] => Just(None).boxed(),
            users => option::of(sample::select(users.to_vec())).boxed(),
        };
        let welcome = bool::weighted(if self.welcome { 0.3 } else { 0.0 });
        let parts = (self.actor(), self.namespace(), user, welcome);
        let connect = parts.prop_map(|(actor, namespace, user, welcome)| Op::Connect {
            actor,
            namespace,
            user,
            query: None,
            headers: Vec::new(),
            welcome,
        });
        connect.boxed()
    }

    fn join(&self) -> BoxedStrategy<Op> {
        let parts = (self.actor(), self.room());
        parts
            .prop_map(|(actor, room)| Op::Join { actor, room })
            .boxed()
    }

    fn leave(&self) -> BoxedStrategy<Op> {
        let parts = (self.actor(), self.room());
        parts
            .prop_map(|(actor, room)| Op::Leave { actor, room })
            .boxed()
    }

    fn rooms_query(&self) -> BoxedStrategy<Op> {
        self.actor().prop_map(|actor| Op::Rooms { actor }).boxed()
    }

    fn publish(&self) -> BoxedStrategy<Op> {
        let parts = (
            self.actor(),
            self.room(),
            sample::select(&["said", "moved", "é\"\\"][..]),
            sample::select(&["1", "null", r#"{ "a": [1.0, "<é>"] }"#, "1e999"][..]),
            bool::ANY,
            option::of(0_u32..3),
        );
        let publish = parts.prop_map(|(actor, room, event, data, echo, id)| Op::Publish {
            actor,
            room,
            event: event.into(),
            data: data.into(),
            echo,
            key: None,
            id,
        });
        publish.boxed()
    }

    /// A strategy for publishes of few messages under few keys, so that many are repeated.
    fn publish_with_key(&self) -> BoxedStrategy<Op> {
        let keys = sample::select(&["k1", "k1", "k2", "k3"][..]);
        let data = sample::select(&["1", "1", "1", "2"][..]);
        let parts = (self.actor(), self.room(), keys, data, option::of(0_u32..3));
        let publish = parts.prop_map(|(actor, room, key, data, id)| Op::Publish {
            actor,
            room,
            event: "said".into(),
            data: data.into(),
            echo: false,
            key: Some(key.into()),
            id,
        });
        publish.boxed()
    }

    fn disconnect(&self) -> BoxedStrategy<Op> {
        let closes = self.actor().prop_map(|actor| Op::Disconnect { actor });
        let vanishes = self.actor().prop_map(|actor| Op::Vanish { actor });
        Union::new([closes.boxed(), vanishes.boxed()]).boxed()
    }

    fn send(&self) -> BoxedStrategy<Op> {
        // Labels are derived from the audience, so that they cost no random choices.
        let label = |to: &To| match (to.rooms.len() + to.conns.len() + to.users.len()) % 3 {
            0 => None,
            1 => Some("/front".into()),
            _ => Some("\"/\n".into()),
        };
        let free = (self.namespace(), self.to()).prop_map(move |(namespace, to)| Op::Send {
            path: label(&to),
            namespace,
            key: None,
            to,
            event: "told".into(),
            data: "[1, 2]".into(),
        });
        // A key belongs to an audience of rooms: a connection's id changes when it comes back, and
        // with it the message.
        let keys = sample::select(&["k1", "k2"][..]);
        let keyed = (self.namespace(), keys, self.room());
        let keyed = keyed.prop_map(|(namespace, key, room)| Op::Send {
            namespace,
            key: Some(key.into()),
            to: To::room(room),
            event: "told".into(),
            path: (key == "k2").then(|| "/front".into()),
            data: "3".into(),
        });
        Union::new_weighted(vec![(3, free.boxed()), (1, keyed.boxed())]).boxed()
    }

    fn server_moves(&self) -> BoxedStrategy<Op> {
        let parts = || (self.actor(), self.room());
        let joins = parts().prop_map(|(actor, room)| Op::ServerJoin { actor, room });
        let leaves = parts().prop_map(|(actor, room)| Op::ServerLeave { actor, room });
        let codes = sample::select(&[4410, 1000, 1001, 1008, 1013, 3000][..]);
        let closes = (self.actor(), codes).prop_map(|(actor, code)| Op::Close {
            actor,
            code,
            reason: "as \"planned\"".into(),
        });
        Union::new([joins.boxed(), leaves.boxed(), closes.boxed()]).boxed()
    }

    fn lists(&self) -> BoxedStrategy<Op> {
        let rooms = self
            .namespace()
            .prop_map(|namespace| Op::ListRooms { namespace });
        let conns = self.namespace();
        let conns = conns.prop_map(|namespace| Op::ListConnections { namespace });
        Union::new([rooms.boxed(), conns.boxed()]).boxed()
    }
}

/// Renames values in the order of appearance: the first value gets the first name, the next new
/// value the second, and so on.
fn rename<'a, N: Clone + PartialEq + 'a>(named: impl Iterator<Item = &'a mut N>, names: &[N]) {
    let mut order: Vec<N> = Vec::new();
    for name in named {
        let at = order.iter().position(|known| known == name);
        let at = at.unwrap_or_else(|| {
            order.push(name.clone());
            order.len() - 1
        });
        if let Some(new) = names.get(at) {
            name.clone_from(new);
        }
    }
}
