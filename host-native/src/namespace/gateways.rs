//! The gateways of namespaces.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use roomcast_core::Gateway;

use super::handle::{Line, Namespace, Shards};

/// Creates the gateway of a namespace, on the namespace's thread.
type Factory = Box<dyn Fn(&Namespace) -> Box<dyn Gateway> + Send + Sync>;

/// The gateways of a server.
pub(crate) struct Gateways {
    mounted: BTreeMap<Arc<str>, Factory>,
    /// The factory for all other namespaces.
    others: Option<Factory>,
    /// The way to the shards, for the handles that are passed to factories.
    line: Arc<dyn Line>,
}

/// The error of a factory that could not create a gateway.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FactoryError(String);

fn boxed<G: Gateway + 'static>(
    factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
) -> Factory {
    Box::new(move |namespace| Box::new(factory(namespace)))
}

impl Gateways {
    pub(crate) const fn new(line: Arc<dyn Line>) -> Self {
        Self {
            mounted: BTreeMap::new(),
            others: None,
            line,
        }
    }

    /// Sets the gateway of a namespace. Returns false if there was one already.
    pub(crate) fn mount<G: Gateway + 'static>(
        &mut self,
        namespace: &str,
        factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
    ) -> bool {
        let before = self.mounted.insert(namespace.into(), boxed(factory));
        before.is_none()
    }

    /// Sets the factory for all other namespaces. Returns false if there was one already.
    pub(crate) fn mount_others<G: Gateway + 'static>(
        &mut self,
        factory: impl Fn(&Namespace) -> G + Send + Sync + 'static,
    ) -> bool {
        self.others.replace(boxed(factory)).is_none()
    }

    /// The namespaces that have a gateway of their own.
    pub(crate) fn mounted(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.mounted.keys()
    }

    pub(crate) fn is_mounted(&self, namespace: &str) -> bool {
        self.mounted.contains_key(namespace)
    }

    pub(crate) const fn has_others(&self) -> bool {
        self.others.is_some()
    }

    /// True when a namespace of this name has an application.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        self.has_others() || self.is_mounted(namespace)
    }

    /// Creates the gateway of a new namespace.
    pub(crate) fn make(&self, namespace: &Arc<str>) -> Result<Box<dyn Gateway>, FactoryError> {
        let own = self.mounted.get(namespace);
        let Some(factory) = own.or(self.others.as_ref()) else {
            return Ok(Box::new(()));
        };
        let handle = Namespace::new(namespace.clone(), Shards(self.line.clone()));
        catch_unwind(AssertUnwindSafe(|| factory(&handle)))
            .map_err(|panic| FactoryError(panic_text(&*panic)))
    }
}

impl fmt::Debug for Gateways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateways")
            .field("mounted", &self.mounted.keys())
            .field("others", &self.others.is_some())
            .finish_non_exhaustive()
    }
}

/// The message of a panic of an application.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
