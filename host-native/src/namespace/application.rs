//! The application of a namespace, and the net under it.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

use roomcast_core::{App, Gateway, Input, Outbox, Timestamp};

/// Any gateway: what a namespace without one does costs a call or two more than a hub alone.
pub(super) type AnyApp = App<Box<dyn Gateway>>;

/// An application, and the commands that it gives.
#[derive(Debug)]
pub(super) struct Application {
    app: AnyApp,
    out: Outbox,
    /// What it would save before anything happened, if it keeps anything.
    fresh: Option<String>,
    /// Whether it has something to lose; not known when something happened since.
    loses: Cell<Option<bool>>,
}

/// The application panicked. What is to be told about it is in the outbox and among the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

impl Application {
    pub(super) fn new(app: AnyApp) -> Self {
        Self {
            fresh: kept(&app),
            loses: Cell::new(None),
            out: Outbox::new(),
            app,
        }
    }

    /// Whether it keeps state that is not as it was at first. Work: it is written as text, once after
    /// anything happened.
    pub(super) fn has_something_to_lose(&self) -> bool {
        let loses = self.loses.get();
        let loses = loses.unwrap_or_else(|| kept(&self.app) != self.fresh);
        self.loses.set(Some(loses));
        loses
    }

    pub(super) const fn app(&self) -> &AnyApp {
        &self.app
    }

    /// What was commanded and not cleared yet.
    pub(super) const fn out(&self) -> &Outbox {
        &self.out
    }

    /// Forgets the commands.
    pub(super) fn clear_out(&mut self) {
        self.out.clear();
    }

    /// Gives memory back that a larger crowd needed.
    pub(super) fn shrink_to_fit(&mut self) {
        self.app.shrink_to_fit();
        self.out = Outbox::new();
    }

    /// For what runs no code of the application's.
    pub(super) const fn app_mut(&mut self) -> (&mut AnyApp, &mut Outbox) {
        (&mut self.app, &mut self.out)
    }

    /// Has the application act on an input. A panic ends here: the client is told, the hooks that
    /// were still to run, run.
    pub(super) fn perform<'a, R>(
        &mut self,
        now: Timestamp,
        input: impl FnOnce() -> Input<'a>,
        act: impl FnOnce(&mut AnyApp, &mut Outbox) -> R,
    ) -> Result<R, Panicked> {
        self.loses.set(None);
        let Self { app, out, .. } = self;
        // Nothing is left half done: the core says so of itself, and nobody but the application sees
        // what is broken of its own.
        match catch_unwind(AssertUnwindSafe(|| act(app, out))) {
            Ok(result) => Ok(result),
            Err(panic) => {
                self.unwound(now, input(), &*panic);
                Err(Panicked)
            }
        }
    }

    #[cold]
    fn unwound(&mut self, now: Timestamp, mut input: Input<'_>, panic: &(dyn Any + Send)) {
        let Self { app, out, .. } = self;
        let mut text = said(panic);
        // It ends: no hook runs twice.
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            app.unwound(now, &input, &text, out);
        })) {
            input = Input::Timeout;
            text = said(&*panic);
        }
    }

    /// Logs what went wrong in the application since this was last called.
    pub(super) fn log_faults(&mut self, namespace: &str) {
        for fault in self.app.take_faults() {
            let conn = fault.conn.map(tracing::field::display);
            let (event, error) = (&*fault.place, &*fault.error);
            tracing::error!(namespace, event, conn, error, "the application failed");
        }
    }
}

/// What an application saves of itself to outlive its connections.
fn kept(app: &AnyApp) -> Option<String> {
    let gateway = app.gateway();
    if !gateway.is_persistent() {
        return None;
    }
    // Code of the application's, which changes nothing.
    catch_unwind(AssertUnwindSafe(|| gateway.save())).unwrap_or_default()
}

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
