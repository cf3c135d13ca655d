//! Handlers that only tests need: handlers that panic, answers that are released by another
//! connection, connections that are refused.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use futures_channel::oneshot;
use roomcast_core::{
    Audience, CloseCode, Context, Failure, Frame, Rejection, Router, gateway::Admission, later,
};
use roomcast_worker::Namespace;
use serde::{Deserialize, Serialize};

/// The saved state of the application.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    counted: u32,
}

/// Answers that wait to be released, by a name.
type Waiting = Rc<RefCell<BTreeMap<String, oneshot::Sender<u32>>>>;

/// Says, when dropped, that work was dropped.
struct Dropped(Rc<RefCell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.0.borrow_mut() += 1;
    }
}

/// The application.
pub(crate) fn trials(server: &Namespace) -> Router<State> {
    let router = Router::new(State::default()).persistent();
    work(panics(sessions(doors(router))), server)
}

/// Adds the hook that admits or refuses connections.
fn doors(router: Router<State>) -> Router<State> {
    router
        .on_upgrade(|request, _| {
            let door = request.param("door");
            let badge = request.header("x-badge").map(str::to_owned);
            let cookie = request.cookie("pass").map(str::to_owned);
            match door.as_deref() {
                Some("closed") => return Err(Rejection::forbidden("this door is closed")),
                Some("pay") => {
                    let rejection = Rejection::forbidden("pay first").with_status(402);
                    let code = CloseCode::new(4402).unwrap_or(CloseCode::FORBIDDEN);
                    return Err(rejection.with_close_code(code));
                }
                Some("broken") => {
                    return Err("broken".parse::<u8>().expect_err("no number").into());
                }
                #[allow(clippy::panic)]
                Some("panics") => panic!("the upgrade hook was told to"),
                _ => {}
            }
            let user = request.param("user").map(|user| user.into_owned());
            let admission = Admission::new().with_session(&(badge, cookie))?;
            let admission = match user {
                Some(user) => admission.with_user(user),
                None => admission,
            };
            Ok(admission.with_subprotocol("trials.v1"))
        })
        .on_connect(|cx, state| {
            if cx.user() == Some("mallory") {
                // What is sent to others stays sent.
                cx.to(cx.others()).emit("tried", "mallory")?;
                state.counted += 100;
                return Err(Rejection::unauthorized("not you"));
            }
            #[allow(clippy::panic)]
            if cx.user() == Some("panics") {
                panic!("the connect hook was told to");
            }
            Ok(())
        })
        .on("badge", |cx: &mut Context| {
            cx.session::<(Option<String>, Option<String>)>()
        })
        .on("user", |cx: &mut Context| cx.user().map(str::to_owned))
}

/// Adds the handlers that store and read the session of a connection.
fn sessions(router: Router<State>) -> Router<State> {
    router
        .on("remember", |cx: &mut Context, text: String| {
            cx.set_session(&text)
        })
        .on("recall", |cx: &mut Context| cx.session::<String>())
        .on("count", |_: &mut Context, state: &mut State| {
            state.counted += 1;
            state.counted
        })
        .on("fail", |_: &mut Context| "secret".parse::<u8>())
        // What is saved in three places.
        .on(
            "all",
            |cx: &mut Context, state: &mut State, text: String| {
                state.counted += 1;
                cx.set_session(&text)?;
                cx.join(&text)?;
                cx.broadcast("told", &text)?;
                Ok::<_, Failure>(())
            },
        )
}

/// Everything that a panic may undo, before it.
fn panics(router: Router<State>) -> Router<State> {
    #[allow(clippy::panic)]
    router
        .on("panic", |cx: &mut Context, state: &mut State| {
            state.counted += 1000;
            cx.join("panicked")?;
            cx.broadcast("panicking", &())?;
            if cx.counts().connections > 0 {
                panic!("the handler was told to");
            }
            Ok::<_, Failure>(())
        })
        .on("panic_later", |cx: &mut Context| {
            cx.spawn(async {
                let () = yielded().await;
                panic!("the work was told to");
                #[allow(unreachable_code)]
                Ok::<(), Failure>(())
            })
        })
        .every(
            Duration::from_millis(300),
            |namespace, state: &mut State| {
                if state.counted == 13 {
                    panic!("the schedule was told to");
                }
                let _ = namespace.send(&Audience::room("ticks"), "tick", &state.counted);
            },
        )
        .on("set", |_: &mut Context, state: &mut State, counted: u32| {
            state.counted = counted;
        })
}

async fn yielded() {
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(());
    let _ = receiver.await;
}

/// Answers that take time.
fn work(router: Router<State>, server: &Namespace) -> Router<State> {
    let waiting = Waiting::default();
    let dropped = Rc::new(RefCell::new(0));
    let (serial, concurrent, counts) = (waiting.clone(), waiting.clone(), server.clone());
    let (of_serial, seen) = (dropped.clone(), dropped);
    let raw = server.namespace("trials-raw");
    router
        .on("wait", move |cx: &mut Context, name: String| {
            let (sender, receiver) = oneshot::channel();
            serial.borrow_mut().insert(name, sender);
            let guard = Dropped(of_serial.clone());
            cx.spawn(async move {
                let _guard = guard;
                receiver
                    .await
                    .map_err(|_| Failure::internal("never released"))
            })
        })
        .on("wait_concurrent", move |cx: &mut Context, name: String| {
            let (sender, receiver) = oneshot::channel();
            concurrent.borrow_mut().insert(name, sender);
            cx.spawn_concurrent(async move {
                receiver
                    .await
                    .map_err(|_| Failure::internal("never released"))
            })
        })
        .on(
            "release",
            move |_: &mut Context, (name, value): (String, u32)| {
                let sender = waiting.borrow_mut().remove(&name);
                sender.is_some_and(|sender| sender.send(value).is_ok())
            },
        )
        .on("dropped", move |_: &mut Context| *seen.borrow())
        .on("raw", move |_: &mut Context, text: String| {
            let raw = raw.clone();
            async move {
                let told = raw.send_frame(Audience::all(), Frame::Text(&text)).await?;
                let bytes = Frame::Binary(text.as_bytes());
                let more = raw.send_frame(Audience::all(), bytes).await?;
                Ok::<_, Failure>(told.matched + more.matched)
            }
        })
        .on("server", move |cx: &mut Context| {
            let (server, id) = (counts.clone(), cx.id());
            cx.spawn(async move {
                let new = server.join(id, "by-server").await?;
                let told = server.broadcast("told", &new).await?;
                Ok::<_, Failure>((told.matched, server.members("by-server").await?))
            })
        })
}

/// Hooks that wait until another client releases them, by the name in the query: `upgrade=ann`, or
/// `connect=ann`.
pub(crate) fn later_hooks() -> Router<u32> {
    let waiting = Waiting::default();
    let (first, second, third) = (waiting.clone(), waiting.clone(), waiting.clone());
    let asks = |waiting: &Waiting, name: &str| {
        let (sender, receiver) = oneshot::channel();
        waiting.borrow_mut().insert(name.to_owned(), sender);
        async move {
            match receiver.await {
                Ok(0) | Err(_) => Err(Failure::forbidden("not you")),
                Ok(value) => Ok(value),
            }
        }
    };
    #[allow(clippy::panic)]
    Router::new(0)
        .on_upgrade(move |request, _| {
            let name = request.param("upgrade");
            let asked = name.map(|name| asks(&first, &name));
            let name = request.param("connect").map(|name| name.into_owned());
            later(async move {
                let mut admission = Admission::new();
                if let Some(name) = name {
                    admission = admission.with_session(&name)?;
                }
                match asked {
                    Some(asked) => Ok(admission.with_user(asked.await?.to_string())),
                    None => Ok(admission),
                }
            })
        })
        .on_connect(move |cx, _| {
            let name = cx.session::<String>();
            let asked = name.map(|name| name.map(|name| asks(&second, &name)));
            let asked = later(async move {
                match asked? {
                    Some(asked) => asked.await.map(Some),
                    None => Ok(None),
                }
            });
            asked.and_then(|cx: &mut Context, count: &mut u32, user: Option<u32>| {
                *count += 1;
                match user {
                    Some(user) => cx.set_user(&user.to_string()).map_err(Failure::from),
                    None => Ok(()),
                }
            })
        })
        .on("user", |cx: &mut Context| cx.user().map(str::to_owned))
        .on("waits", move |_: &mut Context, name: String| {
            let waiting = third.borrow();
            waiting
                .get(&name)
                .is_some_and(|sender| !sender.is_canceled())
        })
        .on("panic", |_: &mut Context| -> u32 {
            panic!("the handler was told to")
        })
        .on(
            "release",
            move |_: &mut Context, (name, value): (String, u32)| {
                let sender = waiting.borrow_mut().remove(&name);
                sender.is_some_and(|sender| sender.send(value).is_ok())
            },
        )
}

/// Frames without envelopes: `panic` panics, `bye` closes, all else comes back.
pub(crate) fn raw() -> Router {
    Router::default().on_frame(|cx, (), frame| match frame {
        #[allow(clippy::panic)]
        Frame::Text("panic") => panic!("the frame handler was told to"),
        Frame::Text("bye") => cx.close(CloseCode::NORMAL, "bye"),
        frame @ (Frame::Text(_) | Frame::Binary(_)) => {
            cx.emit_frame(frame);
        }
    })
}
