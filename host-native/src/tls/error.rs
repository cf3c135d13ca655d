//! A certificate that cannot be used.

/// A certificate or key that cannot be used; the message names the setting and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{setting} {path}: {fault}")]
pub struct TlsError {
    setting: &'static str,
    path: String,
    fault: String,
}

impl TlsError {
    /// The name of the setting: `tls-cert` or `tls-key`.
    pub(crate) const fn setting(&self) -> &'static str {
        self.setting
    }
}

#[cfg(feature = "tls")]
impl TlsError {
    pub(super) fn new(setting: &'static str, path: &std::path::Path, fault: impl ToString) -> Self {
        Self {
            setting,
            path: path.display().to_string(),
            fault: fault.to_string(),
        }
    }
}
