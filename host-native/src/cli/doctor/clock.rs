//! A comparison of the server's clock with the clock of this machine.

use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::header::{DATE, HeaderMap};
use roomcast_http::TIME_HEADER;
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

/// Compares the time in the head of an answer with the time at which it arrived. The clocks must
/// not differ by the leeway of tokens or more.
pub(super) fn check(head: &HeaderMap, at: DateTime<Utc>) -> Finding {
    let field = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let own = field(TIME_HEADER).and_then(|ms| {
        let ms: i64 = ms.parse().ok()?;
        DateTime::from_timestamp(ms / 1000, 0)
    });
    let (time, place) = match (own, field(DATE.as_str())) {
        (Some(time), _) => (time, "there"),
        (None, None) => return Finding::skipped("the answer has no time"),
        (None, Some(date)) => {
            let read = NaiveDateTime::parse_from_str(date, "%a, %d %b %Y %H:%M:%S GMT");
            let Ok(date) = read else {
                return Finding::failed(format_args!("no time: Date: {date}"), FIX);
            };
            // A proxy may have written this header.
            (date.and_utc(), "where the answer comes from")
        }
    };
    let off_s = (time - at).num_seconds();
    if off_s.unsigned_abs() < LEEWAY_S {
        return Finding::ok(format_args!("{time} {place}, {at} here"));
    }
    let way = if off_s > 0 { "ahead of" } else { "behind" };
    let seen = format_args!(
        "{time} {place}, {off_s} s {way} this machine: tokens hold for a time that is off by that",
        off_s = off_s.unsigned_abs()
    );
    Finding::failed(seen, FIX)
}
