//! Texts with placeholders: in the steps of a trace and in what the model predicts.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{Actor, Event, Expect, Op};

/// Values that placeholders stand for, learned while a story runs.
///
/// A pattern is compared byte for byte, but for
///
/// | placeholder | matches |
/// |---|---|
/// | `<alice>` | the connection id of that actor, also in what a client sends |
/// | `<alice 2>` | the id of that actor's second connection |
/// | `<epoch x>` | an epoch of a room: anything the first time, then the same; another label, another epoch |
/// | `<epoch>` | the epoch of the namespace: anything the first time, then the same while somebody is connected |
/// | `<message>` | any text within a JSON string, but not nothing |
/// | `<number>` | any digits |
///
/// Anything else in angle brackets is plain text.
#[derive(Debug, Clone, Default)]
pub struct Known {
    lives: BTreeMap<Actor, Life>,
    /// The ids of all connections of an actor, in the order of connecting.
    ids: BTreeMap<Actor, Vec<String>>,
    epochs: BTreeMap<String, String>,
    /// By namespace and label.
    labels: BTreeMap<(String, String), String>,
    /// Texts of the story so far.
    said: String,
}

/// The last connection of an actor.
#[derive(Debug, Clone)]
struct Life {
    namespace: String,
    id: String,
    live: bool,
}

impl Known {
    /// An actor connected.
    pub fn connected(&mut self, actor: &Actor, namespace: &str, id: impl Into<String>) {
        let life = Life {
            namespace: namespace.into(),
            id: id.into(),
            live: true,
        };
        if self.lives.get(actor).is_some_and(|known| known.live) {
            return; // connecting twice does nothing
        }
        let ids = self.ids.entry(actor.clone()).or_default();
        ids.push(life.id.clone());
        self.lives.insert(actor.clone(), life);
    }

    /// The connection of an actor ended. With the last one of a namespace its epoch may end.
    pub fn ended(&mut self, actor: &Actor) {
        if let Some(life) = self.lives.get_mut(actor) {
            life.live = false;
            let namespace = life.namespace.clone();
            let mut others = self
                .lives
                .values()
                .filter(|life| life.namespace == namespace);
            if others.all(|life| !life.live) {
                self.epochs.remove(&namespace);
            }
        }
    }

    /// Everybody who ever connected.
    pub fn actors(&self) -> Vec<Actor> {
        self.lives.keys().cloned().collect()
    }

    /// The namespace of an actor; the default one when it never connected.
    pub fn home(&self, actor: &Actor) -> &str {
        let life = self.lives.get(actor);
        life.map_or("default", |life| &life.namespace)
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

    /// True when a text of a namespace fits the pattern.
    pub fn matches(&mut self, namespace: &str, pattern: &str, got: &str) -> bool {
        let (mut pattern, mut got) = (pattern, got);
        while let Some(at) = pattern.find('<') {
            let Some(rest) = got.strip_prefix(&pattern[..at]) else {
                return false;
            };
            (pattern, got) = (&pattern[at + 1..], rest);
            let name = pattern.split_once('>').map(|(name, _)| name);
            let literal = match name {
                Some("message" | "number") => None,
                Some("epoch") => Some(match self.epochs.get(namespace) {
                    Some(epoch) => epoch.clone(),
                    None => {
                        let epoch = &got[..string_end(got)];
                        self.epochs.insert(namespace.into(), epoch.into());
                        epoch.into()
                    }
                }),
                Some(label) if label.starts_with("epoch ") => {
                    let Some(epoch) = self.labelled(namespace, label, got) else {
                        return false;
                    };
                    Some(epoch)
                }
                Some(name) if self.id(name).is_some() => self.id(name).map(Into::into),
                // The bracket itself; what stands in it is compared as text.
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

    /// The pattern with what is known filled in, to show it beside what came.
    pub fn fill<'p>(&self, pattern: &'p str) -> Cow<'p, str> {
        let mut filled = Cow::Borrowed(pattern);
        for (actor, life) in &self.lives {
            let placeholder = format!("<{actor}>");
            if filled.contains(&placeholder) {
                filled = filled.replace(&placeholder, &life.id).into();
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

    /// A text of a namespace as a pattern that it fits: placeholders for ids of connections,
    /// epochs, times and the texts of errors. The text is [escaped](escape) already.
    ///
    /// An id is one wherever it is a whole string, and the long ones within other texts too, unless
    /// the story [said](Self::said) it.
    pub(crate) fn pattern(&mut self, namespace: &str, text: &str) -> String {
        let pattern = self.marked(namespace, text);
        let (mut named, mut rest) = (String::with_capacity(pattern.len()), &*pattern);
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, number) = rest.split_at(at);
            let length = number.len()
                - number
                    .trim_start_matches(|c: char| c.is_ascii_digit())
                    .len();
            let (number, behind) = number.split_at(length);
            named.push_str(before);
            let is_whole = before.ends_with('"') && behind.starts_with('"');
            let name = self.conn_name(namespace, number);
            match name.filter(|_| is_whole || number.len() >= LONG) {
                Some(name) if !stands_in(number, &self.said) => {
                    named.push_str(&format!("<{name}>"));
                }
                Some(_) | None => named.push_str(number),
            }
            rest = behind;
        }
        named + rest
    }

    /// Remembers the texts of an op, which are not ids whatever they look like.
    pub(crate) fn said(&mut self, op: &Op) {
        let line = op.to_string();
        if let Op::Connect { .. } = op {
            let words = line.split([' ', '=', '&', ';', '?']);
            self.said.extend(words.map(quoted));
        } else {
            self.said.push_str(&line);
        }
    }

    /// Finds a part of a text that may be the id of a connection or may be words of the story;
    /// returns the id and the name of its connection.
    pub(crate) fn ambiguous_id(&self, namespace: &str, text: &str) -> Option<(String, String)> {
        let ids = self.ids.values().flatten();
        let mut said = ids.filter(|id| stands_in(id, &self.said));
        said.find_map(|id| {
            let elsewhere = text.replace(&format!("{CONN}{id}\""), "");
            let told = stands_in(id, &elsewhere);
            let name = told.then(|| self.conn_name(namespace, id)).flatten()?;
            Some((id.clone(), name))
        })
    }

    /// The same with placeholders only where the name of a member says what its value is.
    fn marked(&mut self, namespace: &str, text: &str) -> String {
        let (mut pattern, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((at, mark)) = next_mark(rest) {
            let (before, value) = rest.split_at(at + mark.len());
            pattern.push_str(before);
            let length = if matches!(mark, TIME | WAIT) {
                value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len()
            } else {
                string_end(value)
            };
            let (value, behind) = value.split_at(length);
            let name = match mark {
                TIME => (!value.is_empty()).then(|| "number".into()),
                WAIT => is_rate(&pattern).then(|| "number".into()),
                MESSAGE => is_error(&pattern).then(|| "message".into()),
                EPOCH => self.epoch_name(namespace, value),
                _ => self.conn_name(namespace, value),
            };
            match name {
                Some(name) => pattern.push_str(&format!("<{name}>")),
                None => pattern.push_str(value),
            }
            rest = behind;
        }
        pattern + rest
    }

    fn conn_name(&self, namespace: &str, id: &str) -> Option<String> {
        let here = self
            .lives
            .iter()
            .filter(|(_, life)| life.namespace == namespace);
        let mut here = here.map(|(actor, life)| (actor, &*life.id));
        if let Some((actor, _)) = here.clone().find(|(_, known)| *known == id) {
            return Some(actor.to_string());
        }
        here.find_map(|(actor, _)| {
            let number = self.ids.get(actor)?.iter().position(|known| known == id)?;
            Some(format!("{actor} {}", number + 1))
        })
    }

    /// Placeholder of an epoch: `epoch` for the namespace's, a label for that of a room with a
    /// history, which ends in a number of its own.
    fn epoch_name(&mut self, namespace: &str, epoch: &str) -> Option<String> {
        if epoch.is_empty() {
            return None;
        }
        let known = self.epochs.get(namespace);
        if known.is_some_and(|known| known == epoch) {
            return Some("epoch".into());
        }
        let labels = || {
            self.labels
                .iter()
                .filter(|((home, _), _)| home == namespace)
        };
        if let Some(((_, label), _)) = labels().find(|(_, known)| *known == epoch) {
            return Some(label.clone());
        }
        let number = epoch
            .rsplit_once('.')
            .map(|(_, number)| number.parse::<u64>());
        if known.is_none() && !matches!(number, Some(Ok(_))) {
            self.epochs.insert(namespace.into(), epoch.into());
            return Some("epoch".into());
        }
        let label = (1..)
            .map(|number| format!("epoch {number}"))
            .find(|label| !labels().any(|((_, known), _)| known == label))?;
        self.labels
            .insert((namespace.into(), label.clone()), epoch.into());
        Some(label)
    }

    /// The op with the ids of connections in the text of its client: `<bob>` there is the
    /// connection of bob, and `<epoch x>` an epoch that somebody was told.
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
        let life = self.lives.get(&Actor::new(name));
        life.map(|life| &*life.id)
    }

    /// The epoch with a label; learned from the text when it is new, unless another has it.
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

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// Digits of an id that no other number is likely to be.
const LONG: usize = 7;

/// True when an id stands in a text.
fn stands_in(id: &str, text: &str) -> bool {
    if id.len() >= LONG {
        text.contains(id)
    } else {
        text.contains(&quoted(id))
    }
}

const TIME: &str = r#""since_ms":"#;
const WAIT: &str = r#","after_ms":"#;
const MESSAGE: &str = r#","message":""#;
const EPOCH: &str = r#""epoch":""#;
const CONN: &str = r#""conn":""#;

/// The member next in the text whose value differs from one server to another.
fn next_mark(text: &str) -> Option<(usize, &'static str)> {
    let marks = [TIME, WAIT, MESSAGE, EPOCH, CONN].into_iter();
    marks
        .filter_map(|mark| Some((text.find(mark)?, mark)))
        .min()
}

/// True when a text ends where the message of an error begins.
fn is_error(text: &str) -> bool {
    let code = text
        .strip_suffix(MESSAGE)
        .and_then(|text| text.strip_suffix('"'));
    let code = code.and_then(|text| text.rsplit_once(r#""error":{"code":""#));
    code.is_some_and(|(_, code)| !code.contains('"'))
}

/// True when a text ends where the time begins that the details of an error tell to wait.
fn is_rate(text: &str) -> bool {
    let limit = text.strip_suffix(WAIT);
    let limit = limit.and_then(|text| text.rsplit_once(r#""details":{"limit":"#));
    limit.is_some_and(|(_, limit)| limit.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Where the JSON string ends whose content is at the start of the text.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    let quote = text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    quote.unwrap_or(text.len())
}

/// Writes out what is short in a trace: `<3 of ab>` becomes `ababab`, and `<U+0007>` that
/// character.
pub fn expand(text: &str) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('<') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let written_out = rest[1..].split_once('>').and_then(|(short, after)| {
            let long = match short.strip_prefix("U+") {
                Some(hex) => char::from_u32(u32::from_str_radix(hex, 16).ok()?)?.into(),
                None => {
                    let (count, unit) = short.split_once(" of ")?;
                    unit.repeat(count.parse().ok()?)
                }
            };
            Some((long, after))
        });
        match written_out {
            Some((long, after)) => {
                expanded.push_str(&long);
                rest = after;
            }
            None => {
                expanded.push('<');
                rest = &rest[1..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

/// Writes a text so that it survives as the end of a line, and [`expand`] gives it back.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        let edge = char == ' ' && (at == 0 || at + 1 == text.len());
        if text[at..].starts_with("<epoch ") {
            escaped.push(char);
        } else if edge || char == '<' || char == '\u{feff}' || char.is_control() {
            escaped.push_str(&format!("<U+{:04X}>", u32::from(char)));
        } else {
            escaped.push(char);
        }
    }
    escaped
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

    #[test]
    fn a_pattern_of_a_text_fits_it() {
        let mut known = Known::default();
        let said = r#"alice sends {"event":"x","data":"0"}"#;
        known.said(&said.parse().expect("an op"));
        let connections = [
            ("alice", "0"),
            ("bob", "1"),
            ("bob", "2"),
            ("carol", "1048576"),
        ];
        for (actor, id) in connections {
            known.ended(&actor.into());
            known.connected(&actor.into(), "n", id);
        }
        for (text, expected) in [
            (
                r#"{"from":{"conn":"0"},"data":["0","1"],"n":0}"#,
                r#"{"from":{"conn":"<alice>"},"data":["0","<bob 1>"],"n":0}"#,
            ),
            (
                r#"{"data":{"1048576":"dm:1048576","n":1048576,"x":10485760}}"#,
                r#"{"data":{"<carol>":"dm:<carol>","n":<carol>,"x":10485760}}"#,
            ),
            (
                r#"[{"conn":"1"},{"conn":"2"},{"conn":"3"}]"#,
                r#"[{"conn":"<bob 1>"},{"conn":"<bob>"},{"conn":"3"}]"#,
            ),
            (r#"{"epoch":"e"}"#, r#"{"epoch":"<epoch>"}"#),
            (r#"{"epoch":"e.1"}"#, r#"{"epoch":"<epoch 1>"}"#),
            (r#"{"epoch":"e.2"}"#, r#"{"epoch":"<epoch 2>"}"#),
            (r#"{"epoch":"e.1"}"#, r#"{"epoch":"<epoch 1>"}"#),
            (
                r#"{"error":{"code":"c","message":"a \"b\" c"}}"#,
                r#"{"error":{"code":"c","message":"<message>"}}"#,
            ),
            (
                r#"{"data":{"a":1,"message":"m"}}"#,
                r#"{"data":{"a":1,"message":"m"}}"#,
            ),
            (r#"{"since_ms":17,"x":1}"#, r#"{"since_ms":<number>,"x":1}"#),
            (
                r#"{"details":{"limit":1,"after_ms":7},"after_ms":0}"#,
                r#"{"details":{"limit":1,"after_ms":<number>},"after_ms":0}"#,
            ),
        ] {
            let pattern = known.pattern("n", text);
            assert_eq!(pattern, expected);
            assert!(known.matches("n", &pattern, text), "{pattern}");
        }
    }

    #[test]
    fn escaped_texts_expand_to_themselves() {
        for text in [
            "",
            " a ",
            "<alice>",
            "<3 of a>",
            "a\r\n\u{feff}<",
            "< U+0041>",
            "é <",
        ] {
            let escaped = escape(text);
            assert_eq!(expand(&escaped), text, "{escaped}");
            assert_eq!(escaped.trim(), escaped);
        }
        assert_eq!(expand("<3 of [>1<2 of ]><x>"), "[[[1]]<x>");
    }
}
