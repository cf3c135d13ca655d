//! The playing of a journal, line by line.

use std::io::{self, BufRead, Write};

use roomcast_core::{
    Outbox,
    journal::{Entry, Record, Replay},
};

use super::{moment::WallClock, show::Printer};

/// The reason why a journal was not played to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("cannot open {0}: {1}")]
    Open(String, io::Error),
    /// A fault in this file, in this line.
    #[error("{0}, line {1}: {2}")]
    Line(String, usize, anyhow::Error),
    #[error("cannot write: {0}")]
    Output(io::Error),
}

/// An error for a namespace with an application, whose output is not in the journal.
#[derive(Debug, thiserror::Error)]
#[error(
    "the namespace `{0}` has an application, and what that said is not in the journal: replay it in a \
     program with that application, with roomcast_core::journal::Replay::with_gateways, or choose another one \
     with --namespace"
)]
struct HasApplication(String);

#[derive(Debug, thiserror::Error)]
#[error("the journal has no times of day: give milliseconds as in `at` to --since and --until")]
struct NoWallClock;

/// Plays one file after the other.
#[derive(Debug, Default)]
pub(super) struct Player {
    replay: Replay,
    out: Outbox,
    clock: WallClock,
    /// Number of the line, counted over all files.
    number: u64,
}

impl Player {
    /// Plays a file, and prints what the server did on each line. Returns the number of the line in
    /// which the file is cut off, if it is.
    pub(super) fn play(
        &mut self,
        name: &str,
        mut journal: impl BufRead,
        printer: &mut Printer<impl Write>,
    ) -> Result<Option<usize>, Stop> {
        let mut bytes = Vec::new();
        let stop = |line, fault| Stop::Line(name.to_owned(), line, fault);
        for line in 1.. {
            bytes.clear();
            let read = journal.read_until(b'\n', &mut bytes);
            if read.map_err(|fault| stop(line, fault.into()))? == 0 {
                break;
            }
            let ended = bytes.pop_if(|byte| *byte == b'\n').is_some();
            let entry = str::from_utf8(&bytes)
                .map_err(anyhow::Error::from)
                .and_then(|line| Entry::parse(line).map_err(Into::into));
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) if !ended => return Ok(Some(line)),
                Err(fault) => return Err(stop(line, fault)),
            };
            let shown = self.apply(&entry, printer);
            let shown = shown.map_err(|fault| stop(line, fault))?;
            if shown {
                let (number, clock) = (self.number, self.clock);
                let printed = printer.print(number, clock, &entry, &self.out);
                printed.map_err(Stop::Output)?;
            }
        }
        Ok(None)
    }

    /// Plays an entry; true when it is in the time range to print.
    fn apply(&mut self, entry: &Entry<'_>, printer: &Printer<impl Write>) -> anyhow::Result<bool> {
        self.number += 1;
        self.out.clear();
        if let Record::Open(opening) = &entry.record
            && opening.application
            && printer.filter.is_in_namespace(&entry.namespace)
        {
            return Err(HasApplication(entry.namespace.clone().into()).into());
        }
        if let Record::Start(start) = &entry.record {
            self.clock = WallClock::of(entry.at, start);
        }
        self.replay.apply(entry, &mut self.out)?;
        let in_time = printer.filter.is_in_time(self.clock, entry.at);
        Ok(in_time.ok_or(NoWallClock)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::show::Filter, *};

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

    fn print(journal: &str, filter: Filter) -> (String, Option<usize>) {
        let mut printer = Printer::new(Vec::new(), filter);
        let end = Player::default().play("j", journal.as_bytes(), &mut printer);
        (
            String::from_utf8(printer.into_inner()).unwrap(),
            end.unwrap(),
        )
    }

    fn of_namespace(namespace: &str) -> Filter {
        Filter {
            namespace: Some(namespace.into()),
            ..Filter::default()
        }
    }

    fn of_conn(conn: &str) -> Filter {
        Filter {
            conn: Some(conn.parse().unwrap()),
            ..Filter::default()
        }
    }

    /// The same journal, where this namespace has one.
    fn with_application(namespace: &str) -> String {
        let open = format!(r#""namespace":"{namespace}","open":{{"#);
        JOURNAL.replacen(&open, &format!(r#"{open}"application":true,"#), 1)
    }

    #[test]
    fn a_namespace_without_an_application_replays_beside_one() {
        let whole = print(JOURNAL, of_namespace("a"));
        assert_eq!(print(&with_application("b"), of_namespace("a")), whole);
    }

    /// Lines have times, and commands the number of the input that led to them.
    #[test]
    fn every_input_and_every_command_is_a_line() {
        let expected = [
            "0 a 1 open e",
            "0 b 2 open e",
            r#"1 a 3 input {"connect":{"welcome":false}}"#,
            r#"1 a 4 input {"connect":{"welcome":false}}"#,
            r#"1 b 5 input {"connect":{"welcome":false}}"#,
            r#"2 a 6 input {"send":{"audience":{"all":true},"event":"e","data":[1,2]}}"#,
            r#"2 a 6 send 0,1048577 {"event":"e","data":[1,2]}"#,
            r#"3 b 7 input {"text":{"conn":"7340032","text":"{\"event\":\"$ping\"}"}}"#,
            r#"3 b 7 send 7340032 {"event":"$pong"}"#,
            r#"4 a 8 input {"close":{"conn":"1048577","code":4410,"reason":"a\nb"}}"#,
            r#"4 a 8 send 1048577 {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
            r"4 a 8 close 1048577 4410 a\nb",
            r#"25001 a 9 input "timeout""#,
            "25001 a 9 ping 0",
        ];
        let expected = expected.map(|line| line.replace(' ', "\t") + "\n");
        let whole = (expected.concat(), None);
        assert_eq!(print(JOURNAL, Filter::default()), whole);
        let (only_b, _) = print(JOURNAL, of_namespace("b"));
        let of_b = expected.iter().filter(|line| line.contains("\tb\t"));
        assert_eq!(only_b, of_b.cloned().collect::<String>());
        let (sent, _) = print(JOURNAL, of_conn("0"));
        assert_eq!(sent, "{\"event\":\"e\",\"data\":[1,2]}\n");
        let nothing = Filter {
            namespace: Some("b".into()),
            ..of_conn("0")
        };
        assert_eq!(print(JOURNAL, nothing).0, "");
    }

    #[test]
    fn only_the_time_that_was_asked_for_is_printed() {
        let within = |since: &str, until: &str| {
            let filter = Filter {
                since: Some(since.parse().unwrap()),
                until: Some(until.parse().unwrap()),
                ..Filter::default()
            };
            let (text, _) = print(JOURNAL, filter);
            let times = text.lines().map(|line| line.split('\t').next().unwrap());
            let mut times: Vec<u64> = times.map(|time| time.parse().unwrap()).collect();
            times.dedup();
            times
        };
        assert_eq!(within("2", "4"), [2, 3]);
        assert_eq!(within("4", "99999"), [4, 25_001]);
        let filter = Filter {
            since: Some("2026-07-13T10:15:00Z".parse().unwrap()),
            ..Filter::default()
        };
        let mut printer = Printer::new(Vec::new(), filter);
        let played = Player::default().play("j", JOURNAL.as_bytes(), &mut printer);
        assert!(matches!(played, Err(Stop::Line(_, 1, _))), "{played:?}");
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        for cut in 1..46 {
            let cut_off = &JOURNAL[..JOURNAL.len() - 1 - cut];
            let (text, end) = print(cut_off, of_namespace("a"));
            let lines = text.lines().count();
            assert_eq!((lines, end), (8, Some(9)), "{cut}");
        }
        let (text, end) = print(JOURNAL.trim_end(), of_namespace("a"));
        assert_eq!((text.lines().count(), end), (10, None));
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
            let mut printer = Printer::new(Vec::new(), Filter::default());
            match Player::default().play("j", journal.as_bytes(), &mut printer) {
                Err(Stop::Line(_, line, fault)) => {
                    assert_eq!(line, number);
                    assert!(fault.to_string().contains(says), "{fault}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
