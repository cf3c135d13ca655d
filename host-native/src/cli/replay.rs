//! `roomcast replay`: what a recorded server said, said again by the same core.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use roomcast_core::{Command, ConnId, Entry, Frame, Outbox, Record, Replay};

use super::send::endpoint::{Failure, namespace};

const AFTER_HELP: &str = "\
One line for each thing that the server did, its columns separated by tabs:
  NAMESPACE  send   CONN,CONN,...  FRAME
  NAMESPACE  close  CONN  CODE  REASON
  NAMESPACE  ping   CONN
A line break inside of a frame or a reason is printed as a space.

Examples:
  roomcast serve --record journal.jsonl
  roomcast replay journal.jsonl | grep '\"room\":\"lobby\"'
  roomcast replay journal.jsonl --namespace default --conn 1048577
  zcat journal.jsonl.gz | roomcast replay -

It replays rooms. A namespace with an application of yours (a gateway) is refused, for what it said is
not in the journal: a program of yours replays it with roomcast_core::Replay::with_gateways, or leave
it out with --namespace.

The last line may be cut off, as by a crash or a full disk: that is a warning. Any other line that
does not fit is an error.

Exit codes: 0 replayed, 1 not readable, no journal or one with an application, 2 wrong usage.";

/// Replay a journal of `roomcast serve --record FILE`, and print what the server sent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// The journal; `-` is standard input
    file: PathBuf,
    /// Print only the frames that this connection received, one per line; ids are given out per
    /// namespace, so add --namespace when the journal has several
    #[arg(long, value_name = "ID")]
    conn: Option<ConnId>,
    /// Print only what this namespace did
    #[arg(long, value_parser = namespace)]
    namespace: Option<String>,
}

/// Replays, and prints.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display().to_string();
    match replay(args) {
        Ok(End::Whole) => {}
        Ok(End::Truncated(line)) => {
            eprintln!(
                "roomcast: warning: {name}, line {line} is cut off: all before it was replayed"
            );
        }
        // As in `| head`: whoever reads has enough.
        Err(Stop::Output(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Stop::Output(fault)) => {
            return Ok(Failure::failed(format_args!("cannot write: {fault}")).report());
        }
        Err(Stop::Open(fault)) => {
            return Ok(Failure::failed(format_args!("cannot open {name}: {fault}")).report());
        }
        Err(Stop::Line(line, fault)) => {
            return Ok(Failure::failed(format_args!("{name}, line {line}: {fault}")).report());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(args: ReplayArgs) -> Result<End, Stop> {
    let journal: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file).map_err(Stop::Open)?;
        Box::new(BufReader::new(file))
    };
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        conn: args.conn,
        namespace: args.namespace.clone(),
    };
    let only = args.namespace.as_deref();
    let played = play(journal, only, |namespace, out| {
        printer.print(namespace, out)
    });
    // Also before an error: what was replayed up to there is worth seeing.
    printer.out.flush().map_err(Stop::Output)?;
    played
}

/// How a journal ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// In the middle of this line.
    Truncated(usize),
}

/// Why a journal is not read to its end.
#[derive(Debug)]
enum Stop {
    Open(io::Error),
    Line(usize, anyhow::Error),
    Output(io::Error),
}

/// A namespace whose frames nobody has but its application.
#[derive(Debug, thiserror::Error)]
#[error(
    "the namespace `{0}` has an application, and what that said is not in the journal: replay it in a \
     program with that application, with roomcast_core::Replay::with_gateways, or choose another one \
     with --namespace"
)]
struct HasApplication(String);

/// Replays line by line, and shows what each made the server do.
fn play(
    mut journal: impl BufRead,
    only: Option<&str>,
    mut show: impl FnMut(&str, &Outbox) -> io::Result<()>,
) -> Result<End, Stop> {
    let (mut replay, mut out, mut bytes) = (Replay::new(), Outbox::new(), Vec::new());
    for number in 1.. {
        bytes.clear();
        let read = journal.read_until(b'\n', &mut bytes);
        if read.map_err(|fault| Stop::Line(number, fault.into()))? == 0 {
            break;
        }
        let ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
        let entry = str::from_utf8(&bytes)
            .map_err(anyhow::Error::from)
            .and_then(|line| Entry::parse(line).map_err(Into::into));
        let entry = match entry {
            Ok(entry) => entry,
            Err(_) if !ended => return Ok(End::Truncated(number)),
            Err(fault) => return Err(Stop::Line(number, fault)),
        };
        if let Record::Open(opening) = &entry.record
            && opening.application
            && only.is_none_or(|only| only == entry.namespace)
        {
            let fault = HasApplication(entry.namespace.into());
            return Err(Stop::Line(number, fault.into()));
        }
        let applied = replay.apply(&entry, &mut out);
        applied.map_err(|fault| Stop::Line(number, fault.into()))?;
        show(&entry.namespace, &out).map_err(Stop::Output)?;
        out.clear();
    }
    Ok(End::Whole)
}

struct Printer<W> {
    out: W,
    conn: Option<ConnId>,
    namespace: Option<String>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, namespace: &str, commands: &Outbox) -> io::Result<()> {
        if self
            .namespace
            .as_deref()
            .is_some_and(|only| only != namespace)
        {
            return Ok(());
        }
        for command in commands {
            match (command, self.conn) {
                (Command::Send { to, frame, .. }, Some(conn)) => {
                    if to.binary_search(&conn).is_ok() {
                        // As it was sent, line breaks in its payload included.
                        self.out.write_all(frame.as_bytes())?;
                        self.out.write_all(b"\n")?;
                    }
                }
                (Command::Send { to, frame, .. }, None) => {
                    write!(self.out, "{namespace}\tsend\t")?;
                    for (at, conn) in to.iter().enumerate() {
                        let comma = if at > 0 { "," } else { "" };
                        write!(self.out, "{comma}{conn}")?;
                    }
                    writeln!(self.out, "\t{}", text(frame))?;
                }
                (Command::Close { conn, code, reason }, None) => {
                    let reason = one_line(reason);
                    writeln!(self.out, "{namespace}\tclose\t{conn}\t{code}\t{reason}")?;
                }
                (Command::Ping { conn }, None) => {
                    writeln!(self.out, "{namespace}\tping\t{conn}")?;
                }
                (Command::Close { .. } | Command::Ping { .. }, Some(_)) => {}
                // Only hosts that sleep, or keep histories, do anything about it.
                (
                    Command::Persist { .. }
                    | Command::Append { .. }
                    | Command::PersistRoom { .. }
                    | Command::Recall { .. },
                    _,
                ) => {}
            }
        }
        Ok(())
    }
}

fn text(frame: Frame<'_>) -> Cow<'_, str> {
    match frame {
        Frame::Text(text) => one_line(text),
        Frame::Binary(bytes) => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// A frame as one line. A payload passes through with the white space it came with, line breaks
/// between its tokens among it; there, and JSON has them nowhere else, a space means the same.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], " ").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: &str = concat!(
        r#"{"at":0,"namespace":"a","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}"#,
        "\n",
        r#"{"at":0,"namespace":"b","open":{"config":{"epoch":"e"},"state":{"next_serial":7}}}"#,
        "\n",
        r#"{"at":1,"namespace":"a","input":{"connect":{}}}"#,
        "\n",
        r#"{"at":1,"namespace":"a","input":{"connect":{}}}"#,
        "\n",
        r#"{"at":1,"namespace":"b","input":{"connect":{}}}"#,
        "\n",
        r#"{"at":2,"namespace":"a","input":{"send":{"audience":{"all":true},"event":"e","data":[1,2]}}}"#,
        "\n",
        r#"{"at":3,"namespace":"b","input":{"text":{"conn":"7340032","text":"{\"event\":\"$ping\"}"}}}"#,
        "\n",
        r#"{"at":4,"namespace":"a","input":{"close":{"conn":"1048577","code":4410,"reason":"a\nb"}}}"#,
        "\n",
        r#"{"at":25001,"namespace":"a","input":"timeout"}"#,
        "\n",
    );

    fn print(journal: &str, conn: Option<&str>, namespace: Option<&str>) -> (String, End) {
        let mut printer = Printer {
            out: Vec::new(),
            conn: conn.map(|conn| conn.parse().unwrap()),
            namespace: namespace.map(Into::into),
        };
        let show = |namespace: &str, out: &Outbox| printer.print(namespace, out);
        let end = play(journal.as_bytes(), namespace, show).unwrap();
        (String::from_utf8(printer.out).unwrap(), end)
    }

    /// The same journal, where this namespace has one.
    fn with_application(namespace: &str) -> String {
        let open = format!(r#""namespace":"{namespace}","open":{{"#);
        JOURNAL.replacen(&open, &format!(r#"{open}"application":true,"#), 1)
    }

    #[test]
    fn a_namespace_without_an_application_replays_beside_one() {
        let whole = print(JOURNAL, None, Some("a"));
        assert_eq!(print(&with_application("b"), None, Some("a")), whole);
    }

    #[test]
    fn every_command_is_a_line() {
        let expected = [
            r#"a send 0,1048577 {"event":"e","data":[1,2]}"#,
            r#"b send 7340032 {"event":"$pong"}"#,
            r#"a send 1048577 {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
            "a close 1048577 4410 a~b",
            "a ping 0",
        ];
        let expected = expected.map(|line| line.replace(' ', "\t").replace('~', " ") + "\n");
        assert_eq!(print(JOURNAL, None, None), (expected.concat(), End::Whole));
        let (only_b, _) = print(JOURNAL, None, Some("b"));
        assert_eq!(only_b, expected[1]);
        let (received, _) = print(JOURNAL, Some("0"), None);
        assert_eq!(received, "{\"event\":\"e\",\"data\":[1,2]}\n");
        assert_eq!(print(JOURNAL, Some("0"), Some("b")).0, "");
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        for cut in 1..46 {
            let (text, end) = print(&JOURNAL[..JOURNAL.len() - 1 - cut], None, Some("a"));
            let lines = text.lines().count();
            assert_eq!((lines, end), (3, End::Truncated(9)), "{cut}");
        }
        let (text, end) = print(JOURNAL.trim_end(), None, Some("a"));
        assert_eq!((text.lines().count(), end), (4, End::Whole));
    }

    #[test]
    fn any_other_bad_line_is_an_error_with_its_number() {
        let (first, rest) = JOURNAL.split_once('\n').unwrap();
        for (journal, number, says) in [
            (
                JOURNAL.replacen(r#""at":2,"#, "", 1),
                6,
                "missing field `at`",
            ),
            (format!("{first}\n\n{rest}"), 2, "not a journal line"),
            (rest.to_owned(), 2, "did not open"),
            (
                with_application("b"),
                2,
                "`b` has an application, and what that said is not in the journal",
            ),
        ] {
            match play(journal.as_bytes(), None, |_, _| Ok(())) {
                Err(Stop::Line(line, fault)) => {
                    assert_eq!(line, number);
                    assert!(fault.to_string().contains(says), "{fault}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_frame_stays_one_line() {
        assert_eq!(one_line("[1,\r\n2]"), "[1,  2]");
        assert!(matches!(one_line("[1]"), Cow::Borrowed("[1]")));
    }
}
