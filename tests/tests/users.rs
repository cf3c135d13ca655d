//! Random stories: the reports that an application gets about users match what presence shows, and
//! sleep does not change them.

use std::collections::BTreeSet;

use proptest::{
    prop_assert, prop_assert_eq,
    test_runner::{Config, TestCaseError, TestRunner},
};
use roomcast_core::{Gateway, Hub, Limits, Router};
use roomcast_tests::{Cast, Op, Settings, Sleep, World};

use crate::stories::config;

const ROOMS: [&str; 3] = ["lobby", "kitchen", "attic"];

/// Presence reports: true when the user is there; the room; the user.
type Told = Vec<(bool, String, String)>;

fn porter() -> Router<Told> {
    let note = |there: bool| {
        move |told: &mut Told, room: &str, user: &str| {
            told.push((there, room.to_owned(), user.to_owned()));
        }
    };
    let (came, went) = (note(true), note(false));
    Router::new(Told::new())
        .persistent()
        .on_present(move |_, told, room, user| came(told, room, user))
        .on_absent(move |namespace, told, room, user| {
            went(told, room, user);
            namespace.broadcast("gone", &(room, user)).expect("text");
        })
}

fn limits() -> Limits {
    let settings: Settings = "heartbeat_ms=off history_rooms=1"
        .parse()
        .expect("settings");
    settings.limits()
}

fn world(sleep: Sleep) -> World<Router<Told>> {
    let policies = r#"{"rooms":[
        {"match":"lobby","presence":"members","presence_grace_s":5},
        {"match":"kitchen","history":{"messages":3,"age_s":2},"presence":"members","presence_grace_s":5},
        {"match":"attic","presence":"counts"}
    ]}"#;
    let policies = serde_json::from_str(policies).expect("policies");
    let world = World::with_limits(&limits(), porter);
    let world = world.with_names(["alice", "bob", "carol"]);
    world.with_policies(policies).with_sleep(sleep)
}

/// Returns the users in each room by the reports of the hooks; each user comes before it goes, and
/// goes before it comes again.
fn by_hooks(told: &Told) -> Result<BTreeSet<(String, String)>, TestCaseError> {
    let mut there = BTreeSet::new();
    for (came, room, user) in told {
        let who = (room.clone(), user.clone());
        let changed = if *came {
            there.insert(who)
        } else {
            there.remove(&who)
        };
        prop_assert!(changed, "{told:?}");
    }
    Ok(there)
}

/// Returns the users in each room by what presence shows. The policy of `attic` has counts alone.
fn by_presence(hub: &Hub) -> BTreeSet<(String, String)> {
    let mut there = BTreeSet::new();
    for room in ROOMS {
        let page = hub.presence(room, None, 100).expect("shown");
        let shown = page.members.into_iter().filter_map(|member| member.user);
        there.extend(shown.map(|user| (room.to_owned(), user)));
    }
    let members = hub.members("attic").iter();
    let users = members.filter_map(|&conn| hub.connection(conn)?.user);
    there.extend(users.map(|user| ("attic".to_owned(), user.to_owned())));
    there
}

fn holds(story: &[Op]) -> Result<(), TestCaseError> {
    let mut awake = world(Sleep::Never);
    let mut sleepers = [Sleep::Saved, Sleep::Persisted].map(world);
    for op in story {
        let heard = awake.perform(op)?;
        for sleeper in &mut sleepers {
            prop_assert_eq!(heard, sleeper.perform(op)?);
        }
        let Some(app) = awake.app() else {
            continue;
        };
        let told = app.gateway().state();
        prop_assert_eq!(by_hooks(told)?, by_presence(app.hub()));
        for sleeper in &sleepers {
            let app = sleeper.app().expect("the same happened");
            prop_assert_eq!(app.gateway().state(), told);
        }
    }
    // In the end everybody is gone, and every application knows.
    for world in [&mut awake].into_iter().chain(&mut sleepers) {
        for actor in ["alice", "bob", "carol"] {
            if world.is_connected(actor) {
                world.tell(&format!("{actor} vanishes"));
            }
        }
        world.wait(std::time::Duration::from_secs(60));
        if let Some(app) = world.app() {
            prop_assert_eq!(by_hooks(app.gateway().state())?, BTreeSet::new());
            prop_assert_eq!(app.hub().counts().rooms, 0);
            prop_assert!(app.gateway().wants_presence());
        }
    }
    Ok(())
}

#[test]
fn what_is_told_is_what_is_seen_through_any_sleep() {
    let cast = Cast::new(["alice", "bob", "carol"], ROOMS);
    let cast = cast.with_users(["ann", "ben"]).with_histories().with_time();
    let config = Config {
        cases: 256,
        ..config(0)
    };
    let ran = TestRunner::new(config).run(&cast.ops(1..=60), |story| holds(&story));
    if let Err(fault) = ran {
        panic!("{fault}");
    }
}
