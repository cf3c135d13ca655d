//! Hooks that wait, on a platform that fails and forgets.

use std::{cell::RefCell, rc::Rc};

use futures_channel::oneshot;
use roomcast_core::{
    Context, Failure, Gateway, Handshake, Rejection, Router,
    gateway::{Admission, UpgradeRequest},
    later,
};

use super::bench::{Alarm, Bench, Connect, Gone, Setup, Text, User, Wait};
use crate::{handle::Namespace as Handle, mount::Application, namespace::upgrades::Upgrading};

/// Questions that wait for the test to answer them.
type Questions = Rc<RefCell<Vec<oneshot::Sender<bool>>>>;

fn asks(questions: &Questions) -> impl Future<Output = Result<(), Failure>> + use<> {
    let (answer, answered) = oneshot::channel();
    questions.borrow_mut().push(answer);
    async move {
        let may = answered.await.unwrap_or(false);
        may.then_some(()).ok_or(Failure::forbidden("not you"))
    }
}

/// Asks about each connection, before it opens and when it does.
fn asking() -> (Bench, Questions) {
    let questions = Questions::default();
    let asked = questions.clone();
    let application = move |_: &Handle| {
        let (first, second, third) = (asked.clone(), asked.clone(), asked.clone());
        let router = Router::new(0)
            .on_upgrade(move |_, _| {
                let question = asks(&first);
                later(async move {
                    question.await.map_err(Rejection::from)?;
                    Ok(Admission::new().with_user("ann"))
                })
            })
            .on_connect(move |cx, _| {
                let said = cx.emit("hello", &());
                let question = asks(&second);
                let asked = later(async move {
                    said?;
                    question.await
                });
                asked.and_then(|cx: &mut Context, count: &mut u32, ()| {
                    *count += 1;
                    cx.emit("count", count).map(|_| ())
                })
            })
            .on_disconnect(|cx, _, _| {
                let _ = cx.broadcast("gone", &());
            })
            .guard_event("think", move |_, _, _| later(asks(&third)))
            .on("think", |_: &mut Context, text: String| text)
            .on("say", |_: &mut Context, text: String| text);
        Box::new(router) as Box<dyn Gateway>
    };
    let bench = Bench::new(&Setup {
        application: Application::new(application),
        ..Setup::default()
    });
    (bench, questions)
}

fn answer(questions: &Questions, may: bool) {
    let question = questions.borrow_mut().remove(0);
    assert_eq!(question.send(may), Ok(()));
}

impl Bench {
    /// The time until the platform calls.
    fn alarm_in_ms(&self) -> Option<u64> {
        let world = self.fake.0.borrow();
        let alarm = world.alarm?.as_millis();
        Some(alarm.saturating_sub(world.now))
    }

    fn waits(&self) -> (usize, usize) {
        let world = self.fake.0.borrow();
        (world.works.len(), world.waiting.len())
    }
}

const SAY: &str = r#"{"event":"say","id":1,"data":"hi"}"#;

#[test]
fn a_connection_opens_when_its_hook_has_waited() {
    let (mut bench, questions) = asking();
    assert_eq!(bench.run(User("ann")), [""; 0]);
    assert_eq!(bench.run(Text(0, SAY)), [""; 0]);
    assert_eq!((bench.turns(), bench.waits()), (vec![], (1, 1)));
    answer(&questions, true);
    let opened = [
        r#"0 < {"event":"hello","data":null}"#,
        r#"0 < {"event":"count","data":1}"#,
        r#"0 < {"event":"say","id":1,"data":"hi"}"#,
    ];
    assert_eq!(bench.turns(), opened);
    assert_eq!(bench.waits(), (0, 0));
    // The connection is like any other: it survives sleep.
    bench.evict();
    assert_eq!(bench.run(Text(0, SAY)), opened[2..]);
    bench.run(User("ben"));
    bench.turns();
    answer(&questions, false);
    let refused = bench.turns();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains(r#"1 < {"event":"$error","error":{"code":"forbidden""#));
    assert_eq!(refused[1], "1 closed 4403 not you");
    assert_eq!(bench.waits(), (0, 0));
}

#[test]
fn a_connection_that_ends_before_its_hook_was_never_there() {
    let (mut bench, questions) = asking();
    bench.run(User("ann"));
    bench.turns();
    answer(&questions, true);
    bench.turns();
    bench.run(User("ben"));
    bench.turns();
    assert_eq!(bench.run(Gone(1)), [""; 0]);
    assert_eq!(bench.waits().0, 0);
    assert_eq!(bench.run(Gone(0)), [""; 0]);
}

#[test]
fn a_connection_whose_hook_is_lost_is_told_to_come_again() {
    let (mut bench, _) = asking();
    bench.run(User("ann"));
    bench.turns();
    // Whatever becomes of the object, the platform wakes it.
    assert_eq!(bench.alarm_in_ms(), Some(7_000));
    bench.evict();
    // The platform is called at once, and nobody need speak.
    bench.namespace.wake().expect("it wakes");
    assert!(bench.alarm_in_ms().is_some_and(|ms| ms <= 1));
    let closed = bench.run(Alarm);
    let closed: Vec<_> = closed.iter().map(String::as_str).collect();
    let [lost, bye, close] = closed[..] else {
        panic!("{closed:?}")
    };
    // What the shim does is enough where it remembers; a new one does not.
    assert_eq!(lost, "0 lost messages");
    assert!(bye.contains(r#"{"code":1013,"reconnect":true"#), "{bye}");
    assert!(close.starts_with("0 closed 1013 "), "{close}");
    // Also when the first that happens is a message of its own.
    bench.run(User("ben"));
    bench.turns();
    bench.evict();
    let closed = bench.run(Text(0, SAY));
    assert!(
        closed.iter().any(|line| line.starts_with("0 closed 1013 ")),
        "{closed:?}"
    );
}

/// Commands are carried out by slot, after the input.
#[test]
fn a_client_gets_no_slot_of_a_connection_whose_hook_is_lost() {
    let (mut bench, questions) = asking();
    bench.run(User("ann"));
    bench.turns();
    bench.evict();
    // A client comes before the alarm.
    assert_eq!(bench.run(User("ben")), ["0 lost messages"]);
    assert!(bench.alarm_in_ms().is_some_and(|ms| ms <= 1));
    let closed = bench.run(Alarm);
    assert_eq!(closed.len(), 2, "{closed:?}");
    assert!(
        closed[0].starts_with(r#"0 < {"event":"$bye""#),
        "{closed:?}"
    );
    assert!(closed[1].starts_with("0 closed 1013 "), "{closed:?}");
    questions.borrow_mut().remove(0);
    answer(&questions, true);
    let opened = [
        r#"1 < {"event":"hello","data":null}"#,
        r#"1 < {"event":"count","data":1}"#,
    ];
    assert_eq!(bench.turns(), opened);
    let said = [r#"1 < {"event":"say","id":1,"data":"hi"}"#];
    assert_eq!(bench.run(Text(1, SAY)), said);
    // Nothing of it is left in the hub.
    bench.run(Connect);
    assert!(bench.fake.0.borrow().sockets.contains_key(&0));
    assert_eq!(bench.run(Text(1, SAY)), said);
}

#[test]
fn a_connection_whose_hook_is_lost_may_end_first() {
    let (mut bench, _) = asking();
    bench.run(User("ann"));
    bench.run(User("ben"));
    bench.turns();
    bench.evict();
    let closed = bench.run(Gone(0));
    assert_eq!(closed.len(), 4, "{closed:?}");
    assert_eq!(closed[..2], ["0 lost messages", "1 lost messages"]);
    assert!(
        closed[2].starts_with(r#"1 < {"event":"$bye""#),
        "{closed:?}"
    );
    assert!(closed[3].starts_with("1 closed 1013 "), "{closed:?}");
    assert!(bench.fake.0.borrow().sockets.is_empty());
}

/// Messages of a client that says late who it is wait for its hook, and are lost with it.
#[test]
fn a_client_that_says_late_who_it_is_waits_too() {
    let (mut bench, _) = asking();
    let handshake = Handshake::new().with_unidentified(true);
    let opened = bench.namespace.connect(handshake);
    assert_eq!(opened.expect("saved"), Ok(()));
    assert_eq!(bench.turns(), [""; 0]);
    let text = r#"{"event":"$auth","id":1,"data":{}}"#;
    let named = Some(Box::default());
    let heard = bench.namespace.authenticate(0, text, named, false);
    heard.expect("saved");
    let told = [r#"0 < {"event":"$auth","id":1,"data":{"user":""}}"#];
    assert_eq!(bench.turns(), told);
    assert_eq!(bench.waits(), (1, 1));
    bench.evict();
    bench.namespace.wake().expect("it wakes");
    assert_eq!(bench.fake.0.borrow().seen, ["0 lost messages"]);
}

#[test]
fn a_hook_or_guard_that_takes_too_long_is_given_up() {
    let (mut bench, questions) = asking();
    bench.run(User("ann"));
    bench.turns();
    bench.run(Wait(7_000));
    let closed = bench.run(Alarm);
    assert_eq!(closed.len(), 2, "{closed:?}");
    let told = r#"0 < {"event":"$error","error":{"code":"unavailable""#;
    assert!(closed[0].starts_with(told), "{closed:?}");
    assert!(closed[1].starts_with("0 closed 1013 "), "{closed:?}");
    assert_eq!(bench.waits(), (0, 0));
    // Its work is dropped.
    assert!(questions.borrow_mut().remove(0).send(true).is_err());

    bench.run(User("ben"));
    bench.turns();
    answer(&questions, true);
    bench.turns();
    bench.run(Text(0, r#"{"event":"think","id":1,"data":"hm"}"#));
    bench.run(Text(0, SAY));
    assert_eq!((bench.turns(), bench.waits()), (vec![], (1, 1)));
    bench.run(Wait(7_000));
    let answers = bench.run(Alarm);
    assert_eq!(answers.len(), 2, "{answers:?}");
    let told = r#"0 < {"event":"think","id":1,"error":{"code":"unavailable""#;
    assert!(answers[0].starts_with(told), "{answers:?}");
    assert_eq!(answers[1], r#"0 < {"event":"say","id":1,"data":"hi"}"#);
    assert_eq!(bench.waits(), (0, 0));
    assert!(questions.borrow_mut().remove(0).send(true).is_err());
}

#[test]
fn a_request_waits_for_the_word_of_the_application() {
    let (mut bench, questions) = asking();
    let request = UpgradeRequest::new("/ws", "");
    for may in [true, false] {
        let asked = bench.namespace.upgrade(&request).expect("it is awake");
        let Upgrading::Waits(number) = asked else {
            panic!("{asked:?}")
        };
        bench.turns();
        assert!(bench.fake.0.borrow().answered.is_empty());
        answer(&questions, may);
        bench.turns();
        let answered = std::mem::take(&mut bench.fake.0.borrow_mut().answered);
        assert_eq!(answered, [number]);
        let said = bench.namespace.take_admission(number);
        assert_eq!(said.is_ok(), may);
        // It is for one client.
        let again = bench.namespace.take_admission(number).expect_err("taken");
        assert_eq!(again.status(), 503);
    }
    // Nobody waits any more: the time is over, or the client gone.
    for is_gone in [false, true] {
        let asked = bench.namespace.upgrade(&request).expect("it is awake");
        let Upgrading::Waits(number) = asked else {
            panic!("{asked:?}")
        };
        bench.turns();
        if is_gone {
            bench.namespace.drop_admission(number);
        } else {
            let late = bench.namespace.take_admission(number).expect_err("late");
            assert_eq!(late, Rejection::undecided());
        }
        assert!(questions.borrow_mut().remove(0).send(true).is_err());
        bench.turns();
        assert!(bench.fake.0.borrow().answered.is_empty());
    }
    // A limit for those who wait.
    bench.setup.limits.connections = 1;
    bench.evict();
    let mut ask = || bench.namespace.upgrade(&request).expect("it is awake");
    assert!(matches!(ask(), Upgrading::Waits(_)));
    let full = ask();
    let Upgrading::Said(Err(rejection)) = full else {
        panic!("{full:?}")
    };
    assert_eq!(rejection.status(), 503);
}
