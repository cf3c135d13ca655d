//! Questions that a backend cannot answer.

use std::time::Duration;

use roomcast_hooks::{Ask, AskLimits, AskOutcome, AskPoll, AskReport, Verdict};

use crate::asked_rules::{T0, body, join, sent, waits};

#[test]
fn a_request_that_the_backend_took_is_between_failures() {
    for between in [AskOutcome::Broken, body(500, ""), body(403, "")] {
        let mut ask = Ask::new("4f2a", AskLimits::default());
        for number in 0..30 {
            waits(ask.ask(T0, &join("ann")));
            let request = sent(&mut ask, T0).number;
            let is_between = number % 5 == 4;
            let outcome = if is_between {
                between
            } else {
                AskOutcome::Failed
            };
            ask.done(T0, 0, request, outcome, 0);
        }
        assert!(!ask.counts().is_open, "{between:?}");
    }
}

/// The client chooses what its question says, and so what the backend does with it.
#[test]
fn questions_that_a_backend_cannot_answer_keep_nobody_out() {
    let poisons = [
        AskOutcome::Broken,
        body(200, "<html>"),
        body(302, ""),
        body(400, ""),
        body(404, ""),
        body(429, ""),
        body(500, ""),
        body(501, ""),
        body(520, ""),
    ];
    for poison in poisons {
        for is_open in [false, true] {
            let mut ask = Ask::new("4f2a", AskLimits::default());
            let mut now = T0;
            for failures in 1..=if is_open { 5 } else { 0 } {
                waits(ask.ask(now, &join("ann")));
                let request = sent(&mut ask, now).number;
                let report = ask.done(now, 0, request, AskOutcome::Failed, 0);
                assert!(matches!(report, AskReport::Failed { failures: it, .. } if it == failures));
            }
            ask.take_answers();
            now = now + Duration::from_secs(5);
            for round in 0..100 {
                // A stranger has as many under way as may be.
                for stranger in 0..40 {
                    ask.ask(now, &join(&format!("stranger {round} {stranger}")));
                }
                let user = waits(ask.ask(now, &join("ann")));
                let mut is_in = false;
                while let AskPoll::Send(request) = ask.poll(now) {
                    let is_poison = request.request.body().contains("stranger");
                    let outcome = if is_poison { poison } else { body(200, "{}") };
                    ask.done(now, 0, request.number, outcome, 0);
                    let answers = ask.take_answers();
                    is_in |= answers.iter().any(|(number, verdict)| {
                        *number == user && matches!(verdict, Verdict::Allowed(_))
                    });
                }
                assert!(is_in, "{poison:?}, round {round}");
                now = now + Duration::from_millis(10);
            }
        }
    }
}
