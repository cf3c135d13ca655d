//! A setting that cannot be as it is.

use alloc::{format, string::String};

/// A setting that cannot be as it is. The message names its variable and says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {fault}", variable(.name))]
pub struct SettingError {
    name: &'static str,
    fault: String,
}

impl SettingError {
    /// For the setting of this name, such as `threads`; the fault is one as "must be at least 1".
    pub fn new(name: &'static str, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        Self { name, fault }
    }

    /// The name of the setting, such as `message-bytes-max`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The fault, without the name.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("ROOMCAST_{}", name.to_ascii_uppercase().replace('-', "_"))
}
