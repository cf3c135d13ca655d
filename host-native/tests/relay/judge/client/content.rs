//! The content of messages.

use serde_json::{Value, json};

use crate::relay::judge::history::Id;

/// The content of a message, which nobody else makes.
pub(super) fn content(publisher: u32, number: u32, is_last: bool) -> Value {
    let print = publisher.wrapping_mul(0x9e37_79b1) ^ number.wrapping_mul(0x85eb_ca6b);
    json!([publisher, number, is_last, format!("{print:08x}").repeat(8)])
}

pub(super) fn read_content(data: &Value) -> Option<(Id, bool)> {
    let (publisher, number) = (data[0].as_u64()?, data[1].as_u64()?);
    let (publisher, number) = (publisher.try_into().ok()?, number.try_into().ok()?);
    let is_last = data[2].as_bool()?;
    (*data == content(publisher, number, is_last)).then_some((Id { publisher, number }, is_last))
}
