//! Payloads of types in random stories.

use std::cell::RefCell;

use proptest::{
    prelude::Strategy,
    prop_assert,
    test_runner::{TestError, TestRunner},
};
use roomcast_core::{Context, Router, ok};
use roomcast_tests::{Cast, Core, Lockstep, Settings, World};

use crate::stories::config;

/// Payloads of a type, made by a strategy and shrunk by it.
#[test]
fn typed_payloads_shrink_to_the_least_that_fails() {
    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    struct Move {
        room: String,
        steps: u32,
    }
    let router = || {
        Router::new(0_u32).on("move", |cx: &mut Context, far: &mut u32, step: Move| {
            cx.join(&step.room)?;
            *far = step.steps.max(*far);
            ok(*far)
        })
    };
    let moves = (0_u32..1000).prop_map(|steps| Move {
        room: "<room>".into(),
        steps,
    });
    let cast = Cast::new(["ann", "ben"], ["lobby", "attic"]).with_event("move", moves);
    let failed = TestRunner::new(config(0)).run(&cast.events(1..=30), |story| {
        let mut world = World::new(router);
        for op in &story {
            world.perform(op)?;
            prop_assert!(*world.state() < 500);
            prop_assert!(world.take_errors().is_empty());
        }
        Ok(())
    });
    let Err(TestError::Fail(_, story)) = failed else {
        panic!("{failed:?}");
    };
    let lines: Vec<String> = story.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "ann connects",
            r#"ann sends {"event":"move","data":{"room":"lobby","steps":500}}"#,
        ]
    );
}

/// Typed events are also among the ops of any story, and may be published to rooms.
#[test]
fn typed_events_are_published_to_rooms() {
    let cast = Cast::new(["ann", "ben"], ["lobby"]).with_room_event("said", 0_u8..=9);
    let limits = Settings::default().limits();
    let mut heard = 0;
    let heard_by_all = RefCell::new(&mut heard);
    let ran = TestRunner::new(config(0)).run(&cast.ops(1..=40), |story| {
        let mut world = Lockstep::new(Core::new(&limits), &limits);
        for op in &story {
            let seen = world.perform(op)?;
            let said =
                |(_, text): &(_, &str)| text.contains(r#""event":"said","room":"lobby","from""#);
            **heard_by_all.borrow_mut() += seen.frames().filter(said).count();
        }
        Ok(())
    });
    assert_eq!(ran, Ok(()));
    assert!(heard > 0, "nobody heard what was published");
}
