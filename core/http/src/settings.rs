//! Settings of hosts, in tables from which flags, variables, checks and the help are made.
//!
//! Every struct of settings has a table: [`LIMITS`], [`ACCESS`], and one of each host. A new
//! setting is a field of the struct, a row of its table, and a row of `docs/settings.md`.

mod access;
mod error;
mod host;
mod limits;
mod setting;
mod value;

use alloc::string::String;

pub use access::ACCESS;
pub use error::SettingError;
pub use host::{
    API_BODY_BYTES_MAX, MESSAGE_TIME_MS, api_body_bytes_max, connections_max, message_time_ms,
    outbox_bytes_max,
};
pub use limits::{LIMITS, check_limits};
pub use setting::{Group, Setting};
pub use value::{DAY_MS, Number, list};

/// Reads every setting of a table that has a variable; the others stay as they are.
///
/// ```
/// use roomcast_core::Limits;
/// use roomcast_http::settings::{LIMITS, check_limits, read_variables};
///
/// let mut limits = Limits::default();
/// let variable = |name: &str| (name == "ROOMCAST_INBOUND_RATE").then(|| "off".to_owned());
/// read_variables(LIMITS, &mut limits, variable)?;
/// check_limits(&limits)?;
/// assert_eq!(limits.inbound_messages, None);
/// # Ok::<(), roomcast_http::settings::SettingError>(())
/// ```
///
/// # Errors
///
/// The first variable that must change.
pub fn read_variables<T>(
    table: &[Setting<T>],
    target: &mut T,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), SettingError> {
    for setting in table {
        if let Some(text) = variable(&setting.variable()) {
            setting.read(target, &text)?;
        }
    }
    Ok(())
}

/// Checks that every number of a table is in its range, however it was set.
///
/// # Errors
///
/// The first setting that must change.
pub fn check_ranges<T: Clone>(table: &[Setting<T>], target: &T) -> Result<(), SettingError> {
    let mut copy = target.clone(); // fields are reached through `&mut`
    table
        .iter()
        .try_for_each(|setting| setting.check(&mut copy))
}
