//! A namespace, and the inputs that it is given.

use roomcast_core::{DisconnectReason, Frame, Handshake, Limits, Policies};
use roomcast_hooks::Outcome;
use roomcast_http::{Access, ApiCall, ApiRequest, Headers, Request, Response};

use super::fake::Fake;
use crate::{hooks::Backends, mount::Application, namespace::Namespace, platform::PlatformError};

/// An input, as the shim gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    Connect,
    /// A connection of a user.
    User(&'static str),
    Text(usize, &'static str),
    Gone(usize),
    /// Method, path with query, idempotency key, body.
    Call(&'static str, &'static str, &'static str, &'static str),
    Wait(u64),
    Alarm,
    /// The number of a request to a backend, and the status of its answer; 0 for none.
    Posted(u32, u16),
}
pub(super) use Op::{Alarm, Call, Connect, Gone, Posted, Text, User, Wait};

struct Fields(&'static str);

impl Headers for Fields {
    fn values(&self, name: &'static str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let given = name == "idempotency-key" && !self.0.is_empty();
        given.then_some(self.0.into()).into_iter()
    }

    fn names(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let given = !self.0.is_empty();
        given.then_some("idempotency-key".into()).into_iter()
    }
}

fn api(method: &str, target: &str, key: &'static str, body: &str) -> ApiCall {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method,
        path,
        query,
        headers: Fields(key),
        local: false,
        other_user: false,
        loopback_listener: false,
        http_1_0: false,
        admin_elsewhere: false,
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    match read.expect("a call") {
        ApiRequest::Call(call) => call,
        ApiRequest::Send(head) => head.with_body(body.as_bytes()).expect("a body"),
    }
}

/// A namespace's settings and its application.
#[derive(Clone, Default)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) policies: Policies,
    pub(super) application: Application,
    pub(super) backends: Backends,
}

/// A namespace and its world.
pub(super) struct Bench {
    pub(super) fake: Fake,
    pub(super) namespace: Namespace<Fake>,
    pub(super) setup: Setup,
}

impl Bench {
    pub(super) fn new(setup: &Setup) -> Self {
        let fake = Fake::default();
        Self {
            namespace: setup.namespace(&fake),
            fake,
            setup: setup.clone(),
        }
    }

    pub(super) fn evict(&mut self) {
        self.namespace = self.setup.namespace(&self.fake);
    }

    /// Runs all pending work of the application; returns its visible effects.
    pub(super) fn turns(&mut self) -> Vec<String> {
        while self.namespace.turn().expect("nothing fails") {}
        let world = &mut *self.fake.0.borrow_mut();
        world.commit();
        std::mem::take(&mut world.seen)
    }

    /// Ends a socket, which has left its slot before the namespace is told.
    fn leave(&mut self, slot: usize) -> Result<(), PlatformError> {
        self.namespace.wake()?;
        {
            let world = &mut *self.fake.0.borrow_mut();
            world.sockets.remove(&slot);
            world.waiting.remove(&slot);
        }
        self.namespace.disconnect(slot, DisconnectReason::Lost)
    }

    /// Applies an input; returns its visible effects, and last an API answer or a fault.
    pub(super) fn run(&mut self, op: Op) -> Vec<String> {
        // The shim does these in a transaction.
        let storage = self.fake.0.borrow().storage.clone();
        let storage = matches!(op, Connect | User(_) | Call(..)).then_some(storage);
        let end = match op {
            Connect => {
                let opened = self.namespace.connect(Handshake::new().with_welcome(true));
                opened.map(|opened| opened.err().map(|refused| refused.to_string()))
            }
            User(name) => {
                let opened = self.namespace.connect(Handshake::new().with_user(name));
                opened.map(|opened| opened.err().map(|refused| refused.to_string()))
            }
            Text(slot, text) => {
                let open = self.fake.0.borrow().sockets.contains_key(&slot);
                let received = open.then(|| self.namespace.receive(slot, Frame::Text(text)));
                received.transpose().map(|_| None)
            }
            Gone(slot) => {
                let open = self.fake.0.borrow().sockets.get(&slot).cloned();
                let gone = open.map(|attachment| {
                    let mut gone = self.leave(slot);
                    if gone.is_err() {
                        // The shim tries again, for it is not told again.
                        self.fake.0.borrow_mut().rollback();
                        self.fake.0.borrow_mut().sockets.insert(slot, attachment);
                        gone = self.leave(slot);
                    }
                    self.fake.0.borrow_mut().sockets.remove(&slot);
                    gone
                });
                gone.transpose().map(|_| None)
            }
            Call(method, target, key, body) => {
                let answer = self.namespace.call(&api(method, target, key, body));
                answer.map(|answer| {
                    let response: Response = match answer {
                        Ok(answer) => answer.into(),
                        Err(problem) => problem.into(),
                    };
                    Some(String::from_utf8_lossy(&response.body).into_owned())
                })
            }
            Wait(ms) => {
                self.fake.0.borrow_mut().now += ms;
                Ok(None)
            }
            Alarm => self.namespace.timeout().map(|()| None),
            Posted(number, status) => {
                let answered = Outcome::Answered {
                    status,
                    retry_after: None,
                };
                let outcome = if status == 0 {
                    Err("no answer")
                } else {
                    Ok(answered)
                };
                self.namespace.posted(number, outcome).map(|()| None)
            }
        };
        let world = &mut *self.fake.0.borrow_mut();
        let end = match end {
            Ok(end) => {
                world.commit();
                end
            }
            Err(fault) => {
                world.rollback();
                world.storage = storage.unwrap_or_else(|| world.storage.clone());
                Some(fault.to_string())
            }
        };
        let mut seen = std::mem::take(&mut world.seen);
        seen.extend(end);
        seen
    }
}

impl Setup {
    fn namespace(&self, fake: &Fake) -> Namespace<Fake> {
        let Self {
            limits,
            policies,
            application,
            backends,
        } = self.clone();
        Namespace::new(
            fake.clone(),
            limits,
            policies,
            "d",
            application,
            false,
            backends,
        )
    }
}

/// Rooms that keep four messages for ten seconds, and show who is there.
pub(super) fn keeping() -> Setup {
    let policies =
        r#"{"rooms":[{"match":"log*","history":{"messages":4,"age_s":10},"presence":"members"}]}"#;
    Setup {
        policies: serde_json::from_str(policies).expect("valid"),
        ..Setup::default()
    }
}
