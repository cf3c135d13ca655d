//! Applications of namespaces that sleep.

use std::ops::Bound;

use roomcast_core::{
    Context, Failure, Gateway, Router,
    ask::{Answer, Ask, AskError},
    room::{HistoryPage, PageError},
};

use super::bench::{Alarm, Bench, Gone, Setup, Text, User, Wait, keeping};
use crate::{handle::Namespace as Handle, mount::Application};

/// Histories are read in memory, from the storage, and when that fails.
#[test]
fn an_application_reads_a_history_that_has_slept() {
    fn offsets(page: Result<HistoryPage, Failure>) -> Result<Vec<u64>, Failure> {
        Ok(page?.messages.iter().map(|one| one.offset).collect())
    }
    let application = move |server: &Handle| {
        let server = server.clone();
        let router = Router::default()
            .on("last", move |cx: &mut Context, count: usize| {
                let page = cx.history("log", .., count);
                async move { offsets(page.await.map_err(Failure::from)) }
            })
            .on("ask", move |_: &mut Context, from: u64| {
                let server = server.clone();
                async move {
                    let page = server.history("log", from.., 9).await;
                    let (position, there) =
                        (server.position("log"), server.presence("log", None, 9));
                    Ok::<_, Failure>((
                        offsets(page.map_err(Failure::from))?,
                        position.await?.offset,
                        there.await?,
                    ))
                }
            })
            .on("enter", |cx: &mut Context, name: String| {
                cx.join_with("log", &name)
            });
        Box::new(router) as Box<dyn Gateway>
    };
    let mut bench = Bench::new(&Setup {
        application: Application::new(application),
        ..keeping()
    });
    bench.run(User("ann"));
    let entered = bench.run(Text(0, r#"{"event":"enter","data":"Ann"}"#));
    assert_eq!(entered, [r#"0 < {"event":"enter","data":true}"#]);
    for _ in 0..3 {
        bench.run(Text(0, r#"{"event":"said","room":"log"}"#));
    }
    let last = r#"0 < {"event":"last","data":[2,3]}"#;
    let asked = r#"0 < {"event":"ask","data":[[2,3],3,{"members":[{"user":"ann","conns":1,"meta":"Ann"}],"users":1,"conns":1}]}"#;
    for _ in 0..2 {
        for (text, answer) in [
            (r#"{"event":"last","data":2}"#, last),
            (r#"{"event":"ask","data":2}"#, asked),
        ] {
            // Asleep, then in memory.
            bench.evict();
            for _ in 0..2 {
                bench.run(Text(0, text));
                assert_eq!(bench.turns(), [answer], "{text}");
            }
        }
    }
    // Read from a new object, to which the messages have not been returned.
    bench.evict();
    let ask = Ask::History {
        room: "log".to_owned(),
        offsets: (Bound::Unbounded, Bound::Excluded(3)),
        limit: 1,
    };
    let told = bench.namespace.ask(ask).expect("it wakes");
    let Ok(Answer::History(page)) = &told else {
        panic!("a page: {told:?}");
    };
    assert_eq!((page.offset, page.messages[0].offset), (3, 2));
    let wire = serde_json::to_string(&told.expect("a page")).expect("plain data");
    let back: Answer = serde_json::from_str(&wire).expect("its own form");
    assert!(matches!(&back, Answer::History(back) if back.messages[0].offset == 2));
    let none = Ask::Presence {
        room: "other".to_owned(),
        after: None,
        limit: 1,
    };
    let none = bench.namespace.ask(none).expect("it wakes");
    assert_eq!(none, Err(AskError::Page(PageError::NoPresence)));
}

/// The application is told of an absence when the alarm ends the grace time, however often the
/// object slept.
#[test]
fn an_application_hears_who_is_gone_after_sleep() {
    let application = |_: &Handle| {
        let router = Router::default().on_absent(|namespace, (), room, user| {
            namespace.broadcast("gone", &(room, user)).expect("text");
        });
        Box::new(router) as Box<dyn Gateway>
    };
    let policies = r#"{"rooms":[{"match":"den","presence":"members","presence_grace_s":5}]}"#;
    let mut bench = Bench::new(&Setup {
        application: Application::new(application),
        policies: serde_json::from_str(policies).expect("valid"),
        ..Setup::default()
    });
    bench.run(User("ann"));
    bench.run(User("bob"));
    bench.run(Text(0, r#"{"event":"$join","room":"den"}"#));
    bench.evict();
    bench.run(Gone(0));
    bench.evict();
    // Nobody is in the room, and nobody speaks.
    assert!(bench.fake.0.borrow().alarm.is_some());
    bench.run(Wait(4_999));
    assert_eq!(bench.run(Alarm), [""; 0]);
    bench.evict();
    bench.run(Wait(1));
    assert_eq!(
        bench.run(Alarm),
        [r#"1 < {"event":"gone","data":["den","ann"]}"#]
    );
    assert!(bench.fake.0.borrow().storage.rooms.is_empty());
}
