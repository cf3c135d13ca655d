//! Stubs of the store, for builds without the feature `store`. No store can be opened, and the rest
//! of the server reads the same with the feature and without it.

use std::{path::Path, sync::Arc};

use roomcast_core::room::HistoryMessage;
use roomcast_hooks::Change;

use super::{
    batch::{Batch, StoredLine, StoredNamespace, StoredRoom, StoredWithdrawn},
    public::{StoreError, StoreSync},
};

/// A store, which does not exist in this build.
#[derive(Debug)]
pub(crate) enum Store {}

impl Store {
    /// Fails. Settings are checked before, so this error is never shown.
    pub(crate) fn open(folder: &Path, _: StoreSync) -> Result<Self, StoreError> {
        Err(StoreError {
            path: folder.into(),
            fault: "this server is built without the feature `store`".to_owned(),
        })
    }

    pub(crate) fn commit(&self, _: &Batch) -> Result<(), StoreError> {
        match *self {}
    }

    pub(crate) fn namespaces(&self) -> Result<Vec<Arc<str>>, StoreError> {
        match *self {}
    }

    pub(crate) fn load(&self, _: &str, _: usize) -> Result<Option<StoredNamespace>, StoreError> {
        match *self {}
    }

    pub(crate) fn messages(
        &self,
        _: &str,
        _: &StoredRoom,
    ) -> Result<Vec<HistoryMessage>, StoreError> {
        match *self {}
    }

    pub(crate) fn withdrawn(&self, _: &str) -> Result<StoredWithdrawn, StoreError> {
        match *self {}
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        match *self {}
    }
}

/// The queues of hooks, which are not stored in this build.
#[derive(Debug)]
pub(crate) enum LineStore {}

impl LineStore {
    /// Fails, as for the store.
    pub(crate) fn open(folder: &Path, _: StoreSync) -> Result<Self, StoreError> {
        Err(StoreError {
            path: folder.into(),
            fault: "this server is built without the feature `store`".to_owned(),
        })
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, StoreError> {
        match *self {}
    }

    pub(crate) fn forget_others(&self, _: &[String]) -> Result<usize, StoreError> {
        match *self {}
    }

    pub(crate) fn load(&self, _: &str) -> Result<Option<StoredLine>, StoreError> {
        match *self {}
    }

    pub(crate) fn save(&self, _: &str, _: &str, _: &[Change]) -> Result<(), StoreError> {
        match *self {}
    }
}
