//! Rights: stories of grants, renewals, withdrawals, expiry, sleep and restart, on the core and on
//! a model.

mod machine;
mod model;
mod rows;
mod story;

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use self::{
    machine::{Bug, Machine},
    model::Model,
    story::{Step, step},
};
use crate::stories::config;

/// Performs a story on the core and on the model. After every step all clients received the same,
/// every member has the right to be in its room, and an action was refused exactly if its
/// explanation said so.
fn tell(story: &[Step], bug: Option<Bug>) -> Result<(), TestCaseError> {
    let (mut machine, mut model) = (Machine::new(bug), Model::default());
    for (at, step) in story.iter().enumerate() {
        let expected = model.perform(step);
        let got = machine.perform(step);
        prop_assert_eq!(got, expected, "{:#?}", &story[..=at]);
        model.assert_rights();
        prop_assert_eq!(
            machine.memberships(),
            model.memberships(),
            "{:#?}",
            &story[..=at]
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn i4_and_i33_rights_hold_through_renewal_withdrawal_expiry_and_sleep(
        story in prop::collection::vec(step(), 1..=40),
    ) {
        tell(&story, None)?;
    }
}

/// The shortest story that shows a bug.
fn shortest(bug: Bug) -> Vec<Step> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config(10_000), rng);
    let stories = prop::collection::vec(step(), 1..=40);
    let told = runner.run(&stories, |story| tell(&story, Some(bug)));
    match told {
        Err(TestError::Fail(_, story)) => story,
        other => panic!("{bug:?} is not found: {other:?}"),
    }
}

#[test]
fn a_renewal_that_forgets_to_leave_is_found() {
    assert!(shortest(Bug::RenewalForgetsToLeave).len() <= 4);
}

#[test]
fn a_pattern_that_matches_too_much_is_found() {
    assert!(shortest(Bug::PatternMatchesTooMuch).len() <= 3);
}

#[test]
fn a_user_called_star_is_found() {
    assert!(shortest(Bug::AnyNameIsInserted).len() <= 3);
}

#[test]
fn a_deadline_that_is_lost_in_sleep_is_found() {
    assert!(shortest(Bug::DeadlineIsLostInSleep).len() <= 4);
}

#[test]
fn a_withdrawal_that_is_lost_in_sleep_is_found() {
    assert!(shortest(Bug::WithdrawalIsLostInSleep).len() <= 4);
}

#[test]
fn a_withdrawal_that_is_lost_in_a_restart_is_found() {
    assert!(shortest(Bug::WithdrawalIsLostInRestart).len() <= 3);
}

#[test]
fn folded_withdrawals_that_are_lost_in_a_restart_are_found() {
    assert!(shortest(Bug::FoldIsLostInRestart).len() <= 5);
}

#[test]
fn rooms_that_are_lost_in_a_restart_are_found() {
    assert!(shortest(Bug::RoomsAreLostInRestart).len() <= 5);
}

#[test]
fn an_explanation_that_forgets_the_policies_is_found() {
    assert!(shortest(Bug::ExplanationForgetsPolicies).len() <= 3);
}

#[test]
fn an_explanation_that_forgets_the_time_is_found() {
    assert!(shortest(Bug::ExplanationForgetsTime).len() <= 3);
}
