//! The store: histories that outlive the process.

#[cfg(not(feature = "store"))]
mod absent;
mod batch;
mod public;
#[cfg(feature = "store")]
mod sqlite;

#[cfg(not(feature = "store"))]
pub(crate) use self::absent::{LineStore, Store};
pub(crate) use self::batch::{Batch, NamespaceHeader};
pub use self::public::{StoreError, StoreSync};
#[cfg(feature = "store")]
pub(crate) use self::sqlite::{LineStore, Store};
