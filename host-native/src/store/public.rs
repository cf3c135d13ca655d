//! Faults of a store.

use std::path::PathBuf;

/// A store that cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
#[error("--store: {}: {fault}", .path.display())]
pub struct StoreError {
    pub(super) path: PathBuf,
    pub(super) fault: String,
}
