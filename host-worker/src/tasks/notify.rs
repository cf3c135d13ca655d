//! Wakers: they lead from a future back to the object that polls it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

thread_local! {
    /// Callbacks of the objects. An instance of the module has one thread; but a waker has to be
    /// one that may go to other threads, and so cannot hold a callback itself.
    static CALLS: RefCell<BTreeMap<u64, Rc<dyn Fn()>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Calls an object back, soon and outside the current input.
#[derive(Debug)]
pub(crate) struct Notify(u64);

/// Refers to a [`Notify`], and does nothing once that is dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notifier(u64);

impl Notify {
    pub(crate) fn new(call: impl Fn() + 'static) -> Self {
        let id = NEXT.replace(NEXT.get() + 1);
        CALLS.with_borrow_mut(|calls| calls.insert(id, Rc::new(call)));
        Self(id)
    }

    pub(crate) const fn notifier(&self) -> Notifier {
        Notifier(self.0)
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        CALLS.with_borrow_mut(|calls| calls.remove(&self.0));
    }
}

impl Notifier {
    pub(crate) fn notify(self) {
        // The table must not be borrowed during the call.
        let call = CALLS.with_borrow(|calls| calls.get(&self.0).cloned());
        if let Some(call) = call {
            call();
        }
    }
}
