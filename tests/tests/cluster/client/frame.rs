//! Frames that a client gets.

use std::borrow::Cow;

use roomcast_core::ConnId;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    pub(super) room: Option<Cow<'a, str>>,
    pub(super) from: Option<From>,
    pub(super) offset: Option<u64>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) error: Option<Code>,
}

#[derive(Debug, Deserialize)]
pub(super) struct From {
    pub(super) conn: ConnId,
}

#[derive(Debug, Deserialize)]
pub(super) struct Code {
    pub(super) code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Joined {
    pub(super) epoch: String,
    pub(super) offset: u64,
    pub(super) already: bool,
    pub(super) recovered: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sent {
    pub(super) offset: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    pub(super) epoch: String,
    #[serde(borrow)]
    pub(super) messages: Vec<Frame<'a>>,
}
