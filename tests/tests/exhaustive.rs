//! All states of a small world with three connections and three rooms. Every op in every state
//! behaves as in the model.

use std::collections::{BTreeSet, HashSet, VecDeque};

use roomcast_tests::{Actor, Cast, Core, Lockstep, Op, Settings, To};

const ACTORS: [&str; 3] = ["alice", "bob", "carol"];
const ROOMS: [&str; 3] = ["a", "b", "c"];

/// The rooms of each actor; `None` when it is not connected. Nothing else matters for the future.
type State = Vec<Option<BTreeSet<String>>>;

fn state(world: &Lockstep<Core>) -> State {
    let rooms = |name: &&str| {
        let mut conns = world.model().connections();
        let conn = conns.find(|(actor, _)| actor.as_str() == *name);
        conn.map(|(_, rooms)| rooms.clone())
    };
    ACTORS.iter().map(rooms).collect()
}

/// Everything that may be tried.
fn alphabet() -> Vec<Op> {
    let mut ops = vec![Op::ListConnections { namespace: None }, send(To::all())];
    ops.push(Op::ListRooms { namespace: None });
    for name in ACTORS {
        let actor = Actor::new(name);
        ops.extend(moves_of(&actor));
        ops.push(send(To::conn(name)));
        ops.push(send(To {
            except_conns: vec![actor],
            ..To::all()
        }));
    }
    // Every union of rooms, and the same without the members of one of them.
    for subset in 1..1 << ROOMS.len() {
        let rooms = (0..ROOMS.len()).filter(|at| subset >> at & 1 == 1);
        let to = To {
            rooms: rooms.map(|at| ROOMS[at].into()).collect(),
            ..To::default()
        };
        ops.push(send(to.clone()));
        ops.extend(ROOMS.map(|room| {
            send(To {
                except_rooms: vec![room.into()],
                ..to.clone()
            })
        }));
    }
    ops
}

fn moves_of(actor: &Actor) -> Vec<Op> {
    let actor = || actor.clone();
    let mut ops: Vec<Op> = ["connects", "disconnects", "vanishes"]
        .iter()
        .map(|verb| format!("{} {verb}", actor()).parse().expect("an op"))
        .collect();
    ops.push(Op::Rooms { actor: actor() });
    ops.push(Op::Close {
        actor: actor(),
        code: 4410,
        reason: "".into(),
    });
    for name in ROOMS {
        let room = || name.into();
        ops.push(Op::Join {
            actor: actor(),
            room: room(),
        });
        ops.push(Op::Leave {
            actor: actor(),
            room: room(),
        });
        ops.push(Op::ServerJoin {
            actor: actor(),
            room: room(),
        });
        ops.push(Op::ServerLeave {
            actor: actor(),
            room: room(),
        });
        ops.extend([false, true].map(|echo| Op::Publish {
            actor: actor(),
            room: room(),
            event: "said".into(),
            data: "1".into(),
            echo,
            key: None,
            id: Some(1),
        }));
    }
    ops
}

fn send(to: To) -> Op {
    Op::Send {
        namespace: None,
        key: None,
        to,
        event: "told".into(),
        path: None,
        data: "2".into(),
    }
}

#[test]
fn every_transition_of_every_state_is_what_the_model_says() {
    let limits = Settings::default().limits();
    let start = Lockstep::new(Core::new(&limits), &limits);
    let alphabet = alphabet();
    let mut seen = HashSet::from([state(&start)]);
    let mut frontier = VecDeque::from([start]);
    let mut transitions = 0;
    while let Some(world) = frontier.pop_front() {
        for op in &alphabet {
            let mut world = world.clone();
            world
                .perform(op)
                .unwrap_or_else(|mismatch| panic!("{mismatch}"));
            world.driver().assert_consistent();
            transitions += 1;
            if seen.insert(state(&world)) {
                frontier.push_back(world);
            }
        }
    }
    // Each connection is away, or in one of the 2^3 sets of rooms.
    assert_eq!(seen.len(), (1 + 8_usize).pow(3));
    assert_eq!(transitions, seen.len() * alphabet.len());
}

/// Checks that random stories can reach every state of the search.
#[test]
fn random_stories_reach_many_of_these_states() {
    use proptest::{
        strategy::{Strategy, ValueTree},
        test_runner::TestRunner,
    };

    let cast = Cast::new(ACTORS, ROOMS).ops(60..=60);
    let limits = Settings::default().limits();
    let mut runner = TestRunner::deterministic();
    let mut seen = HashSet::new();
    for _ in 0..500 {
        let story = cast.new_tree(&mut runner).expect("no filters").current();
        let mut world = Lockstep::new(Core::new(&limits), &limits);
        for op in &story {
            world
                .perform(op)
                .unwrap_or_else(|mismatch| panic!("{mismatch}"));
            seen.insert(state(&world));
        }
    }
    assert!(seen.len() > 600, "only {} of 729 states", seen.len());
}
