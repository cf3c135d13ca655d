//! Histories and presence, as read by an application.

use std::{
    borrow::Cow,
    cell::RefCell,
    pin::pin,
    rc::Rc,
    task::{Context as Poller, Poll, Waker},
};

use roomcast_core::{
    Applied, Audience, Context, Failure, Frame, Input, JoinError, NamespaceContext, Router,
    SendError,
    gateway::{HistoryRead, Token, Work},
    room::{Except, HistoryMessage, PageError},
};

use super::stage::Stage;

const POLICIES: &str = r#"{"rooms":[
    {"match":"log","history":{"messages":3,"age_s":10}},
    {"match":"den","presence":"members","presence_grace_s":0},
    {"match":"hall","presence":"counts"}
]}"#;

type Act = Box<dyn FnOnce(&mut NamespaceContext<'_>)>;

thread_local! {
    /// The action that the application runs when it is next drained.
    static ACT: RefCell<Option<Act>> = const { RefCell::new(None) };
}

fn acting(router: Router) -> Router {
    router.on_drain(|namespace, ()| {
        if let Some(act) = ACT.take() {
            act(namespace);
        }
    })
}

fn stage(router: Router) -> Stage<Router> {
    Stage::with_policies(acting(router), POLICIES)
}

/// Runs an action of the application outside any connection.
fn act<R: 'static>(
    stage: &mut Stage<Router>,
    act: impl FnOnce(&mut NamespaceContext<'_>) -> R + 'static,
) -> R {
    let result = Rc::new(RefCell::new(None));
    let there = result.clone();
    ACT.set(Some(Box::new(move |namespace| {
        there.replace(Some(act(namespace)));
    })));
    stage.apply(&Input::Drain);
    result.take().expect("it acted")
}

fn say(stage: &mut Stage<Router>, data: u32) -> Option<u64> {
    let log = Audience::room("log");
    let sent = act(stage, move |namespace| namespace.send(&log, "said", &data));
    sent.expect("valid").offset
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Poller::from_waker(Waker::noop()))
}

/// Returns the offsets of a page that needs no loading.
fn offsets(mut read: HistoryRead) -> Result<Vec<u64>, PageError> {
    let Poll::Ready(page) = poll(&mut read) else {
        panic!("the messages are in memory");
    };
    let messages = page?.messages.into_iter();
    Ok(messages.map(|message| message.offset).collect())
}

#[test]
fn a_page_is_cut_by_its_offsets_and_its_limit() {
    let mut stage = stage(Router::default());
    assert_eq!(
        act(&mut stage, move |namespace| namespace
            .position("log")
            .offset),
        0
    );
    assert_eq!((1..=3).map(|n| say(&mut stage, n)).max(), Some(Some(3)));
    let epoch = act(&mut stage, move |namespace| {
        namespace.position("log").epoch.into_owned()
    });
    act(&mut stage, move |namespace| {
        assert_eq!((&*epoch, namespace.position("log").offset), ("e.1", 3));
        for (page, expected) in [
            (namespace.history("log", .., 9), &[1, 2, 3][..]),
            (namespace.history("log", .., 2), &[2, 3]),
            (namespace.history("log", ..3, 1), &[2]),
            (namespace.history("log", ..=3, 1), &[3]),
            (namespace.history("log", 2.., 1), &[2]),
            (namespace.history("log", 0.., 1), &[1]),
            (namespace.history("log", 2..3, 9), &[2]),
            (namespace.history("log", 4.., 9), &[]),
            (namespace.history("log", u64::MAX.., 9), &[]),
            (namespace.history("log", ..=u64::MAX, 1), &[3]),
            (namespace.history("log", .., 0), &[]),
        ] {
            assert_eq!(offsets(page).as_deref(), Ok(expected));
        }
        assert_eq!(
            offsets(namespace.history("den", .., 9)),
            Err(PageError::NoHistory)
        );
        assert_eq!(
            offsets(namespace.history("other", .., 9)),
            Err(PageError::NoHistory)
        );
    });
    let Poll::Ready(Ok(page)) = poll(&mut act(&mut stage, move |namespace| {
        namespace.history("log", 3.., 9)
    })) else {
        panic!("the messages are in memory");
    };
    assert_eq!((page.offset, page.first), (3, 1));
    // Expired by now but not dropped yet, since queries change nothing.
    stage.now = stage.now + std::time::Duration::from_secs(10);
    let page = act(&mut stage, move |namespace| namespace.history("log", .., 9));
    assert_eq!(offsets(page).as_deref(), Ok(&[][..]));
}

#[test]
fn a_page_is_what_history_answers() {
    let mut stage =
        stage(Router::default().on("page", |cx: &mut Context| cx.history("log", .., 9)));
    let ann = stage.connect("ann").expect("admitted");
    stage.text(ann, r#"{"event":"$join","room":"log"}"#);
    stage.text(ann, r#"{"event":"said","room":"log","data":{ "a": [1] }}"#);
    say(&mut stage, 2);
    let mut read = act(&mut stage, move |namespace| namespace.history("log", .., 9));
    let Poll::Ready(Ok(page)) = poll(&mut read) else {
        panic!("the messages are in memory");
    };
    let [said, told] = &page.messages[..] else {
        panic!("two messages: {page:?}");
    };
    let from = said.from.as_ref().expect("a client");
    assert_eq!((from.conn, from.user.as_deref()), (ann, Some("ann")));
    assert_eq!(
        (&*said.event, &*said.room, said.json()),
        ("said", "log", r#"{ "a": [1] }"#)
    );
    assert_eq!(
        (told.from.as_ref(), told.data::<u32>().ok()),
        (None, Some(2))
    );
    assert!(told.data::<String>().is_err());
    let ben = stage.connect("ben").expect("admitted");
    stage.text(ben, r#"{"event":"$join","room":"log"}"#);
    stage.take();
    stage.text(ben, r#"{"event":"$history","room":"log"}"#);
    let answer = serde_json::to_string(&page).expect("plain data");
    stage.expect([&*format!(
        r#"send b {{"event":"$history","room":"log","data":{answer}}}"#
    )]);
    stage.text(ann, r#"{"event":"page","id":1}"#);
    complete(&mut stage);
    stage.expect([&*format!(
        r#"send a {{"event":"page","id":1,"data":{answer}}}"#
    )]);
}

/// Completes finished work, and returns the work that still waits.
fn complete(stage: &mut Stage<Router>) -> Vec<(Token, Work)> {
    let work = stage.app.take_work();
    complete_of(stage, work)
}

fn complete_of(stage: &mut Stage<Router>, work: Vec<(Token, Work)>) -> Vec<(Token, Work)> {
    let mut rest = Vec::new();
    for (token, mut work) in work {
        match poll(&mut work) {
            Poll::Ready(outcome) => {
                let (app, out) = (&mut stage.app, &mut stage.out);
                let done = app.apply(stage.now, &Input::Complete { token, outcome }, out);
                assert_eq!(done, Applied::Completed(Ok(())));
            }
            Poll::Pending => rest.push((token, work)),
        }
    }
    rest
}

fn reader() -> Router {
    Router::default().on("offsets", |cx: &mut Context| {
        let page = cx.history("log", .., 9);
        let sent = cx
            .to(cx.room("log"))
            .emit("asked", &())
            .map(|sent| sent.offset);
        async move {
            let page = page.await?;
            let offsets: Vec<_> = page.messages.iter().map(|message| message.offset).collect();
            Ok::<_, Failure>((offsets, page.offset, sent?))
        }
    })
}

#[test]
fn a_handler_awaits_messages_that_are_with_the_host() {
    let mut stage = stage(reader());
    let ann = stage.connect("ann").expect("admitted");
    (1..=2).for_each(|n| assert!(say(&mut stage, n).is_some()));
    let frame = |n| format!(r#"{{"event":"said","room":"log","offset":{n},"data":{n}}}"#);
    let kept = [1, 2].map(|n| HistoryMessage::new(n, stage.now, frame(n), Except::Nobody));
    stage.take();
    stage.sleep(acting(reader()));
    stage.text(ann, r#"{"event":"offsets","id":1}"#);
    stage.expect([
        "recall log",
        r#"append log 3 {"event":"asked","room":"log","offset":3,"data":null}"#,
    ]);
    let waits = complete(&mut stage);
    assert_eq!(waits.len(), 1, "the messages are not there");
    stage.apply(&Input::HistoryLoaded {
        room: "log".into(),
        messages: kept.to_vec().into(),
    });
    assert!(complete_of(&mut stage, waits).is_empty());
    // The answer leaves out messages sent after the request.
    stage.expect([r#"send a {"event":"offsets","id":1,"data":[[1,2],2,3]}"#]);
    // The same answer as from memory.
    stage.text(ann, r#"{"event":"offsets","id":2}"#);
    assert!(complete(&mut stage).is_empty());
    stage.expect([
        r#"append log 4 {"event":"asked","room":"log","offset":4,"data":null}"#,
        r#"send a {"event":"offsets","id":2,"data":[[1,2,3],3,4]}"#,
    ]);
}

#[test]
fn a_page_that_nobody_can_give_any_more_is_an_error() {
    let mut stage = stage(Router::default());
    say(&mut stage, 1);
    stage.sleep(acting(Router::default()));
    let mut read = act(&mut stage, move |namespace| namespace.history("log", .., 9));
    assert!(poll(&mut read).is_pending());
    let lost = stage.app.hub().history_page(stage.now, "log", .., 9);
    assert_eq!(lost, Err(PageError::Unavailable));
    drop(stage);
    assert_eq!(poll(&mut read), Poll::Ready(Err(PageError::Unavailable)));
}

#[test]
fn presence_is_read_in_pages_with_what_was_joined_with() {
    let mut stage = stage(
        Router::default().on("enter", |cx: &mut Context, role: String| {
            cx.join_with("den", &[role])
        }),
    );
    let [ann, ben, cat] = ["ann", "ben", "cat"].map(|user| stage.connect(user).expect("admitted"));
    let again = stage.connect("ann").expect("admitted");
    stage.take();
    stage.text(ann, r#"{"event":"enter","id":1,"data":"host"}"#);
    stage.expect([r#"send a {"event":"enter","id":1,"data":true}"#]);
    act(&mut stage, move |namespace| {
        assert_eq!(namespace.join_with(ben, "den", "guest"), Ok(true));
        assert_eq!(namespace.join_with(ben, "den", "other"), Ok(false));
        assert_eq!(namespace.join_with(again, "den", "other"), Ok(true));
        assert_eq!(namespace.join_with(cat, "den", &()), Ok(true));
        let large = "x".repeat(10_000);
        assert!(
            matches!(namespace.join_with(cat, "hall", &large), Ok(true)),
            "it shows nothing"
        );
        let nothing = namespace.join_with(cat, "log", &f64::NAN);
        assert_eq!(nothing, Ok(true), "null is nothing to show");
    });
    stage.expect([
        r#"send a {"event":"$joined","room":"den","data":{"user":"ben","meta":"guest"}}"#,
        r#"send a,b,d {"event":"$joined","room":"den","data":{"user":"cat"}}"#,
    ]);
    act(&mut stage, move |namespace| {
        let page = namespace.presence("den", None, 2).expect("shown");
        let [first, second] = &page.members[..] else {
            panic!("two: {page:?}");
        };
        assert_eq!((first.user.as_deref(), first.conns), (Some("ann"), 2));
        assert_eq!(
            first.meta::<[String; 1]>().ok().flatten(),
            Some(["host".to_owned()])
        );
        assert!(second.meta::<u8>().is_err());
        assert_eq!((page.users, page.conns), (3, 4));
        let rest = namespace
            .presence("den", page.next.as_deref(), 2)
            .expect("shown");
        let [cat] = &rest.members[..] else {
            panic!("one: {rest:?}");
        };
        assert_eq!(cat.meta::<u8>().expect("nothing"), None);
        assert_eq!(rest.next, None);
        let counts = namespace.presence("hall", None, 9).expect("counted");
        assert_eq!(
            (counts.members.len(), counts.users, counts.conns),
            (0, 1, 1)
        );
        assert_eq!(
            namespace.presence("log", None, 9),
            Err(PageError::NoPresence)
        );
        assert_eq!(
            namespace.presence("den", Some("x"), 9),
            Err(PageError::Cursor)
        );
    });
    // The same as clients see.
    let page = act(&mut stage, move |namespace| {
        namespace.presence("den", None, 9)
    })
    .expect("shown");
    let answer = serde_json::to_string(&page).expect("plain data");
    stage.text(ann, r#"{"event":"$members","room":"den"}"#);
    stage.expect([&*format!(
        r#"send a {{"event":"$members","room":"den","data":{answer}}}"#
    )]);
    let back: roomcast_core::room::PresencePage =
        serde_json::from_str(&answer).expect("its own form");
    assert_eq!(back, page);
}

#[test]
fn a_room_that_there_is_not_has_empty_pages() {
    let mut stage = stage(Router::default());
    act(&mut stage, move |namespace| {
        assert_eq!(
            offsets(namespace.history("log", .., 9)).as_deref(),
            Ok(&[][..])
        );
        let page = namespace.presence("den", None, 9).expect("shown");
        assert_eq!((page.members.len(), page.users, page.conns), (0, 0, 0));
        assert_eq!(namespace.counts().rooms, 0, "a question opens no room");
    });
}

#[test]
fn a_meta_that_cannot_be_shown_is_refused() {
    let mut stage = stage(Router::default());
    let ann = stage.connect("ann").expect("admitted");
    let bytes_max = stage.app.hub().limits().meta_bytes;
    act(&mut stage, move |namespace| {
        let joined = namespace.join_with(ann, "den", &"x".repeat(bytes_max));
        assert_eq!(joined, Err(JoinError::Meta { bytes_max }));
        let keys = std::collections::BTreeMap::from([([1], 1)]);
        let joined = namespace.join_with(ann, "den", &keys);
        assert!(matches!(joined, Err(JoinError::Encode(_))), "{joined:?}");
        assert_eq!(namespace.members("den"), []);
    });
}

#[test]
fn every_way_to_send_to_a_room_says_its_offset() {
    let mut stage = stage(Router::default().on("say", |cx: &mut Context| {
        cx.to(cx.room("log").except_self())
            .emit("said", &())
            .map(|sent| sent.offset)
    }));
    let ann = stage.connect("ann").expect("admitted");
    stage.take();
    stage.text(ann, r#"{"event":"say","id":1}"#);
    let answers = stage.take();
    assert_eq!(
        answers.last().map(|line| &**line),
        Some(r#"send a {"event":"say","id":1,"data":1}"#)
    );
    assert_eq!(say(&mut stage, 2), Some(2));
    let log = Audience::room("log");
    let mut once = |key: &str, data: &str| {
        let sent = stage.apply(&Input::Send {
            key: Some(key.into()),
            audience: Cow::Borrowed(&log),
            event: "said".into(),
            path: None,
            data: Cow::Owned(serde_json::from_str(data).expect("JSON")),
        });
        let Applied::Sent(sent) = sent else {
            panic!("{sent:?}");
        };
        sent.map(|sent| sent.offset)
    };
    assert_eq!(once("k", "1"), Ok(Some(3)));
    assert_eq!(once("k", "1"), Ok(Some(3)), "the same message");
    assert_eq!(once("k", "2"), Err(SendError::KeyReused));
    assert_eq!(once("l", "2"), Ok(Some(4)));
    // These messages go into no history.
    act(&mut stage, move |namespace| {
        let frame = namespace.send_frame(&Audience::room("log"), Frame::Text("x"));
        assert_eq!(frame.map(|sent| sent.offset), Ok(None));
        let rooms = Audience::rooms(["log", "den"]);
        assert_eq!(
            namespace.send(&rooms, "said", &1).map(|sent| sent.offset),
            Ok(None)
        );
        assert_eq!(
            namespace.broadcast("said", &1).map(|sent| sent.offset),
            Ok(None)
        );
        assert_eq!(namespace.position("log").offset, 4);
    });
}
