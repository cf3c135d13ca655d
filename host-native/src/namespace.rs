//! A namespace: its application, its commands, and protection against panics.

pub(crate) mod gateways;
pub(crate) mod handle;
pub(crate) mod recorder;
pub(crate) mod refusal;

use std::{
    any::Any,
    cell::Cell,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use roomcast_core::{
    App, Applied, ConnId, Delivery, Gateway, Input, Outbox, Rejection, Timestamp,
    gateway::{Admission, NowOrLater, Token, UpgradeRequest, Work},
    hub::SendError,
    relay::RelayCommand,
};

use self::{gateways::panic_text, recorder::Recorder};

/// An application with any gateway. A namespace without one costs only a call or two more than a
/// hub alone.
type AnyApp = App<Box<dyn Gateway>>;

/// A namespace of a server. It knows no socket, no thread and no clock: it receives inputs and
/// fills its outbox, and its shard carries out the commands.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Arc<str>,
    app: AnyApp,
    /// The journal: each input is written to it first.
    recorder: Option<Arc<Recorder>>,
    out: Outbox,
    /// The initial state of the application, as saved, if it is persistent.
    fresh: Option<String>,
    /// The cached result of `has_something_to_lose`; `None` after an input.
    loses: Cell<Option<bool>>,
}

impl Namespace {
    pub(crate) fn new(name: Arc<str>, app: AnyApp, recorder: Option<Arc<Recorder>>) -> Self {
        Self {
            name,
            recorder,
            fresh: saved(&app),
            loses: Cell::new(None),
            out: Outbox::new(),
            app,
        }
    }

    /// Asks the application whether a request is to be granted.
    pub(crate) fn upgrade(
        &self,
        request: &OwnedUpgradeRequest,
    ) -> NowOrLater<Result<Admission, Rejection>> {
        let ask = AssertUnwindSafe(|| request.ask(|request| self.app.upgrade(request)));
        match catch_unwind(ask) {
            Ok(NowOrLater::Now(said)) => admission(&self.name, Ok(said)).into(),
            Ok(NowOrLater::Later(saying)) => NowOrLater::Later(saying),
            Err(panic) => admission(&self.name, Err(panic_text(&*panic))).into(),
        }
    }

    /// True when the application's persistent state differs from the initial one. Work: the state
    /// is serialized, once after any input.
    pub(crate) fn has_something_to_lose(&self) -> bool {
        let loses = self.loses.get();
        let loses = loses.unwrap_or_else(|| saved(&self.app) != self.fresh);
        self.loses.set(Some(loses));
        loses
    }

    pub(crate) const fn app(&self) -> &AnyApp {
        &self.app
    }

    /// The commands since the last clear.
    pub(crate) const fn out(&self) -> &Outbox {
        &self.out
    }

    /// Takes the commands for the relay out of the outbox.
    pub(crate) fn take_relay_commands(&mut self, take: impl FnMut(RelayCommand)) {
        self.out.take_relay_commands(take);
    }

    /// Clears the commands.
    pub(crate) fn clear_out(&mut self) {
        self.out.clear();
    }

    /// Releases memory that a larger number of connections needed.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.app.shrink_to_fit();
        self.out = Outbox::new();
    }

    /// Writes an input to the journal and applies it. A panic is caught here: the client is
    /// notified, and the remaining hooks run.
    pub(crate) fn apply(&mut self, now: Timestamp, input: &Input<'_>) -> Applied {
        if let Some(recorder) = &self.recorder {
            recorder.input(&self.name, now, input.clone());
        }
        self.loses.set(None);
        let Self { app, out, .. } = self;
        // Unwind safe: the core completes its own changes, and state that the application leaves
        // broken affects only the application.
        let applied = catch_unwind(AssertUnwindSafe(|| app.apply(now, input, out)));
        applied.unwrap_or_else(|panic| self.unwound(now, input, &*panic))
    }

    #[cold]
    fn unwound(&mut self, now: Timestamp, input: &Input<'_>, panic: &(dyn Any + Send)) -> Applied {
        let Self { app, out, .. } = self;
        let (mut cause, mut text) = (input, panic_text(panic));
        // The loop terminates, since no hook runs twice.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            app.unwound(now, cause, &text, out);
        })) {
            cause = &Input::Timeout;
            text = panic_text(&*panic);
        }
        Applied::unwound(input)
    }

    /// The work that handlers started, and the tokens of work that was cancelled.
    pub(crate) fn take_work(&mut self) -> (Vec<(Token, Work)>, Vec<Token>) {
        (self.app.take_work(), self.app.take_cancelled())
    }

    /// Joins that a backend must be asked about, each with the token to complete, the user and the
    /// room.
    pub(crate) fn take_asked(&mut self) -> Vec<(Token, Option<Box<str>>, Box<str>)> {
        let asked = self.app.take_asked().into_iter();
        let asked = asked.map(|(token, room)| {
            let info = self.app.hub().connection(token.conn());
            (token, info.and_then(|info| info.user.map(Into::into)), room)
        });
        asked.collect()
    }

    /// Outcomes of sends through the relay since the last call.
    pub(crate) fn take_send_outcomes(&mut self) -> Vec<(u64, Result<Delivery, SendError>)> {
        self.app.take_send_outcomes()
    }

    /// Logs errors of the application since the last call.
    pub(crate) fn log_faults(&mut self) {
        for fault in self.app.take_errors() {
            log_failure(&self.name, fault.conn, &fault.place, &fault.error);
        }
    }
}

/// Logs an error of an application, and the event that it was handling.
pub(crate) fn log_failure(namespace: &str, conn: Option<ConnId>, event: &str, error: &str) {
    let conn = conn.map(tracing::field::display);
    tracing::error!(namespace, event, conn, error, "the application failed");
}

/// Evaluates an application's answer to an upgrade request, or the text of its panic. The cause of
/// an internal error is logged.
pub(crate) fn admission(
    namespace: &str,
    said: Result<Result<Admission, Rejection>, String>,
) -> Result<Admission, Rejection> {
    let cause = match &said {
        Ok(Err(rejection)) => rejection.cause(),
        Err(panic) => Some(&**panic),
        Ok(Ok(_)) => None,
    };
    if let Some(error) = cause {
        log_failure(namespace, None, "upgrade", error);
    }
    said.unwrap_or_else(|_| Err(Rejection::internal()))
}

/// The state that an application saves to outlive its connections.
fn saved(app: &AnyApp) -> Option<String> {
    let gateway = app.gateway();
    if !gateway.is_persistent() {
        return None;
    }
    // The application's code may panic, but it changes nothing.
    catch_unwind(AssertUnwindSafe(|| gateway.save())).unwrap_or_default()
}

/// An owned [`UpgradeRequest`] that can be sent to the thread of its namespace.
#[derive(Debug)]
pub(crate) struct OwnedUpgradeRequest {
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    /// The address of the client; `None` if it is unknown.
    peer: Option<IpAddr>,
}

impl OwnedUpgradeRequest {
    /// Copies a request. Bytes of header fields that are not UTF-8 are replaced.
    pub(crate) fn new(request: &hyper::Request<()>, peer: IpAddr) -> Self {
        let headers = request.headers().iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        });
        Self {
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            peer: Some(peer).filter(|peer| !peer.is_unspecified()),
        }
    }

    /// Calls `application` with the request in its form for applications.
    pub(crate) fn ask<R>(&self, application: impl FnOnce(&UpgradeRequest<'_>) -> R) -> R {
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut request = UpgradeRequest::new(&self.path, &self.query).with_headers(&headers);
        request.peer = self.peer;
        application(&request)
    }
}
