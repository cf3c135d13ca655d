//! The public types of the store, with the feature `store` and without it.

use std::path::PathBuf;

/// The times at which committed data is synced, so that it survives a power or system failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreSync {
    /// Once a second, in the background. The end of the process, however sudden, loses nothing. A
    /// failure of the system may lose the last second or two; then histories start anew.
    #[default]
    Second,
    /// Before any dependent output leaves. Nothing is lost, but each turn waits for the disk.
    Always,
}

/// The store cannot be used, or has failed.
#[derive(Debug, thiserror::Error)]
#[error("--store: {}: {fault}", .path.display())]
pub struct StoreError {
    pub(super) path: PathBuf,
    pub(super) fault: String,
}
