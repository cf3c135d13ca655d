//! Settings of hosts, in tables from which flags, variables, checks and the help are made.
//!
//! Every struct of settings has a table: [`LIMITS`], [`ACCESS`], and one of each host. A new
//! setting is a field of the struct, a row of its table, and a row of `docs/settings.md`.

mod access;
mod limits;
pub(crate) mod setting;
mod value;

pub use access::ACCESS;
pub use limits::{
    API_BODY_BYTES_MAX, LIMITS, MESSAGE_TIME_MS, api_body_bytes_max, check_limits, connections_max,
    message_time_ms, outbox_bytes_max,
};
pub use setting::{Group, Setting, SettingError, check_ranges, read_variables};
pub use value::{DAY_MS, Number, list};
