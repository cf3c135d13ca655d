//! Which application a namespace has.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use roomcast_core::Gateway;

type Factory = Rc<dyn Fn() -> Box<dyn Gateway>>;

thread_local! {
    /// By the name of the namespace. An instance of the module has one thread.
    static MOUNTED: RefCell<BTreeMap<String, Factory>> = const { RefCell::new(BTreeMap::new()) };
}

/// The application of a namespace, if it has one: how it is made each time the namespace wakes.
#[derive(Clone, Default)]
pub(crate) struct Application(Option<Factory>);

impl Application {
    /// What is mounted for a namespace.
    pub(crate) fn of(namespace: &str) -> Self {
        Self(MOUNTED.with_borrow(|mounted| mounted.get(namespace).cloned()))
    }

    #[cfg(test)]
    pub(crate) fn new(factory: impl Fn() -> Box<dyn Gateway> + 'static) -> Self {
        Self(Some(Rc::new(factory)))
    }

    pub(crate) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// A new one, in the state in which it begins.
    pub(crate) fn make(&self) -> Box<dyn Gateway> {
        match &self.0 {
            Some(factory) => factory(),
            None => Box::new(()),
        }
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Application").field(&self.is_some()).finish()
    }
}
