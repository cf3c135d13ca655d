//! Ops as the lines of a trace.

use std::{fmt, str::FromStr};

use roomcast_core::Event;

use super::{Claim, Op, OpError, Sent, json_string, sent_json};
use crate::{
    Actor, To,
    escape::{escape, expand},
    event::{hex, unhex},
};

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect {
                actor,
                namespace,
                user,
                query,
                headers,
                welcome,
            } => {
                write!(f, "{actor} connects")?;
                let mut option = |name: &str, value: &Option<Box<str>>| match value {
                    Some(value) => write!(f, " {name}{}", word(value)),
                    None => Ok(()),
                };
                option("to ", namespace)?;
                option("as ", user)?;
                option("with ?", query)?;
                for (name, value) in headers {
                    write_header(f, name, value)?;
                }
                f.write_str(if *welcome { " with welcome" } else { "" })
            }
            Self::Authenticate { actor, claim } => write!(f, "{actor} authenticates as {claim}"),
            Self::Withdraw { user } => write!(f, "server withdraws {}", escape(user)),
            Self::Join { actor, .. }
            | Self::Leave { actor, .. }
            | Self::Rooms { actor }
            | Self::Publish { actor, .. } => {
                let text = self.text().unwrap_or_default();
                write!(f, "{actor} sends {}", escape(&text))
            }
            Self::Text { actor, text, times } => {
                write!(f, "{actor} sends ")?;
                if *times != 1 || text.starts_with("binary ") || times_of(text).is_some() {
                    write!(f, "{times} times ")?;
                }
                f.write_str(&escape(text))
            }
            Self::Binary { actor, bytes } => write!(f, "{actor} sends binary {}", hex(bytes)),
            Self::Pong { actor } => write!(f, "{actor} pongs"),
            Self::Disconnect { actor } => write!(f, "{actor} disconnects"),
            Self::Vanish { actor } => write!(f, "{actor} vanishes"),
            Self::Stall { actor } => write!(f, "{actor} stalls"),
            #[rustfmt::skip]
            Self::Read { actor, bytes: Some(bytes) } => write!(f, "{actor} reads {bytes} bytes"),
            Self::Read { actor, bytes: None } => write!(f, "{actor} reads"),
            Self::Send {
                namespace,
                key,
                to,
                event,
                path,
                data,
            } => {
                let event = Event::new(event).with_path(path.as_deref());
                let json = one_line(sent_json(to, event, data));
                let key = key.as_deref().map(escape);
                let key = key.map_or(String::new(), |key| format!(" with key {key}"));
                write!(f, "{}{key} sends {json}", Server(namespace))
            }
            Self::ServerJoin { actor, room } => {
                write!(f, "server joins {actor} to {}", escape(room))
            }
            Self::ServerLeave { actor, room } => {
                write!(f, "server removes {actor} from {}", escape(room))
            }
            Self::Close {
                actor,
                code,
                reason,
            } => write!(f, "server closes {actor} {code} {}", json_string(reason)),
            Self::ListRooms { namespace } => write!(f, "{} lists rooms", Server(namespace)),
            Self::ListConnections { namespace } => {
                write!(f, "{} lists connections", Server(namespace))
            }
            Self::Crash => f.write_str("server crashes"),
            Self::Wait { millis } => write!(f, "time passes: {millis} ms"),
        }
    }
}

/// The server as the subject of a line, with a namespace.
struct Server<'o>(&'o Option<Box<str>>);

impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(namespace) => write!(f, "server in {}", word(namespace)),
            None => f.write_str("server"),
        }
    }
}

/// Makes JSON one line. Actors stay placeholders, unless another text could be taken for one.
fn one_line(json: String) -> String {
    let json = if expand(&json) == json {
        json
    } else {
        escape(&json)
    };
    json.replace('\n', "<U+000A>").replace('\r', "<U+000D>")
}

/// Prints the same line as `Display`, so that a failing story is a list of lines.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Op {
    type Err = OpError;

    fn from_str(line: &str) -> Result<Self, OpError> {
        let op = match line.split_once(' ') {
            Some(("server", rest)) => server(rest),
            Some(("time", rest)) => rest
                .strip_prefix("passes: ")
                .and_then(|rest| rest.strip_suffix(" ms"))
                .and_then(|millis| millis.parse().ok())
                .map(|millis| Self::Wait { millis }),
            Some((name, rest)) if Actor::is_name(name) => client(&Actor::new(name), rest),
            _ => None,
        };
        op.ok_or_else(|| OpError(line.into()))
    }
}

fn client(actor: &Actor, rest: &str) -> Option<Op> {
    let actor = actor.clone();
    if let Some(hex) = rest.strip_prefix("sends binary ") {
        let bytes = unhex(hex)?;
        return Some(Op::Binary { actor, bytes });
    }
    if let Some(text) = rest.strip_prefix("sends ") {
        let (times, text) = times_of(text).unwrap_or((1, text));
        let text = expand(text);
        return Some(Op::Text { actor, text, times });
    }
    match rest {
        "pongs" => return Some(Op::Pong { actor }),
        "disconnects" => return Some(Op::Disconnect { actor }),
        "vanishes" => return Some(Op::Vanish { actor }),
        "stalls" => return Some(Op::Stall { actor }),
        "reads" => return Some(Op::Read { actor, bytes: None }),
        _ => {}
    }
    if let Some(bytes) = rest.strip_prefix("reads ") {
        let bytes = Some(bytes.strip_suffix(" bytes")?.parse().ok()?);
        return Some(Op::Read { actor, bytes });
    }
    if let Some(claim) = rest.strip_prefix("authenticates as ") {
        let claim = Claim::parse(claim)?;
        return Some(Op::Authenticate { actor, claim });
    }
    let mut words = rest.split(' ');
    if words.next() != Some("connects") {
        return None;
    }
    let (mut namespace, mut user, mut welcome) = (None, None, false);
    let (mut query, mut headers) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        let value = words.next()?;
        match (word, value) {
            ("to", _) => namespace = Some(expand(value).into()),
            ("as", _) => user = Some(expand(value).into()),
            ("with", "welcome") => welcome = true,
            ("with", "query") => query.push(expand(words.next()?)),
            ("with", "header") => {
                let (name, value) = words.next()?.split_once('=')?;
                add_header(&mut headers, name, &expand(value));
            }
            ("with", "cookie") => {
                let pair = words.next().filter(|pair| pair.contains('='))?;
                add_header(&mut headers, COOKIE, &expand(pair));
            }
            ("with", _) => query.push(expand(value.strip_prefix('?')?)),
            _ => return None,
        }
    }
    Some(Op::Connect {
        actor,
        namespace,
        user,
        query: (!query.is_empty()).then(|| query.join("&").into()),
        headers,
        welcome,
    })
}

const COOKIE: &str = "cookie";

/// Adds a header field, or a cookie to the existing ones.
fn add_header(headers: &mut Vec<(Box<str>, Box<str>)>, name: &str, value: &str) {
    let cookies = headers.iter_mut().find(|(known, _)| **known == *COOKIE);
    match cookies {
        Some((_, cookies)) if name == COOKIE => *cookies = format!("{cookies}; {value}").into(),
        Some(_) | None => headers.push((name.into(), value.into())),
    }
}

/// Escapes a text as one word of a line.
fn word(text: &str) -> String {
    escape(text).replace(' ', "<U+0020>")
}

fn write_header(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    if name != COOKIE {
        return write!(f, " with header {name}={}", word(value));
    }
    let mut cookies = value.split("; ");
    cookies.try_for_each(|cookie| write!(f, " with cookie {}", word(cookie)))
}

fn server(rest: &str) -> Option<Op> {
    fn actor(name: &str) -> Option<Actor> {
        Actor::is_name(name).then(|| Actor::new(name))
    }
    if rest == "crashes" {
        return Some(Op::Crash);
    }
    let (namespace, rest) = match rest.strip_prefix("in ") {
        Some(rest) => {
            let (namespace, rest) = rest.split_once(' ')?;
            (Some(expand(namespace).into()), rest)
        }
        None => (None, rest),
    };
    let (key, rest) = match rest.strip_prefix("with key ") {
        Some(rest) => {
            let at = rest.find(" sends ")?;
            (Some(expand(&rest[..at]).into()), &rest[at + 1..])
        }
        None => (None, rest),
    };
    let (verb, rest) = rest.split_once(' ')?;
    Some(match verb {
        "sends" => {
            let sent: Sent<To> = serde_json::from_str(&expand(rest)).ok()?;
            Op::Send {
                namespace,
                key,
                to: sent.audience,
                event: sent.event,
                path: sent.path,
                data: sent.data.get().into(),
            }
        }
        "joins" => {
            let (name, room) = rest.split_once(" to ")?;
            let (actor, room) = (actor(name)?, expand(room).into());
            Op::ServerJoin { actor, room }
        }
        "withdraws" => {
            let user = expand(rest).into();
            Op::Withdraw { user }
        }
        "removes" => {
            let (name, room) = rest.split_once(" from ")?;
            let (actor, room) = (actor(name)?, expand(room).into());
            Op::ServerLeave { actor, room }
        }
        "closes" => {
            let (name, rest) = rest.split_once(' ')?;
            let (code, reason) = rest.split_once(' ')?;
            Op::Close {
                actor: actor(name)?,
                code: code.parse().ok()?,
                reason: serde_json::from_str(reason).ok()?,
            }
        }
        "lists" if rest == "rooms" => Op::ListRooms { namespace },
        "lists" if rest == "connections" => Op::ListConnections { namespace },
        _ => return None,
    })
}

/// Parses `3 times TEXT`.
fn times_of(text: &str) -> Option<(u32, &str)> {
    let (times, text) = text.split_once(" times ")?;
    Some((times.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_the_op_it_was_written_from() {
        for line in [
            "alice connects",
            "alice connects to red as ann with welcome",
            "alice connects with ?user=ann&seat=7 with welcome",
            "alice connects with header x-team=a",
            "alice connects with header x-team=a<U+0020>b=c with header x-team=d",
            "alice connects with cookie sid=1",
            r#"alice connects to red as ann with ?a=1 with header x=y with cookie sid="1" with cookie t=u with welcome"#,
            r#"bob sends {"event":"$join","room":"lobby"}"#,
            "bob sends 3 times  x<U+0020>",
            "bob sends 1 times 3 times x",
            "bob sends binary 00ff",
            "bob pongs",
            "bob disconnects",
            "bob vanishes",
            "bob stalls",
            "bob reads",
            "bob reads 7 bytes",
            "server crashes",
            r#"server sends {"audience":{"all":true,"except_conns":["<bob>"]},"event":"e","data":[ 1 ]}"#,
            r#"server in red with key k1 sends {"audience":{"rooms":["a b"]},"event":"e","data":1}"#,
            "server joins bob to a room<U+0007>",
            "server removes bob from lobby",
            r#"server closes bob 4410 "so \"long\"""#,
            "server lists rooms",
            "server in red lists connections",
            "time passes: 25000 ms",
        ] {
            let op: Op = line.parse().expect(line);
            assert_eq!(
                op.to_string().replace("  x", " <U+0020>x"),
                line.replace("  x", " <U+0020>x")
            );
        }
    }

    /// An op is one line, with any text that a property test makes.
    #[test]
    fn no_text_of_an_op_ends_its_line() {
        let text = "a b\n<2 of c>\r d ";
        let connect = Op::Connect {
            actor: "ann".into(),
            namespace: Some(text.into()),
            user: Some(text.into()),
            query: Some(text.into()),
            headers: vec![("x-team".into(), text.into())],
            welcome: true,
        };
        let sends = Op::Send {
            namespace: Some(text.into()),
            key: Some(text.into()),
            to: To::default(),
            event: text.into(),
            path: Some(text.into()),
            data: "[ 1,\n 2 ]".into(),
        };
        let says = Op::Text {
            actor: "ann".into(),
            text: text.into(),
            times: 1,
        };
        let joins = Op::ServerJoin {
            actor: "ann".into(),
            room: text.into(),
        };
        let closes = Op::Close {
            actor: "ann".into(),
            code: 4410,
            reason: text.into(),
        };
        for op in [connect, sends, says, joins, closes] {
            let line = op.to_string();
            assert_eq!(line.lines().count(), 1, "{line}");
            assert_eq!(line.parse::<Op>().as_ref(), Ok(&op), "{line}");
        }
    }

    #[test]
    fn a_query_is_written_in_two_ways_and_cookies_are_one_field() {
        let op: Op = "ann connects with query token=a%20b with query seat=7 with cookie sid=1 with header x-team=a with cookie theme=dark"
            .parse()
            .expect("a line");
        let Op::Connect { query, headers, .. } = &op else {
            panic!("{op}");
        };
        assert_eq!(query.as_deref(), Some("token=a%20b&seat=7"));
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(headers, [("cookie", "sid=1; theme=dark"), ("x-team", "a")]);
        assert_eq!(
            op.to_string(),
            "ann connects with ?token=a%20b&seat=7 with cookie sid=1 with cookie theme=dark with header x-team=a"
        );
    }

    #[test]
    fn other_lines_are_no_ops() {
        for line in [
            "",
            "alice",
            "Alice connects",
            "alice naps",
            "server naps",
            "time flies",
            "alice connects as",
            "alice connects with joy",
            "alice connects with header",
            "alice connects with header x-team",
            "alice connects with cookie sid",
            "alice connects with query",
            "bob sends binary 0",
            "bob reads 7",
            "bob reads x bytes",
            r#"server sends {"audience":{"conns":["17"]},"event":"e","data":1}"#,
        ] {
            assert!(line.parse::<Op>().is_err(), "{line}");
        }
    }
}
