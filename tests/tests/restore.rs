//! A hub that is forgotten and restored goes on as if it had never slept.

use proptest::prelude::*;
use roomcast_tests::{Cast, Driver, Op, Settings, Sleep};

use crate::stories::config;

fn cast() -> Cast {
    Cast::default()
        .with_users(["ann", "ben"])
        .with_namespaces(["red"])
        .with_welcome()
        .with_raw_texts()
        .with_time()
}

/// Rooms of every policy, for actors who come back.
fn kept_cast() -> Cast {
    Cast::new(["alice", "bob", "carol"], ["log", "den", "stage"])
        .with_users(["ann", "ben"])
        .with_histories()
        .with_keys()
        .with_time()
}

fn kept(limits: &str) -> Settings {
    let settings: Settings = limits.parse().expect("known settings");
    let rooms = "log history.messages=4 history.age_s=20\n\
                 den history.age_s=10 presence=members presence_grace_s=5 echo=true\n\
                 stage history.messages=2 presence=counts members=2 overflow=latest";
    settings.with_rooms(rooms).expect("policies")
}

fn parsed(settings: &str) -> Settings {
    settings.parse().expect("known settings")
}

/// Tells the same story to one core that stays awake and to one that sleeps after every op.
fn tell(story: &[Op], settings: &Settings, sleep: Sleep) -> Result<(), TestCaseError> {
    let core = || settings.core();
    let (mut awake, mut sleeper) = (core(), core().with_sleep(sleep));
    for (at, op) in story.iter().enumerate() {
        let answers = (awake.perform(op)?, sleeper.perform(op)?);
        prop_assert_eq!(answers.0, answers.1, "{}", op);
        prop_assert_eq!(awake.commands(), sleeper.commands(), "{:#?}", &story[..=at]);
        sleeper.assert_consistent();
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(512))]

    /// Rates and heartbeats are a part of the state.
    #[test]
    fn i45_a_restored_hub_has_the_same_future(story in cast().ops(1..=60)) {
        let settings = "rooms_per_connection=2 inbound_rate=1 inbound_burst=5 inbound_bytes_rate=500";
        tell(&story, &parsed(settings), Sleep::Saved)?;
    }

    /// A host that may be evicted at any time saves a connection only when told to. That suffices
    /// for everything except liveness and rates, which are off here.
    #[test]
    fn what_persist_asks_for_is_enough(story in cast().ops(1..=60)) {
        tell(&story, &parsed("rooms_per_connection=2 heartbeat_ms=off"), Sleep::Persisted)?;
    }

    /// Histories come back a room at a time, when somebody asks for what was before the sleep.
    #[test]
    fn i45_histories_and_presence_have_the_same_future(story in kept_cast().ops(1..=80)) {
        tell(&story, &kept("history_rooms=2"), Sleep::Saved)?;
    }

    #[test]
    fn what_rooms_must_not_forget_is_persisted(story in kept_cast().ops(1..=80)) {
        tell(&story, &kept("heartbeat_ms=off history_rooms=2"), Sleep::Persisted)?;
    }
}
