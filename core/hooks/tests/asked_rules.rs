//! Rules of questions, one by one.

use std::time::Duration;

use roomcast_core::{ErrorCode, Identity, Timestamp, policy::Right, wire::Coded};
use roomcast_hooks::{
    Answer, Ask, AskLimits, AskOutcome, AskPoll, AskReport, AskRequest, Asked, Question, Verdict,
};

pub(crate) const T0: Timestamp = Timestamp::ZERO;

pub(crate) fn join(user: &str) -> Question<'_> {
    Question::Join {
        namespace: "default".into(),
        user: Some(user.into()),
        room: "chat:7".into(),
    }
}

pub(crate) fn waits(asked: Asked) -> u64 {
    match asked {
        Asked::Waits(number) => number,
        Asked::Answered(verdict) => panic!("answered {verdict:?}"),
    }
}

fn answered(asked: Asked) -> Verdict {
    match asked {
        Asked::Answered(verdict) => verdict,
        Asked::Waits(number) => panic!("{number} waits"),
    }
}

pub(crate) fn sent(ask: &mut Ask, now: Timestamp) -> AskRequest {
    match ask.poll(now) {
        AskPoll::Send(request) => request,
        other @ (AskPoll::Idle | AskPoll::WaitUntil(_)) => panic!("{other:?}"),
    }
}

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

pub(crate) fn body(status: u16, body: &str) -> AskOutcome<'_> {
    let body = body.as_bytes();
    AskOutcome::Answered { status, body }
}

/// The answer to one question.
fn ask_once(user: &str, outcome: AskOutcome<'_>) -> (Verdict, AskReport) {
    let mut ask = Ask::new("4f2a", AskLimits::default());
    let number = waits(ask.ask(T0, &join(user)));
    let request = sent(&mut ask, T0);
    let report = ask.done(ms(5), 1_700_000_000, request.number, outcome, 0);
    let mut answers = ask.take_answers();
    let (question, verdict) = answers.pop().expect("an answer");
    assert_eq!((question, answers.len()), (number, 0));
    (verdict, report)
}

fn allowed(user: &str, json: &str) -> std::sync::Arc<Answer> {
    match ask_once(user, body(200, json)).0 {
        Verdict::Allowed(answer) => answer,
        other @ (Verdict::Unauthorized(_)
        | Verdict::Forbidden(_)
        | Verdict::Unavailable
        | Verdict::Overloaded(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_question_says_what_it_is_about_and_headers_are_joined_as_http_joins_them() {
    let question = Question::Connect {
        namespace: "default".into(),
        user: None,
        headers: [
            ("cookie", "a=1"),
            ("x-team", "red"),
            ("cookie", "b=2"),
            ("x-team", "blue"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
    };
    assert_eq!(
        question.to_json(),
        r#"{"type":"connect","namespace":"default","headers":{"cookie":"a=1; b=2","x-team":"red, blue"}}"#
    );
    assert_eq!(
        join("ann").to_json(),
        r#"{"type":"join","namespace":"default","user":"ann","room":"chat:7"}"#
    );
    assert!(!format!("{question:?}").contains("a=1"));
}

#[test]
fn an_answer_is_an_identity() {
    let json = r#"{"user":"ann","grants":[{"rooms":"chat:*","can":["join","publish"]},
        {"rooms":"u:{user}","can":["history"]}],"expires_in_s":60,"meta":{"name":"Ann"},"rooms":["chat:1"]}"#;
    let answer = allowed("ann", json);
    let identity = answer.identity(Some("ann")).expect("the same user");
    assert_eq!(identity.user.as_deref(), Some("ann"));
    assert_eq!(identity.deadline, Some(ms(60_005)));
    assert_eq!(identity.issued_s, Some(1_700_000_000));
    assert_eq!(identity.meta.as_deref(), Some(r#"{"name":"Ann"}"#));
    assert_eq!(identity.rooms, ["chat:1".into()]);
    let grants = identity.grants.expect("grants");
    assert!(grants.allow(Right::History, "u:ann") && !grants.allow(Right::History, "u:bob"));
    let rights = answer.rights(Some("ann"), "chat:7").expect("rights");
    assert!(rights.has(Right::Join) && rights.has(Right::Publish));
    assert!(!rights.has(Right::Presence) && !rights.has(Right::History));
    assert!(answer.identity(Some("bob")).is_err() && answer.rights(Some("bob"), "x").is_err());
    // The user of a question that the answer does not name.
    let nothing = allowed("bob", "{}").identity(Some("bob")).expect("bob");
    assert_eq!(nothing.user.as_deref(), Some("bob"));
    assert!(
        nothing
            .grants
            .is_some_and(|grants| !grants.allow(Right::Join, "chat:7"))
    );
}

#[test]
fn a_verdict_shortens_who_the_client_was_and_is_never_for_another() {
    let verdict = || Verdict::Allowed(allowed("ann", r#"{"user":"ann","expires_in_s":60}"#));
    let mut before = Identity::user("ann");
    before.deadline = Some(ms(1_000));
    before.issued_s = Some(5);
    let identity = verdict().identity(&before).expect("the same user");
    assert_eq!(
        (identity.deadline, identity.issued_s),
        (before.deadline, Some(5))
    );
    before.deadline = Some(ms(100_000));
    let identity = verdict().identity(&before).expect("the same user");
    assert_eq!(identity.deadline, Some(ms(60_005)));
    let refusal = verdict()
        .identity(&Identity::user("bob"))
        .expect_err("another");
    assert_eq!(refusal.verdict, Verdict::Unavailable);
    assert!(
        refusal
            .fault
            .is_some_and(|fault| fault.contains("another user"))
    );
    let refusal = verdict().rights(Some("bob"), "x").expect_err("another");
    assert_eq!(refusal.verdict, Verdict::Unavailable);
    let forbidden = Verdict::Forbidden("no".into());
    let refusal = forbidden.clone().identity(&before).expect_err("refused");
    assert_eq!((refusal.verdict, refusal.fault), (forbidden, None));
}

#[test]
fn of_failures_in_a_row_ever_fewer_are_told() {
    let failed = |failures, pause| AskReport::Failed {
        fault: None,
        failures,
        pause,
    };
    let told = |failures| failed(failures, None).notice(Some("it is down"));
    let told: Vec<_> = (1..=8)
        .filter(|failures| told(*failures).is_some())
        .collect();
    assert_eq!(told, [1, 2, 4, 8]);
    let pause = Some(Duration::from_secs(5));
    let text = failed(5, pause)
        .notice(Some("it is down"))
        .expect("always told");
    assert!(
        text.starts_with("it is down; the backend is asked again in 5s"),
        "{text}"
    );
    let back = |recovered| AskReport::Answered { recovered }.notice(None).is_some();
    assert!(back(true) && !back(false));
}

#[test]
fn a_refusal_has_the_text_of_the_backend() {
    for (status, json, code, text) in [
        (
            401,
            "",
            ErrorCode::Unauthorized,
            "the backend does not know this client",
        ),
        (
            403,
            "<html>",
            ErrorCode::Forbidden,
            "the backend does not allow it",
        ),
        (
            403,
            r#"{"message":"pay first"}"#,
            ErrorCode::Forbidden,
            "pay first",
        ),
        (
            403,
            "{\"message\":\"a\\nb\"}",
            ErrorCode::Forbidden,
            "the backend does not allow it",
        ),
    ] {
        let (verdict, report) = ask_once("ann", body(status, json));
        assert_eq!((verdict.code(), &*verdict.to_string()), (code, text));
        assert_eq!(report, AskReport::Answered { recovered: false });
    }
    let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(300));
    let (verdict, _) = ask_once("ann", body(403, &long));
    assert_eq!(verdict.to_string().len(), 200);
}

#[test]
fn an_answer_that_cannot_be_read_lets_nobody_in_and_its_values_are_not_told() {
    for (status, json, told) in [
        (200, "hush", "no object in JSON"),
        (200, "{hush", "no JSON: look at line 1"),
        (200, "", "no object in JSON"),
        (200, "[]", "no object in JSON"),
        (200, r#"{"grant":"hush"}"#, "a member is unknown"),
        (
            200,
            r#"{"user":"hush","user":"hush"}"#,
            "a member is unknown",
        ),
        (200, r#"{"user":""}"#, "`user` has 1 to 200 bytes"),
        (
            200,
            r#"{"grants":[{"rooms":"a","can":["hush"]}]}"#,
            "another form",
        ),
        (200, r#"{"expires_in_s":-1}"#, "another form"),
        (302, "", "redirects are not followed"),
        (404, "", "status 404: 200, 401 and 403 are answers"),
        (429, "", "status 429"),
        (500, "hush", "status 500"),
        (520, "", "status 520"),
    ] {
        let (verdict, report) = ask_once("ann", body(status, json));
        assert_eq!(
            (verdict.code(), &verdict),
            (ErrorCode::Unavailable, &Verdict::Unavailable)
        );
        let AskReport::Unusable {
            fault: Some(fault),
            count: 1,
            recovered: false,
            pause: None,
        } = report
        else {
            panic!("{report:?}");
        };
        assert!(fault.contains(told) && !fault.contains("hush"), "{fault}");
    }
    for (outcome, is_failure) in [
        (AskOutcome::Failed, true),
        (AskOutcome::Broken, false),
        (body(502, ""), true),
        (body(504, "{}"), true),
        (body(522, ""), true),
    ] {
        let (verdict, report) = ask_once("ann", outcome);
        assert_eq!(verdict, Verdict::Unavailable);
        let failed = matches!(report, AskReport::Failed { failures: 1, .. });
        assert_eq!(failed, is_failure, "{outcome:?}: {report:?}");
    }
}

#[test]
fn of_unusable_answers_ever_fewer_are_told_in_a_minute() {
    let mut ask = Ask::new("4f2a", AskLimits::default());
    let mut told = |now: Timestamp| {
        waits(ask.ask(now, &join("ann")));
        let request = sent(&mut ask, now);
        let report = ask.done(now, 0, request.number, AskOutcome::Broken, 0);
        report.notice(Some("it went away")).is_some()
    };
    let of_a_minute = (0..1000).filter(|_| told(ms(1))).count();
    assert_eq!(of_a_minute, 10, "1, 2, 4 … 512");
    assert!(told(ms(60_000)));
}

#[test]
fn equal_questions_share_a_request_and_its_answer_for_its_ttl() {
    let mut ask = Ask::new("4f2a", AskLimits::default());
    let [first, second] = [(); 2].map(|()| waits(ask.ask(T0, &join("ann"))));
    let other = waits(ask.ask(T0, &join("bob")));
    let [one, two] = [(); 2].map(|()| sent(&mut ask, T0));
    assert!(
        matches!(ask.poll(T0), AskPoll::WaitUntil(_)),
        "two requests"
    );
    assert!(one.request.body().contains("ann") && two.request.body().contains("bob"));
    ask.done(ms(10), 0, one.number, body(200, r#"{"ttl_s":2}"#), 0);
    ask.done(ms(10), 0, two.number, body(403, r#"{"ttl_s":1}"#), 0);
    let numbers: Vec<_> = ask
        .take_answers()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert_eq!(numbers, [first, second, other]);
    assert!(matches!(
        answered(ask.ask(ms(2009), &join("ann"))),
        Verdict::Allowed(_)
    ));
    assert!(matches!(
        answered(ask.ask(ms(1009), &join("bob"))),
        Verdict::Forbidden(_)
    ));
    waits(ask.ask(ms(1010), &join("bob")));
    waits(ask.ask(ms(2010), &join("ann")));
    assert_eq!(ask.counts().cached, 2);
}

#[test]
fn what_is_kept_ends_with_the_identity_and_stays_within_its_limits() {
    let mut limits = AskLimits::default();
    limits.cached_max = 2;
    let mut ask = Ask::new("4f2a", limits);
    let users = ["ann", "bob", "cid"];
    for (user, json) in users.iter().zip([
        r#"{"ttl_s":50,"expires_in_s":1}"#,
        r#"{"ttl_s":60}"#,
        r#"{"ttl_s":70}"#,
    ]) {
        waits(ask.ask(T0, &join(user)));
        let request = sent(&mut ask, T0);
        ask.done(T0, 0, request.number, body(200, json), 0);
        assert!(ask.counts().kept <= 2);
    }
    // The one that would have ended first had to go.
    waits(ask.ask(T0, &join("ann")));
    for user in ["bob", "cid"] {
        answered(ask.ask(ms(59_999), &join(user)));
    }
    waits(ask.ask(ms(60_000), &join("bob")));
}

#[test]
fn questions_past_the_limits_are_told_that_there_are_too_many() {
    let mut limits = AskLimits::default();
    (limits.in_flight_max, limits.waiting_max) = (1, 3);
    let mut ask = Ask::new("4f2a", limits);
    let numbers = ["ann", "bob", "bob"].map(|user| waits(ask.ask(T0, &join(user))));
    assert_eq!(answered(ask.ask(T0, &join("cid"))), Verdict::Overloaded(3));
    assert_eq!(answered(ask.ask(T0, &join("bob"))), Verdict::Overloaded(3));
    let request = sent(&mut ask, T0);
    assert_eq!(ask.poll(ms(999)), AskPoll::WaitUntil(ms(1000)));
    assert_eq!(ask.poll(ms(1000)), AskPoll::Idle);
    let verdicts = ask.take_answers();
    let expected = [
        Verdict::Unavailable,
        Verdict::Overloaded(1),
        Verdict::Overloaded(1),
    ];
    assert_eq!(
        verdicts,
        numbers.into_iter().zip(expected).collect::<Vec<_>>()
    );
    // The place of the request is free when it is over, and not before.
    waits(ask.ask(ms(1000), &join("cid")));
    assert!(matches!(ask.poll(ms(1000)), AskPoll::WaitUntil(_)));
    let report = ask.done(ms(1001), 0, request.number, AskOutcome::Failed, 0);
    assert!(matches!(report, AskReport::Failed { failures: 1, .. }));
    sent(&mut ask, ms(1001));
    assert_eq!(
        ask.done(T0, 0, 99, AskOutcome::Failed, 0),
        AskReport::Nothing
    );
}

#[test]
fn a_breaker_opens_lets_some_through_and_closes() {
    let mut ask = Ask::new("4f2a", AskLimits::default());
    let fail = |ask: &mut Ask, now: Timestamp, user: &str| {
        waits(ask.ask(now, &join(user)));
        let request = sent(ask, now);
        ask.done(now, 0, request.number, AskOutcome::Failed, 0)
    };
    for failures in 1..5 {
        let report = fail(&mut ask, T0, "ann");
        let pause = None;
        assert_eq!(
            report,
            AskReport::Failed {
                fault: None,
                failures,
                pause
            }
        );
    }
    // One more waits behind the request that opens it.
    let behind = waits(ask.ask(T0, &join("bob")));
    let request = sent(&mut ask, T0);
    let last = waits(ask.ask(T0, &join("cid")));
    let report = ask.done(T0, 0, request.number, AskOutcome::Failed, 1000);
    let pause = Some(Duration::from_millis(6000));
    assert_eq!(
        report,
        AskReport::Failed {
            fault: None,
            failures: 5,
            pause
        }
    );
    let open: Vec<_> = ask
        .take_answers()
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert!(open.ends_with(&[behind, last]));
    assert_eq!(
        answered(ask.ask(ms(5999), &join("ann"))),
        Verdict::Unavailable
    );
    assert!(ask.counts().is_open);
    some_find_out(&mut ask);
}

/// Looks at a breaker that is open until 6 s and then lets some through.
fn some_find_out(ask: &mut Ask) {
    // Some find out; when all of them failed, all over again. Who asks meanwhile waits for it.
    let users = ["ann", "bob", "cid", "dan", "eve"];
    let mut probes = Vec::new();
    for user in users {
        waits(ask.ask(ms(6000), &join(user)));
        if let AskPoll::Send(probe) = ask.poll(ms(6000)) {
            probes.push(probe.number);
        }
    }
    assert_eq!(probes.len(), 4);
    for (probe, pause) in probes.into_iter().zip([None, None, None, Some(5)]) {
        let report = ask.done(ms(6010), 0, probe, AskOutcome::Failed, 0);
        let AskReport::Failed { pause: told, .. } = report else {
            panic!("{report:?}");
        };
        assert_eq!(told, pause.map(Duration::from_secs));
        assert!(pause.is_some() || matches!(ask.poll(ms(6010)), AskPoll::WaitUntil(_)));
    }
    assert_eq!(ask.take_answers().len(), 5);
    assert_eq!(
        answered(ask.ask(ms(11_009), &join("ann"))),
        Verdict::Unavailable
    );
    // One that is broken lets another one through, and any answer closes it.
    for user in users {
        waits(ask.ask(ms(11_010), &join(user)));
    }
    let probes = [(); 4].map(|()| sent(ask, ms(11_010)).number);
    ask.done(ms(11_020), 0, probes[0], AskOutcome::Broken, 0);
    let last = sent(ask, ms(11_020)).number;
    ask.done(ms(11_020), 0, probes[1], AskOutcome::Failed, 0);
    assert!(ask.counts().is_open);
    let report = ask.done(ms(11_020), 0, last, body(500, ""), 0);
    let recovered = matches!(
        report,
        AskReport::Unusable {
            recovered: true,
            ..
        }
    );
    assert!(recovered, "{report:?}");
    assert_eq!(
        report.notice(None).as_deref(),
        Some("the backend answers again")
    );
    assert!(!ask.counts().is_open);
}
