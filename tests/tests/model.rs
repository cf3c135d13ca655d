//! The core does what the model says, whatever the story.

use proptest::prelude::*;
use roomcast_tests::{Cast, Core, Lockstep, Settings};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        cases: cases.max(ProptestConfig::default().cases),
        ..ProptestConfig::default()
    }
}

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
}

fn cast() -> Cast {
    Cast::default()
        .with_users(["ann", "ben"])
        .with_namespaces(["red"])
        .with_welcome()
        .with_raw_texts()
        .with_time()
}

fn limits() -> roomcast_tests::Limits {
    let settings: Settings = "rooms_per_connection=2".parse().expect("known settings");
    settings.limits()
}
