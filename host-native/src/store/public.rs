//! Names of the store that users of the library see, with the feature `store` and without it.

use std::path::PathBuf;

/// Times at which what was committed is made to last through a failure of power or system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreSync {
    /// Once a second, in the background. The end of the process, however hard, loses nothing; that
    /// of the system may lose the last second or two, and histories begin anew then.
    #[default]
    Second,
    /// Before anything leaves that depends on it. Nothing is lost; each turn waits for the disk.
    Always,
}

/// A store that cannot be used, or not any more.
#[derive(Debug, thiserror::Error)]
#[error("--store: {}: {fault}", .path.display())]
pub struct StoreError {
    pub(super) path: PathBuf,
    pub(super) fault: String,
}
