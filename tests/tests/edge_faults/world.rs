//! A worker that fails when it is told to, beside the model.

use std::path::Path;

use roomcast_tests::{
    Actor, Driver, DriverError, Edge, Event, Lockstep, Op, Settings, Sockets, Url,
};

/// Three connections, two of them in the lobby.
pub(crate) const CROWD: [&str; 5] = [
    "alice connects with welcome",
    "bob connects with welcome",
    "carol connects with welcome",
    r#"alice sends {"event":"$join","room":"lobby"}"#,
    r#"bob sends {"event":"$join","room":"lobby"}"#,
];

/// Lines that show which connections the server still has in which rooms, and that old and new
/// connections are served.
pub(crate) const AFTERWARDS: [&str; 9] = [
    "server lists rooms",
    "server lists connections",
    r#"carol sends {"event":"said","id":1,"room":"lobby","data":1}"#,
    r#"carol sends {"event":"said","id":2,"room":"kitchen","data":1}"#,
    r#"server sends {"audience":{"all":true},"event":"said","data":2}"#,
    "dave connects with welcome",
    r#"dave sends {"event":"$join","room":"lobby"}"#,
    r#"dave sends {"event":"said","id":1,"room":"lobby","data":3}"#,
    "dave disconnects",
];

/// A worker whose platform fails when it is told to, and what its limits are.
pub(crate) fn start(settings: &str) -> (Edge, Settings) {
    start_with(settings.parse().expect("known settings"))
}

/// The same with these settings.
pub(crate) fn start_with(settings: Settings) -> (Edge, Settings) {
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/faulty.js");
    (Edge::start_behind(&entry, &[&settings]), settings)
}

pub(crate) fn op(line: &str) -> Op {
    line.parse().unwrap_or_else(|fault| panic!("{fault}"))
}

/// A namespace of that worker, beside the model.
pub(crate) struct World<'e> {
    edge: &'e Edge,
    namespace: String,
    pub(crate) lockstep: Lockstep<Url>,
}

impl<'e> World<'e> {
    pub(crate) fn new(edge: &'e Edge, settings: &Settings, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        let url = Url::new(edge.address(0)).expect("an address of the form that is asked for");
        let url = url.with_api(Some(Edge::API_KEY));
        let url = url.with_namespace(namespace.clone());
        let lockstep = Lockstep::new(url, &settings.limits());
        let lockstep = lockstep.with_policies(&settings.policies());
        Self {
            edge,
            namespace,
            lockstep,
        }
    }

    /// Does what the lines say, on the worker and on the model.
    pub(crate) fn play(&mut self, lines: &[&str]) {
        for line in lines {
            if let Err(fault) = self.lockstep.perform(&op(line)) {
                let log = self.edge.log().join("\n");
                panic!("{}: {fault}\nThe worker logged:\n{log}", self.namespace);
            }
        }
    }

    /// Returns the line with placeholders for epochs replaced.
    pub(crate) fn addressed(&self, line: &str) -> String {
        self.lockstep.addressed(&op(line)).to_string()
    }

    pub(crate) fn evict(&self) {
        let evicted = self.edge.evict(0, &self.namespace, Sockets::Hibernate);
        assert_eq!(evicted, Ok(true), "{}", self.namespace);
    }

    pub(crate) fn post(&self, path: &str) -> String {
        let body = self.edge.post(0, path);
        body.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// From here on, this call of the platform's method throws.
    pub(crate) fn fail(&self, method: &str, call: usize) {
        self.post(&format!("/-/fail?call={method}&calls={call}"));
    }

    /// Performs the line on the worker alone; returns the answer, and the events of each actor.
    pub(crate) fn perform(
        &mut self,
        line: &str,
    ) -> (Result<u16, DriverError>, Vec<(Actor, Event)>) {
        let driver = self.lockstep.driver_mut();
        let answer = driver.perform(&op(line)).map(|answer| answer.status);
        let actors = ["alice", "bob", "carol", "dave"].map(Actor::from);
        let events = actors.iter().flat_map(|actor| {
            let events = driver.take(actor).into_iter();
            events.map(|event| (actor.clone(), event))
        });
        (answer, events.collect())
    }

    /// True when what was to fail has failed; it does not fail later.
    pub(crate) fn has_failed(&self) -> bool {
        self.post("/-/happened") == "true"
    }

    /// True if the platform failed during the line. Then alice gets one frame with this head and an
    /// error, and nobody else gets anything.
    pub(crate) fn declines(&mut self, head: &str, line: &str) -> bool {
        let (_, events) = self.perform(line);
        if !self.has_failed() {
            return false;
        }
        let error = format!(r#"{head},"error":{{"code":"unavailable","message":""#);
        let told = match &*events {
            [(actor, Event::Text(text))] => *actor == "alice".into() && text.starts_with(&error),
            _ => false,
        };
        assert!(told, "{}: {line}: {events:#?}", self.namespace);
        true
    }

    /// True if the platform failed during the line. Then the caller gets this status, and nobody
    /// gets anything.
    pub(crate) fn refuses(&mut self, line: &str, status: u16) -> bool {
        let (answer, events) = self.perform(line);
        if !self.has_failed() {
            return false;
        }
        let told = match &answer {
            Ok(got) => *got == status,
            // The driver takes it for a failure of its own.
            Err(fault) => fault.to_string().contains(&format!(r#""status":{status}"#)),
        };
        assert!(told, "{}: {line}: {answer:?}", self.namespace);
        assert_eq!(events, [], "{}: {line}", self.namespace);
        true
    }

    /// Asserts that the client of this name was told of a fault of the server and closed, and that
    /// nobody got anything else.
    pub(crate) fn closed_for_a_fault(&self, name: &str, events: &[(Actor, Event)]) {
        let told = match events {
            [
                (first, Event::Text(bye)),
                (second, Event::Closed { code: 1011, .. }),
            ] => {
                let bye_is_1011 = bye.starts_with(r#"{"event":"$bye","data":{"code":1011,"#);
                bye_is_1011 && [first, second].iter().all(|actor| **actor == name.into())
            }
            _ => false,
        };
        assert!(told, "{}: {events:#?}", self.namespace);
    }

    /// Asserts that the failed action had no effect, neither in memory nor in the saved state.
    pub(crate) fn nothing_happened(&mut self) {
        self.play(&AFTERWARDS);
        self.evict();
        self.play(&AFTERWARDS);
    }
}

/// Lets each call of a method fail in turn, until there are no more: `attempt` says whether its
/// call was reached.
pub(crate) fn whichever_call_fails(mut attempt: impl FnMut(usize) -> bool) {
    let reached = (1..).take_while(|&call| attempt(call)).count();
    assert!(reached > 0, "it is never called");
}
