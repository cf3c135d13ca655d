//! Settings of hosts, in tables from which flags, variables, checks and the help are made.
//!
//! Every struct of settings has a table: [`LIMITS`], [`ACCESS`], and one of each host. A new
//! setting is a field of the struct, a row of its table, and a row of `docs/settings.md`.

mod access;
pub(crate) mod error;
mod host;
mod limits;
mod setting;
mod value;

pub use access::ACCESS;
pub use error::SettingError;
pub use host::{
    API_BODY_BYTES_MAX, MESSAGE_TIME_MS, api_body_bytes_max, connections_max, message_time_ms,
    outbox_bytes_max,
};
pub use limits::{LIMITS, check_limits};
pub use setting::{Group, Setting, check_ranges, read_variables};
pub use value::{DAY_MS, Number, list};
