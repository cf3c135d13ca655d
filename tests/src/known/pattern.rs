//! Patterns made from texts.

use super::Known;
use crate::{Actor, Event, Op, escape::string_end};

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// The number of digits above which a number is probably an id.
const LONG: usize = 7;

/// True when a text contains an id.
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

/// Finds the next member of the text whose value differs from server to server.
fn next_mark(text: &str) -> Option<(usize, &'static str)> {
    let marks = [TIME, WAIT, MESSAGE, EPOCH, CONN].into_iter();
    marks
        .filter_map(|mark| Some((text.find(mark)?, mark)))
        .min()
}

/// Members that count the connections that a message reached.
const COUNTS: [&str; 3] = [r#""reached":"#, r#""matched":"#, r#""queued":"#];

/// Replaces counts of a text by the pattern's if they are not greater: each of several servers
/// counts only its own connections.
pub(super) fn with_counts(pattern: &str, got: &str) -> String {
    let mut text = got.to_owned();
    for member in COUNTS {
        let count = |text: &str| {
            let begin = text.find(member)? + member.len();
            let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
            let count: u64 = text[begin..begin + digits].parse().ok()?;
            Some((begin..begin + digits, count))
        };
        if let (Some((_, most)), Some((at, count))) = (count(pattern), count(&text))
            && count <= most
        {
            text.replace_range(at, &most.to_string());
        }
    }
    text
}

/// True when a text ends where the message of an error begins.
fn is_error(text: &str) -> bool {
    let code = text
        .strip_suffix(MESSAGE)
        .and_then(|text| text.strip_suffix('"'));
    let code = code.and_then(|text| text.rsplit_once(r#""error":{"code":""#));
    code.is_some_and(|(_, code)| !code.contains('"'))
}

/// True when a text ends right before the time to wait in the details of an error.
fn is_rate(text: &str) -> bool {
    let limit = text.strip_suffix(WAIT);
    let limit = limit.and_then(|text| text.rsplit_once(r#""details":{"limit":"#));
    limit.is_some_and(|(_, limit)| limit.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Known {
    /// Makes a pattern from a text of a namespace: ids of connections, epochs, times and the texts
    /// of errors become placeholders. The text is [escaped](escape) already.
    ///
    /// An id is replaced if it is a whole string; a long one also within other texts. It is not
    /// replaced if the story [said](Self::said) it.
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

    /// Formats an event of an actor as the line of a trace that expects it.
    pub(crate) fn line(&mut self, actor: &Actor, event: &Event) -> String {
        let line = event.to_string();
        if matches!(event, Event::Text(_)) {
            let home = self.home(actor).to_owned();
            return format!("{actor} {}", self.pattern(&home, &line));
        }
        format!("{actor} {line}")
    }

    /// Records the texts of an op, which are not ids even if they look like some.
    pub(crate) fn said(&mut self, op: &Op) {
        let line = op.to_string();
        if let Op::Connect { .. } = op {
            let words = line.split([' ', '=', '&', ';', '?']);
            self.said.extend(words.map(quoted));
        } else {
            self.said.push_str(&line);
        }
    }

    /// Finds a part of a text that may be either the id of a connection or a text of the story.
    /// Returns the id and the name of its connection.
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

    /// Does the same only for members whose names identify their values.
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
            .conns
            .iter()
            .filter(|(_, conn)| conn.namespace == namespace);
        let mut here = here.map(|(actor, conn)| (actor, &*conn.id));
        if let Some((actor, _)) = here.clone().find(|(_, known)| *known == id) {
            return Some(actor.to_string());
        }
        here.find_map(|(actor, _)| {
            let number = self.ids.get(actor)?.iter().position(|known| known == id)?;
            Some(format!("{actor} {}", number + 1))
        })
    }

    /// The placeholder of an epoch: `epoch` for the epoch of the namespace, or a label for the
    /// epoch of a room with a history, which ends in a number.
    fn epoch_name(&mut self, namespace: &str, epoch: &str) -> Option<String> {
        if epoch.is_empty() {
            return None;
        }
        let of_namespace = (namespace.to_owned(), String::new());
        let known = self.epochs.get(&of_namespace);
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
            self.epochs.insert(of_namespace, epoch.into());
            return Some("epoch".into());
        }
        let label = (1..)
            .map(|number| format!("epoch {number}"))
            .find(|label| !labels().any(|((_, known), _)| known == label))?;
        self.labels
            .insert((namespace.into(), label.clone()), epoch.into());
        Some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
