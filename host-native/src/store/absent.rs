//! The store of a library that is built without the feature `store`: there is none, and none can be
//! opened. So the rest of the server reads the same with the feature and without it.

mod batch;
mod error;
mod sync;

use std::{path::Path, sync::Arc};

use roomcast_core::{
    hub::{KeyState, RoomState},
    room::HistoryMessage,
};

pub(crate) use self::batch::{Batch, NamespaceHeader};
pub use self::{error::StoreError, sync::StoreSync};

/// No store.
#[derive(Debug)]
pub(crate) enum Store {}

/// A namespace as the store holds it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) life: NamespaceHeader,
    pub(crate) rooms: Vec<KeptRoom>,
    pub(crate) keys: Vec<KeyState>,
}

/// A room as the store holds it.
#[derive(Debug)]
pub(crate) struct KeptRoom {
    pub(crate) state: RoomState,
}

impl Store {
    /// Refuses. Settings are checked before, so that nobody sees it.
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

    pub(crate) fn load(&self, _: &str, _: usize) -> Result<Option<Kept>, StoreError> {
        match *self {}
    }

    pub(crate) fn messages(
        &self,
        _: &str,
        _: &KeptRoom,
    ) -> Result<Vec<HistoryMessage>, StoreError> {
        match *self {}
    }

    pub(crate) fn close(&self) -> Result<(), StoreError> {
        match *self {}
    }
}
