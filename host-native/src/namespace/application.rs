//! The application of a namespace, and the net under it.

use std::{
    any::Any,
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
}

/// The application panicked. What is to be told about it is in the outbox and among the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

impl Application {
    pub(super) const fn new(app: AnyApp) -> Self {
        let out = Outbox::new();
        Self { app, out }
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
        let Self { app, out } = self;
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
        let Self { app, out } = self;
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

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
