//! The core does what the model says, whatever the story.

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use roomcast_tests::{Cast, Core, Lockstep, Op, Settings, Sleep};

use crate::stories::config;

proptest! {
    #![proptest_config(config(1024))]

    #[test]
    fn the_core_equals_the_model(story in cast().ops(1..=80)) {
        let limits = limits();
        let mut world = Lockstep::new(Core::new(&limits), &limits);
        for op in &story {
            world.perform(op)?;
            world.driver().assert_consistent();
        }
    }

    /// With rooms of every policy.
    #[test]
    fn the_core_equals_the_model_in_rooms_that_are_kept(story in kept_cast().ops(1..=100)) {
        tell(&story, Sleep::Never)?;
    }

    /// The same of a core that forgets everything between two ops, but what it was told to keep:
    /// messages of histories come back when somebody asks for them.
    #[test]
    fn a_sleeping_core_equals_the_model_in_rooms_that_are_kept(story in kept_cast().ops(1..=100)) {
        tell(&story, Sleep::Saved)?;
    }
}

fn tell(story: &[Op], sleep: Sleep) -> Result<(), TestCaseError> {
    let settings = kept();
    let (limits, policies) = (settings.limits(), settings.policies());
    let core = Core::new(&limits)
        .with_policies(policies.clone())
        .with_sleep(sleep);
    let mut world = Lockstep::new(core, &limits).with_policies(&policies);
    for op in story {
        world.perform(op)?;
        world.driver().assert_consistent();
    }
    Ok(())
}

/// A cast in one namespace: the same id names another connection in each namespace, and positions
/// name connections.
fn kept_cast() -> Cast {
    Cast::new(
        ["alice", "bob", "carol", "dave"],
        ["log", "den", "hall", "stage"],
    )
    .with_users(["ann", "ben"])
    .with_welcome()
    .with_histories()
    .with_keys()
    .with_time()
}

/// Each room with another policy; `stage` is for the application to speak in.
fn kept() -> Settings {
    let settings: Settings = "rooms_per_connection=3 presence_list=3 page_entries=2 \
                              recovery_messages=3 meta_bytes=20 idempotency_keys=4 \
                              idempotency_keys_per_client=2 idempotency_ms=40000"
        .parse()
        .expect("known settings");
    let rooms = "log history.messages=4 history.age_s=20\n\
                 den history.age_s=10 presence=members presence_grace_s=5 echo=true\n\
                 hall presence=members presence_grace_s=10 members=2 overflow=drop-oldest\n\
                 sta* history.messages=2 presence=counts publish=false overflow=latest";
    settings.with_rooms(rooms).expect("policies")
}

fn cast() -> Cast {
    Cast::default()
        .with_users(["ann", "ben"])
        .with_welcome()
        .with_raw_texts()
        .with_time()
}

fn limits() -> roomcast_tests::Limits {
    let settings: Settings = "rooms_per_connection=2".parse().expect("known settings");
    settings.limits()
}

/// Random stories reach the cases that the properties above are about; without them the properties
/// would hold of nothing.
#[test]
fn random_stories_reach_all_of_it() {
    let settings = kept();
    let (limits, policies) = (settings.limits(), settings.policies());
    let stories = kept_cast().ops(100..=100);
    let mut runner = TestRunner::deterministic();
    let mut missing = vec![
        r#""recovered":true,"missed":0"#,
        r#""recovered":true,"missed":1"#,
        r#""recovered":true,"missed":3"#,
        r#""recovered":false"#,
        r#""event":"$joined""#,
        r#""event":"$left""#,
        r#""listed":false"#,
        r#""listed":true"#,
        r#""messages":[{"#,
        r#""next":"u"#,
        r#""conns":0"#,
        r#""meta":{"name":"Ann"}"#,
        r#""code":"member_limit""#,
        r#""code":"too_large""#,
        r#""code":"forbidden""#,
        r#""code":"key_reused""#,
    ];
    for _ in 0..400 {
        let story = stories.new_tree(&mut runner).expect("no filters").current();
        let core = Core::new(&limits).with_policies(policies.clone());
        let mut world = Lockstep::new(core, &limits).with_policies(&policies);
        for op in &story {
            let seen = world.perform(op).unwrap_or_else(|fault| panic!("{fault}"));
            for (_, frame) in seen.frames() {
                missing.retain(|part| !frame.contains(part));
            }
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("no story led to {missing:?}");
}
