//! The alphabet of these stories.

use proptest::prelude::*;
use roomcast_core::policy::Right;

/// Clients of a story.
pub(super) const CLIENTS: usize = 3;
pub(super) const ROOMS: [&str; 6] = ["a", "ab", "own:ann", "own:bob", "own:*", "ax"];
/// A room to which no client may publish.
pub(super) const QUIET: &str = ROOMS[1];
/// A room that shows nobody.
pub(super) const UNSEEN: &str = ROOMS[3];
/// A room without history.
pub(super) const FORGETFUL: &str = ROOMS[2];
/// A room with one place, as its pattern matches no other.
pub(super) const NARROW: &str = ROOMS[5];
/// Withdrawn users that are remembered.
pub(super) const WITHDRAWN_MAX: usize = 2;
pub(super) const USERS: [&str; 3] = ["ann", "bob", "*"];

/// A rule: rooms, and the rights in them, in the order join, publish, presence, history.
pub(super) type Rule = (&'static str, [bool; 4]);

const ALL: [bool; 4] = [true; 4];
const JOIN: [bool; 4] = [true, false, false, false];
const TALK: [bool; 4] = [true, true, false, false];

/// Grants that identities have.
pub(super) const GRANTS: [&[Rule]; 6] = [
    &[],
    &[("a", TALK)],
    &[("a*", ALL)],
    &[("own:{user}", ALL)],
    &[("*", JOIN)],
    &[("ab", ALL), ("own:{user}", TALK)],
];

/// Grants of the configuration: for users only or for anyone, and the rule.
pub(super) const STANDARD: [&[(bool, Rule)]; 3] = [
    &[],
    &[(false, ("a", JOIN))],
    &[(true, ("own:{user}", ALL)), (false, ("ab", TALK))],
];

/// An identity: by the places of its parts in the lists above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) user: Option<usize>,
    pub(super) grants: usize,
    /// Seconds that it holds.
    pub(super) holds_s: Option<u64>,
    pub(super) issued_s: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Connect {
        who: usize,
        person: Person,
    },
    /// A client connects that has yet to say who it is.
    ConnectUnidentified {
        who: usize,
    },
    /// A client sends `$auth`; `None` is a token that is not valid.
    Auth {
        who: usize,
        person: Option<Person>,
    },
    Join {
        who: usize,
        room: usize,
        /// True when the client asks for what it missed.
        since: bool,
    },
    Leave {
        who: usize,
        room: usize,
    },
    Publish {
        who: usize,
        room: usize,
    },
    Members {
        who: usize,
        room: usize,
    },
    History {
        who: usize,
        room: usize,
    },
    /// The application sends to a room.
    Send {
        room: usize,
    },
    Withdraw {
        user: usize,
        not_before_s: u64,
    },
    /// Other grants of the configuration.
    Configure {
        standard: usize,
    },
    Vanish {
        who: usize,
    },
    Wait {
        seconds: u64,
    },
    /// The hub is saved, forgotten and restored.
    Sleep,
    /// The server is killed, and begins again with what it stored. Its clients are gone.
    Restart,
}

impl Step {
    /// The client, the right that it needs, and the room.
    #[allow(clippy::wildcard_enum_match_arm)] // few steps need one
    pub(super) const fn right(&self) -> Option<(usize, Right, usize)> {
        Some(match *self {
            Self::Join { who, room, .. } => (who, Right::Join, room),
            Self::Publish { who, room } => (who, Right::Publish, room),
            Self::Members { who, room } => (who, Right::Presence, room),
            Self::History { who, room } => (who, Right::History, room),
            _ => return None,
        })
    }

    /// The event of the answer to it.
    pub(super) fn event(&self) -> Option<&'static str> {
        Some(match self.right()?.1 {
            Right::Join => "$join",
            Right::Publish => "say",
            Right::Presence => "$members",
            Right::History => "$history",
        })
    }
}

fn person() -> impl Strategy<Value = Person> {
    let user = prop::option::weighted(0.8, 0..USERS.len());
    let holds_s = prop::option::weighted(0.6, 1..100_u64);
    let issued_s = prop::option::weighted(0.9, 0..4_u64);
    (user, 0..GRANTS.len(), holds_s, issued_s).prop_map(|(user, grants, holds_s, issued_s)| {
        Person {
            user,
            grants,
            holds_s,
            issued_s,
        }
    })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let at = || (0..CLIENTS, 0..ROOMS.len());
    prop_oneof![
        5 => (0..CLIENTS, person()).prop_map(|(who, person)| Step::Connect { who, person }),
        1 => (0..CLIENTS).prop_map(|who| Step::ConnectUnidentified { who }),
        5 => (0..CLIENTS, prop::option::weighted(0.9, person()))
            .prop_map(|(who, person)| Step::Auth { who, person }),
        8 => (at(), any::<bool>())
            .prop_map(|((who, room), since)| Step::Join { who, room, since }),
        1 => at().prop_map(|(who, room)| Step::Leave { who, room }),
        5 => at().prop_map(|(who, room)| Step::Publish { who, room }),
        2 => at().prop_map(|(who, room)| Step::Members { who, room }),
        2 => at().prop_map(|(who, room)| Step::History { who, room }),
        3 => (0..ROOMS.len()).prop_map(|room| Step::Send { room }),
        2 => (0..USERS.len(), 0..4_u64)
            .prop_map(|(user, not_before_s)| Step::Withdraw { user, not_before_s }),
        1 => (0..STANDARD.len()).prop_map(|standard| Step::Configure { standard }),
        1 => (0..CLIENTS).prop_map(|who| Step::Vanish { who }),
        3 => (1..60_u64).prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Sleep),
        1 => Just(Step::Restart),
    ]
}
