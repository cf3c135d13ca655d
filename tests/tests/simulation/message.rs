//! A message, byte for byte.

use std::collections::BTreeSet;

/// A message on its way.
pub(crate) struct Message<'a> {
    pub(crate) said: u64,
    pub(crate) event: &'a str,
    /// The publisher: the connection and its user.
    pub(crate) from: Option<(u64, Option<&'a str>)>,
    pub(crate) except_conns: BTreeSet<u64>,
    pub(crate) except_users: BTreeSet<String>,
    /// True when the backend left somebody out.
    pub(crate) listed: bool,
}

impl<'a> Message<'a> {
    pub(crate) const fn new(said: u64, event: &'a str) -> Self {
        Self {
            said,
            event,
            from: None,
            except_conns: BTreeSet::new(),
            except_users: BTreeSet::new(),
            listed: false,
        }
    }

    /// Returns the frame as it is sent, byte for byte.
    pub(crate) fn frame(&self, room: Option<&str>, offset: Option<u64>) -> String {
        let (event, data) = (self.event, data(self.said));
        let room = room.map_or(String::new(), |room| format!(r#","room":"{room}""#));
        let from = self.from.map_or(String::new(), |(conn, user)| {
            let user = user.map_or(String::new(), |user| format!(r#","user":"{user}""#));
            format!(r#","from":{{"conn":"{conn}"{user}}}"#)
        });
        let offset = offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
        format!(r#"{{"event":"{event}"{room}{from}{offset},"data":{data}}}"#)
    }
}

/// The payload of a message: bytes that must not change, of a length that differs.
pub(crate) fn data(said: u64) -> String {
    let fill = "x".repeat(usize::try_from(said % 7).expect("small") * 12);
    format!(r#"[{said}, "é\u00e9 {fill}" , 1.0]"#)
}
