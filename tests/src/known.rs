//! Texts with placeholders, in traces and in predictions of the model.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{Actor, Event, Expect, Op, escape::string_end};

mod pattern;

/// The values of placeholders, learned while a story runs.
///
/// A pattern is compared byte for byte, except for
///
/// | placeholder | matches |
/// |---|---|
/// | `<alice>` | the connection id of that actor, also in what a client sends |
/// | `<alice 2>` | the id of that actor's second connection |
/// | `<epoch x>` | an epoch of a room: anything the first time, then the same; another label, another epoch |
/// | `<epoch>` | the epoch of the namespace: anything the first time, then the same while somebody is connected; where servers share their rooms, that of the room |
/// | `<message>` | any text within a JSON string, but not nothing |
/// | `<number>` | any digits |
///
/// Anything else in angle brackets is plain text.
#[derive(Debug, Clone, Default)]
pub struct Known {
    conns: BTreeMap<Actor, LastConn>,
    /// The ids of all connections of an actor, in the order of connecting.
    ids: BTreeMap<Actor, Vec<String>>,
    /// Epochs by namespace and room; the room is empty for the epoch of the namespace.
    epochs: BTreeMap<(String, String), String>,
    relayed: bool,
    divided: bool,
    /// By namespace and label.
    labels: BTreeMap<(String, String), String>,
    /// Texts of the story so far.
    said: String,
}

/// The last connection of an actor.
#[derive(Debug, Clone)]
struct LastConn {
    namespace: String,
    id: String,
    live: bool,
}

impl Known {
    /// The same of servers that [share their rooms](crate::Driver::is_relayed), or not.
    #[must_use]
    pub const fn with_relay(mut self, relayed: bool) -> Self {
        self.relayed = relayed;
        self
    }

    /// The same of [several servers](crate::Driver::is_divided), or of one.
    #[must_use]
    pub const fn with_several(mut self, divided: bool) -> Self {
        self.divided = divided;
        self
    }

    /// Records that an actor connected.
    pub fn connected(&mut self, actor: &Actor, namespace: &str, id: impl Into<String>) {
        let conn = LastConn {
            namespace: namespace.into(),
            id: id.into(),
            live: true,
        };
        if self.conns.get(actor).is_some_and(|known| known.live) {
            return; // connecting twice does nothing
        }
        let ids = self.ids.entry(actor.clone()).or_default();
        ids.push(conn.id.clone());
        self.conns.insert(actor.clone(), conn);
    }

    /// Records that the connection of an actor ended. With the last connection of a namespace, its
    /// epoch may end.
    pub fn ended(&mut self, actor: &Actor) {
        if let Some(conn) = self.conns.get_mut(actor) {
            conn.live = false;
            let namespace = conn.namespace.clone();
            let mut others = self
                .conns
                .values()
                .filter(|conn| conn.namespace == namespace);
            if others.all(|conn| !conn.live) {
                self.epochs.retain(|(home, _), _| *home != namespace);
            }
        }
    }

    /// Everybody who ever connected.
    pub fn actors(&self) -> Vec<Actor> {
        self.conns.keys().cloned().collect()
    }

    /// The namespace of an actor; the default one when it never connected.
    pub fn home(&self, actor: &Actor) -> &str {
        let conn = self.conns.get(actor);
        conn.map_or("default", |conn| &conn.namespace)
    }

    /// The namespace that the answer to an op is from.
    pub fn namespace_of(&self, op: &Op) -> String {
        let namespace = if let Op::ServerJoin { actor, .. } = op {
            self.home(actor)
        } else {
            op.namespace()
        };
        namespace.into()
    }

    /// True when an event of an actor is what was expected.
    pub fn fits(&mut self, actor: &Actor, expected: &Expect, got: &Event) -> bool {
        match (expected, got) {
            (Expect::Text(pattern), Event::Text(text)) => {
                let home = self.home(actor).to_owned();
                self.matches(&home, pattern, text)
            }
            (Expect::Binary(expected), Event::Binary(bytes)) => expected == bytes,
            (Expect::Ping, Event::Ping) => true,
            (
                Expect::Closed { code, reason },
                Event::Closed {
                    code: got_code,
                    reason: got_reason,
                },
            ) => {
                let same = reason.as_ref().is_none_or(|reason| reason == got_reason);
                same && code == got_code
            }
            (Expect::Text(_) | Expect::Binary(_) | Expect::Ping | Expect::Closed { .. }, _) => {
                false
            }
        }
    }

    /// True when the answer to an op fits the pattern.
    pub fn answers(&mut self, op: &Op, namespace: &str, pattern: &str, got: &str) -> bool {
        let room = if let Op::ServerJoin { room, .. } = op {
            Some(&**room)
        } else {
            None
        };
        self.matches_in(namespace, room, pattern, got)
    }

    /// True when a text of a namespace fits the pattern.
    pub fn matches(&mut self, namespace: &str, pattern: &str, got: &str) -> bool {
        self.matches_in(namespace, None, pattern, got)
    }

    /// True when a text about a room fits the pattern; the text need not name the room.
    fn matches_in(
        &mut self,
        namespace: &str,
        room: Option<&str>,
        pattern: &str,
        got: &str,
    ) -> bool {
        let whole = pattern;
        let count = || pattern::with_counts(pattern, got);
        let counted = self.divided.then(count);
        let (mut pattern, mut got) = (pattern, counted.as_deref().unwrap_or(got));
        while let Some(at) = pattern.find('<') {
            let Some(rest) = got.strip_prefix(&pattern[..at]) else {
                return false;
            };
            (pattern, got) = (&pattern[at + 1..], rest);
            let name = pattern.split_once('>').map(|(name, _)| name);
            let literal = match name {
                Some("message" | "number") => None,
                Some("epoch") => {
                    let before = &whole[..whole.len() - pattern.len()];
                    let before = before.rsplit_once(r#""room":""#);
                    let named = before.map(|(_, rest)| &rest[..string_end(rest)]);
                    let room = named.or(room).filter(|_| self.relayed);
                    let home = (namespace.to_owned(), room.unwrap_or_default().to_owned());
                    let epoch = self.epochs.entry(home);
                    Some(
                        epoch
                            .or_insert_with(|| got[..string_end(got)].into())
                            .clone(),
                    )
                }
                Some(label) if label.starts_with("epoch ") => {
                    let Some(epoch) = self.labelled(namespace, label, got) else {
                        return false;
                    };
                    Some(epoch)
                }
                Some(name) if self.id(name).is_some() => self.id(name).map(Into::into),
                // The bracket itself; its content is compared as text.
                Some(_) | None => match got.strip_prefix('<') {
                    Some(rest) => {
                        got = rest;
                        continue;
                    }
                    None => return false,
                },
            };
            let length = match (name, &literal) {
                (_, Some(value)) if got.starts_with(&**value) => value.len(),
                (_, Some(_)) => return false,
                (Some("message"), None) => string_end(got),
                _ => got.len() - got.trim_start_matches(|c: char| c.is_ascii_digit()).len(),
            };
            if length == 0 {
                return false;
            }
            got = &got[length..];
            pattern = &pattern[name.map_or(0, |name| name.len() + 1)..];
        }
        pattern == got
    }

    /// Fills the known ids of connections into a pattern, to show it beside a received text.
    pub fn fill<'p>(&self, pattern: &'p str) -> Cow<'p, str> {
        let mut filled = Cow::Borrowed(pattern);
        for (actor, conn) in &self.conns {
            let placeholder = format!("<{actor}>");
            if filled.contains(&placeholder) {
                filled = filled.replace(&placeholder, &conn.id).into();
            }
        }
        for (actor, ids) in &self.ids {
            for (number, id) in (1..).zip(ids) {
                let placeholder = format!("<{actor} {number}>");
                if filled.contains(&placeholder) {
                    filled = filled.replace(&placeholder, id).into();
                }
            }
        }
        filled
    }

    /// Fills ids and epochs into the text that the op's client sends: `<bob>` is the connection of
    /// bob, and `<epoch x>` an epoch that somebody was told.
    pub fn address(&self, op: &Op) -> Op {
        let mut op = op.clone();
        if let Op::Text { actor, text, .. } = &mut op {
            let home = self.home(actor);
            let labels = self.labels.iter().filter(|((other, _), _)| other == home);
            for ((_, label), epoch) in labels {
                *text = text.replace(&format!("<{label}>"), epoch);
            }
            *text = self.fill(text).into_owned();
        }
        op
    }

    fn id(&self, name: &str) -> Option<&str> {
        if let Some((name, number)) = name.split_once(' ') {
            let ids = self.ids.get(&Actor::new(name))?;
            let index = number.parse::<usize>().ok()?.checked_sub(1)?;
            return ids.get(index).map(|id| &**id);
        }
        let conn = self.conns.get(&Actor::new(name));
        conn.map(|conn| &*conn.id)
    }

    /// Returns the epoch with a label. A new label takes its epoch from the text, unless another
    /// label has that epoch.
    fn labelled(&mut self, namespace: &str, label: &str, got: &str) -> Option<String> {
        let key = (namespace.to_owned(), label.to_owned());
        if let Some(known) = self.labels.get(&key) {
            return Some(known.clone());
        }
        let epoch = &got[..string_end(got)];
        let mut others = self
            .labels
            .iter()
            .filter(|((home, _), _)| home == namespace);
        if others.any(|(_, other)| other == epoch) {
            return None;
        }
        self.labels.insert(key, epoch.into());
        Some(epoch.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_match_what_they_stand_for() {
        let mut known = Known::default();
        known.connected(&"alice".into(), "n", "17");
        assert!(known.matches(
            "n",
            r#"{"conn":"<alice>","ms":<number>}"#,
            r#"{"conn":"17","ms":5}"#
        ));
        assert!(!known.matches("n", r#"["<alice>"]"#, r#"["18"]"#));
        assert!(known.matches("n", r#"["<message>",1]"#, r#"["a \"b\" c",1]"#));
        assert!(!known.matches("n", r#"["<message>"]"#, r#"[""]"#));
        assert!(known.matches("n", "<bob> < 1", "<bob> < 1"));
        assert!(!known.matches("n", "<number>", "x"));
    }

    #[test]
    fn an_epoch_is_anything_once_and_then_the_same() {
        let mut known = Known::default();
        assert!(known.matches("red", r#""<epoch>""#, r#""e1""#));
        assert!(known.matches("blue", r#""<epoch>""#, r#""e2""#));
        assert!(known.matches("red", r#""<epoch>""#, r#""e1""#));
        assert!(!known.matches("red", r#""<epoch>""#, r#""e2""#));
        known.connected(&"alice".into(), "red", "1");
        known.ended(&"alice".into());
        assert!(known.matches("red", r#""<epoch>""#, r#""e2""#));
    }
}
