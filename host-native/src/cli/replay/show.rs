//! Output of a replay.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
};

use roomcast_core::{
    Command, ConnId, Frame, Input, Outbox, Timestamp,
    journal::{Entry, Record},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::moment::{Moment, WallClock};

/// A filter of the output.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) conn: Option<ConnId>,
    pub(super) namespace: Option<String>,
    pub(super) room: Option<String>,
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
}

impl Filter {
    pub(super) fn is_in_namespace(&self, namespace: &str) -> bool {
        let only = self.namespace.as_deref();
        only.is_none_or(|only| only == namespace)
    }

    /// True when a time is in the range; `None` when the journal has no wall-clock times to
    /// compare.
    pub(super) fn is_in_time(&self, clock: WallClock, at: Timestamp) -> Option<bool> {
        let reached = |moment: Option<Moment>, without| {
            moment.map_or(Some(without), |moment| clock.has_reached(at, moment))
        };
        Some(reached(self.since, true)? && !reached(self.until, false)?)
    }
}

/// A printer of entries that pass its filter.
#[derive(Debug)]
pub(super) struct Printer<W> {
    out: W,
    pub(super) filter: Filter,
}

impl<W: Write> Printer<W> {
    pub(super) const fn new(out: W, filter: Filter) -> Self {
        Self { out, filter }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    /// Prints an entry, and what it made the server do.
    pub(super) fn print(
        &mut self,
        number: u64,
        clock: WallClock,
        entry: &Entry<'_>,
        commands: &Outbox,
    ) -> io::Result<()> {
        if !self.filter.is_in_namespace(&entry.namespace) {
            return Ok(());
        }
        if let Some(conn) = self.filter.conn {
            return self.print_sent(conn, entry, commands);
        }
        let (input, room) = (serialized(entry), self.filter.room.as_deref());
        let about = room.is_none_or(|room| is_input_about(&input, room));
        let head = format!("{}\t{}\t{number}", clock.text(entry.at), entry.namespace);
        let lines: String = commands
            .iter()
            .filter(|command| {
                let is_about =
                    |room| matches!(command, Command::Send { frame, .. } if is_about(*frame, room));
                about || room.is_some_and(is_about)
            })
            .filter_map(|command| line(&head, &command))
            .collect();
        match &entry.record {
            Record::Start(start) if room.is_none() => {
                let (run, part, version) = (&start.run, start.part, &start.version);
                writeln!(self.out, "{head}\tstart\t{run}\t{part}\t{version}")?;
            }
            Record::Open(opening) if room.is_none() => {
                let epoch = one_line(&opening.config.epoch);
                writeln!(self.out, "{head}\topen\t{epoch}")?;
            }
            Record::Input(input_of) => {
                let is_routine = matches!(input_of, Input::Activity(_) | Input::Timeout);
                if !lines.is_empty() || (about && !is_routine) {
                    writeln!(self.out, "{head}\tinput\t{}", one_line(&input))?;
                }
            }
            Record::Start(_) | Record::Open(_) => {}
            _ => {}
        }
        self.out.write_all(lines.as_bytes())
    }

    /// The frames that were sent to a connection, and nothing else.
    fn print_sent(&mut self, conn: ConnId, entry: &Entry<'_>, commands: &Outbox) -> io::Result<()> {
        let room = self.filter.room.as_deref();
        let about = room.is_none_or(|room| is_input_about(&serialized(entry), room));
        for command in commands {
            if let Command::Send { to, frame, .. } = command
                && to.binary_search(&conn).is_ok()
                && (about || room.is_some_and(|room| is_about(frame, room)))
            {
                writeln!(self.out, "{}", text(frame))?;
            }
        }
        Ok(())
    }
}

/// An input as JSON; empty for another kind of entry.
fn serialized(entry: &Entry<'_>) -> String {
    if let Record::Input(input) = &entry.record {
        serde_json::to_string(input).unwrap_or_default()
    } else {
        String::new()
    }
}

/// The line of a command; `None` for commands that clients do not see, such as those to store or
/// load state.
fn line(head: &str, command: &Command<'_>) -> Option<String> {
    match command {
        Command::Send { to, frame, .. } => {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            Some(format!(
                "{head}\tsend\t{}\t{}\n",
                to.join(","),
                text(*frame)
            ))
        }
        Command::Close { conn, code, reason } => {
            let reason = one_line(reason);
            Some(format!("{head}\tclose\t{conn}\t{code}\t{reason}\n"))
        }
        Command::Ping { conn } => Some(format!("{head}\tping\t{conn}\n")),
        Command::Persist { .. }
        | Command::Append { .. }
        | Command::PersistRoom { .. }
        | Command::PersistKey { .. }
        | Command::LoadHistory { .. }
        | Command::Relay(_)
        | Command::Tell { .. } => None,
    }
}

/// True when a message names this room.
fn is_about(frame: Frame<'_>, room: &str) -> bool {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        room: Option<Cow<'a, str>>,
    }
    let Frame::Text(text) = frame else {
        return false;
    };
    let envelope: Option<Envelope<'_>> = serde_json::from_str(text).ok();
    envelope.is_some_and(|envelope| envelope.room.as_deref() == Some(room))
}

/// True when an input, as JSON, is about this room: a message of a client with it, a join, a send
/// to it.
fn is_input_about(input: &str, room: &str) -> bool {
    let Ok(Value::Object(input)) = serde_json::from_str(input) else {
        return false;
    };
    let Some((_, Value::Object(input))) = input.into_iter().next() else {
        return false;
    };
    if let Some(Value::String(text)) = input.get("text")
        && is_about(Frame::Text(text), room)
    {
        return true;
    }
    let rooms = input.get("audience").and_then(|to| to.get("rooms"));
    let mut rooms = rooms.and_then(Value::as_array).into_iter().flatten();
    let one = input.get("room");
    one.and_then(Value::as_str) == Some(room) || rooms.any(|one| one.as_str() == Some(room))
}

fn text(frame: Frame<'_>) -> Cow<'_, str> {
    match frame {
        Frame::Text(text) => one_line(text),
        Frame::Binary(bytes) => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

/// Makes a text one line without control characters, so that no part of it looks like another line
/// of the output.
///
/// JSON may have line breaks and tabs between its tokens, and nowhere else: they become spaces,
/// which mean the same. In other texts they are escaped.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if !text.contains(breaks) {
        return text.into();
    }
    let json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if json => line.push(' '),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if breaks(c) => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_stays_one_line() {
        for (text, line) in [
            ("[1,\r\n2]", "[1,  2]"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[2J", "\\u001b[2J"),
            // In JSON the same text as before.
            ("\"\u{2028}\u{85}\u{7f}\"", "\"\\u2028\\u0085\\u007f\""),
        ] {
            assert_eq!(one_line(text), line);
        }
        assert!(matches!(one_line("[1]"), Cow::Borrowed("[1]")));
        assert_eq!(text(Frame::Binary(b"a\n\x1b\xff")), "a\\n\\x1b\\xff");
    }

    #[test]
    fn an_input_is_about_the_rooms_that_it_names() {
        for (input, about) in [
            (r#"{"join":{"conn":"1","room":"r"}}"#, true),
            (r#"{"join":{"conn":"1","room":"s"}}"#, false),
            (
                r#"{"send":{"audience":{"rooms":["s","r"]},"event":"e","data":1}}"#,
                true,
            ),
            (
                r#"{"send":{"audience":{"all":true},"event":"r","data":"r"}}"#,
                false,
            ),
            (
                r#"{"text":{"conn":"1","text":"{\"event\":\"e\",\"room\":\"r\"}"}}"#,
                true,
            ),
            (r#"{"text":{"conn":"1","text":"{\"event\":\"r\"}"}}"#, false),
            (r#"{"text":{"conn":"1","text":"room r"}}"#, false),
            (r#""timeout""#, false),
        ] {
            assert_eq!(is_input_about(input, "r"), about, "{input}");
        }
    }
}
