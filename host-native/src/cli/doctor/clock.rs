//! The clock of the server beside that of this machine.

use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::header::HeaderValue;
use roomcast_token::limits::LEEWAY_S;

use super::report::Finding;

pub(super) const FIX: &str = "set the clock that is wrong, here or there: `timedatectl set-ntp \
                              true`, with servers in /etc/systemd/timesyncd.conf";

/// The time on this machine.
pub(super) fn now() -> DateTime<Utc> {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

/// Compares the `Date` of an answer with the time at which it was here. By more than the leeway of
/// tokens the clocks must not differ.
pub(super) fn check(date: Option<&HeaderValue>, at: DateTime<Utc>) -> Finding {
    let Some(date) = date.and_then(|date| date.to_str().ok()) else {
        return Finding::skipped("the answer has no Date");
    };
    let Ok(date) = NaiveDateTime::parse_from_str(date, "%a, %d %b %Y %H:%M:%S GMT") else {
        return Finding::failed(format_args!("no time: Date: {date}"), FIX);
    };
    let date = date.and_utc();
    let off_s = (date - at).num_seconds();
    if off_s.unsigned_abs() < LEEWAY_S {
        return Finding::ok(format_args!("{date} there, {at} here"));
    }
    let way = if off_s > 0 { "ahead of" } else { "behind" };
    let seen = format_args!(
        "{date} there, {off_s} s {way} this machine: tokens hold for a time that is off by that",
        off_s = off_s.unsigned_abs()
    );
    Finding::failed(seen, FIX)
}
