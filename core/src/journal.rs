//! The journal: every input of every namespace, one JSON line each, to be replayed.

use alloc::{borrow::Cow, collections::BTreeMap, rc::Rc, string::String, string::ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::gateway::{App, Gateway, Input};
use crate::hub::{Config, Hub, HubState};
use crate::{outbox::Outbox, time::Timestamp};

/// A line of a journal.
///
/// ```
/// use roomcast_core::{Input, Timestamp, journal::{Entry, Record}};
///
/// let entry = Entry::new(Timestamp::from_millis(5), "default", Record::Input(Input::Timeout));
/// let line = entry.to_line();
/// assert_eq!(line, r#"{"at":5,"namespace":"default","input":"timeout"}"#);
/// assert!(Entry::parse(&line).is_ok());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The time given to the hub.
    pub at: Timestamp,
    /// The namespace whose hub it was.
    pub namespace: Cow<'a, str>,
    /// The record of what happened.
    pub record: Record<'a>,
}

/// Content of a journal line.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // passed on at once, and never kept
#[non_exhaustive]
pub enum Record<'a> {
    /// A file of the journal begins.
    Start(Start),
    /// The namespace began.
    Open(Opening),
    /// An input.
    Input(Input<'a>),
}

/// The first line of each file of a journal. It belongs to no namespace.
///
/// The journal of one run of a host may have several files, its parts: each continues the one
/// before, and they are replayed in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Start {
    /// The run, by a name that no other run has.
    pub run: String,
    /// The number of this part of the run, from 1.
    pub part: u32,
    /// The wall-clock time of the line, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The version of the host.
    pub version: String,
}

impl Start {
    /// The start of a part, at this wall-clock time.
    pub fn new(
        run: impl Into<String>,
        part: u32,
        unix_ms: u64,
        version: impl Into<String>,
    ) -> Self {
        Self {
            run: run.into(),
            part,
            unix_ms,
            version: version.into(),
        }
    }
}

/// The configuration and the state that a namespace began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Opening {
    /// The configuration.
    pub config: Config,
    /// The state that belongs to no connection.
    pub state: HubState,
    /// True when there was an application. It is not in the journal: replay it with
    /// [`Replay::with_gateways`].
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub application: bool,
}

impl Opening {
    /// The opening of a hub with this configuration and state.
    pub const fn new(config: Config, state: HubState) -> Self {
        Self {
            config,
            state,
            application: false,
        }
    }

    /// The same, of a namespace with or without an application.
    #[must_use]
    pub const fn with_application(mut self, application: bool) -> Self {
        self.application = application;
        self
    }
}

/// A line in its serialized form. It is not a flattened enum: serde would buffer that, and raw
/// payloads do not survive buffering.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    at: Timestamp,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    namespace: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<Opening>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Input<'a>>,
}

/// A journal line that cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Not a journal line.
    #[error("not a journal line: {0}")]
    Syntax(String),
    /// An input to a namespace that did not begin.
    #[error("an input to a namespace that the journal did not open before")]
    NotOpen,
    /// A part of a run without the parts before it.
    #[error("this is part {part} of the journal {run}: replay the parts before it first")]
    Part {
        /// The run.
        run: String,
        /// The number of the part.
        part: u32,
    },
}

impl<'a> Entry<'a> {
    /// An entry of the given content.
    pub fn new(at: Timestamp, namespace: impl Into<Cow<'a, str>>, record: Record<'a>) -> Self {
        Self {
            at,
            namespace: namespace.into(),
            record,
        }
    }

    /// The entry as one line of JSON, without the line end.
    pub fn to_line(self) -> String {
        let (start, open, input) = match self.record {
            Record::Start(start) => (Some(start), None, None),
            Record::Open(opening) => (None, Some(opening), None),
            Record::Input(input) => (None, None, Some(input)),
        };
        let line = Line {
            at: self.at,
            namespace: self.namespace,
            start,
            open,
            input,
        };
        // Fails only for maps with non-string keys, which do not occur here.
        let line = serde_json::to_string(&line).unwrap_or_default();
        // Raw JSON is kept unchanged. Line ends in it are only white space, since strings escape
        // theirs.
        line.replace(['\n', '\r'], " ")
    }

    /// Reads one line.
    ///
    /// # Errors
    ///
    /// When the line is not an entry; the error says where it is wrong.
    pub fn parse(line: &'a str) -> Result<Self, JournalError> {
        let line: Line<'a> =
            serde_json::from_str(line).map_err(|fault| JournalError::Syntax(fault.to_string()))?;
        let record = match (line.start, line.open, line.input) {
            (Some(start), None, None) => Record::Start(start),
            (None, Some(opening), None) => Record::Open(opening),
            (None, None, Some(input)) => Record::Input(input),
            _ => {
                let fault = "one of `start`, `open` and `input` must be there";
                return Err(JournalError::Syntax(fault.to_string()));
            }
        };
        Ok(Self::new(line.at, line.namespace, record))
    }
}

/// Replays a journal through applications; with `()` through hubs alone.
///
/// A clone continues from the same line, independently. Work: all state.
#[derive(Clone)]
pub struct Replay<G = ()> {
    apps: BTreeMap<String, App<G>>,
    /// The run that is played, and its last part.
    run: Option<(String, u32)>,
    gateways: Rc<dyn Fn(&str) -> G>,
}

impl Replay {
    /// A replay of a host without applications, before its first line.
    pub fn new() -> Self {
        Self::with_gateways(|_| ())
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self::new()
    }
}

impl<G: Gateway> Replay<G> {
    /// A replay before its first line. Each namespace gets the gateway made for its name, which has
    /// to be the one that the journal was written with.
    pub fn with_gateways(gateways: impl Fn(&str) -> G + 'static) -> Self {
        Self {
            apps: BTreeMap::new(),
            run: None,
            gateways: Rc::new(gateways),
        }
    }

    /// Plays one entry; the commands that follow are appended to `out`. The first part of a run
    /// begins without any namespace.
    ///
    /// # Errors
    ///
    /// When the entry's namespace has not begun, or a part of a run was left out.
    pub fn apply(&mut self, entry: &Entry<'_>, out: &mut Outbox) -> Result<(), JournalError> {
        match &entry.record {
            Record::Start(start) => self.start(start)?,
            Record::Open(Opening { config, state, .. }) => {
                let gateway = (self.gateways)(&entry.namespace);
                let state = state.clone().into();
                // Without connections there is nothing to contradict.
                if let Ok(app) = App::restore(config.clone(), gateway, state, []) {
                    self.apps.insert(entry.namespace.to_string(), app);
                }
            }
            Record::Input(input) => {
                let app = self.apps.get_mut(&*entry.namespace);
                let app = app.ok_or(JournalError::NotOpen)?;
                // The host has seen the result; a replay needs only the commands.
                let _ = app.apply(entry.at, input, out);
                // Work that handlers started is not repeated: its results are entries.
                drop((app.take_work(), app.take_asked(), app.take_cancelled()));
                drop(app.take_send_outcomes());
            }
        }
        Ok(())
    }

    fn start(&mut self, start: &Start) -> Result<(), JournalError> {
        let Start { run, part, .. } = start;
        let next = self.run.as_ref().filter(|(current, _)| current == run);
        match next {
            Some((_, last)) if last + 1 == *part => {}
            _ if *part == 1 => self.apps.clear(),
            _ => {
                let (run, part) = (run.clone(), *part);
                return Err(JournalError::Part { run, part });
            }
        }
        self.run = Some((run.clone(), *part));
        Ok(())
    }

    /// The hub of a namespace, as far as played.
    pub fn hub(&self, namespace: &str) -> Option<&Hub> {
        self.apps.get(namespace).map(App::hub)
    }

    /// All namespaces with their hubs, as far as played, sorted by name.
    pub fn hubs(&self) -> impl Iterator<Item = (&str, &Hub)> {
        let apps = self.apps.iter();
        apps.map(|(name, app)| (name.as_str(), app.hub()))
    }
}

impl<G> fmt::Debug for Replay<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("apps", &self.apps)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use serde_json::value::RawValue;

    use super::*;
    use crate::{Audience, Command, Frame, Handshake};

    #[test]
    fn a_payload_survives_the_journal_on_one_line() {
        let at = Timestamp::ZERO;
        let data: Box<RawValue> =
            serde_json::from_str("[ 1e999,\r\n18446744073709551616 ]").expect("JSON");
        let records = [
            Record::Open(Opening::new(Config::new("e"), HubState::from_serial(3))),
            Record::Input(Input::Connect(Handshake::new())),
            Record::Input(Input::Send {
                key: None,
                audience: Cow::Owned(Audience::all()),
                event: "e".into(),
                path: Some("/p".into()),
                data: Cow::Owned(data),
            }),
        ];
        let (mut replay, mut out) = (Replay::new(), Outbox::new());
        for record in records {
            let line = Entry::new(at, "n", record).to_line();
            assert!(!line.contains(['\n', '\r']), "{line:?}");
            let entry = Entry::parse(&line).expect(&line);
            replay.apply(&entry, &mut out).expect("opened");
        }
        let frames = out.iter().filter_map(|command| match command {
            Command::Send { frame, .. } => Some(frame),
            Command::Close { .. }
            | Command::Ping { .. }
            | Command::Persist { .. }
            | Command::Append { .. }
            | Command::PersistRoom { .. }
            | Command::PersistKey { .. }
            | Command::LoadHistory { .. }
            | Command::Relay(_)
            | Command::Tell { .. } => None,
        });
        let expected = r#"{"event":"e","path":"/p","data":[ 1e999,  18446744073709551616 ]}"#;
        assert_eq!(
            frames.collect::<alloc::vec::Vec<_>>(),
            [Frame::Text(expected)]
        );
        assert_eq!(replay.hub("n").map(|hub| hub.counts().connections), Some(1));
        let names = replay.hubs().map(|(name, _)| name);
        assert_eq!(names.collect::<alloc::vec::Vec<_>>(), ["n"]);
    }

    #[test]
    fn parts_are_played_in_their_order_and_a_run_begins_anew() {
        let start = |run: &str, part| {
            let start = Start::new(run, part, 1_700_000_000_000, "1.0.0");
            let line = Entry::new(Timestamp::ZERO, "", Record::Start(start)).to_line();
            assert!(line.starts_with(r#"{"at":0,"start":{"run":"#), "{line}");
            line
        };
        let open =
            r#"{"at":0,"namespace":"n","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}"#;
        let (mut replay, mut out) = (Replay::new(), Outbox::new());
        let mut play = |line: &str| {
            let played = replay.apply(&Entry::parse(line).expect(line), &mut out);
            (played, replay.hub("n").is_some())
        };
        let left_out = |run: &str, part| {
            let run = run.into();
            Err(JournalError::Part { run, part })
        };
        assert_eq!(play(&start("a", 2)), (left_out("a", 2), false));
        assert_eq!(play(&start("a", 1)), (Ok(()), false));
        assert_eq!(play(open), (Ok(()), true));
        assert_eq!(play(&start("a", 3)), (left_out("a", 3), true));
        assert_eq!(play(&start("a", 2)), (Ok(()), true));
        assert_eq!(play(&start("b", 1)), (Ok(()), false));
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        for line in [
            "",
            "{}",
            r#"{"at":1,"namespace":"n"}"#,
            r#"{"at":1,"namespace":"n","input":"nap"}"#,
        ] {
            assert!(
                matches!(Entry::parse(line), Err(JournalError::Syntax(_))),
                "{line}"
            );
        }
        let entry =
            Entry::parse(r#"{"at":1,"namespace":"n","input":"timeout"}"#).expect("an entry");
        let played = Replay::new().apply(&entry, &mut Outbox::new());
        assert_eq!(played, Err(JournalError::NotOpen));
    }
}
