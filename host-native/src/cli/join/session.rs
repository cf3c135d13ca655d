//! The session of one connection, from the welcome to the close.

use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    fmt,
    io::{self, BufRead, StdoutLock, Write},
    pin::pin,
    process::ExitCode,
    thread,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use roomcast_core::wire::Counted;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    select, signal,
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    super::{
        client::{
            failure::{Failure, close_meaning},
            wire::Wire,
        },
        replay::show::one_line,
    },
    line::{Line, Request},
    pace::{Limits, Pace},
};

/// The time that the server may take for its welcome, and for the last answers.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// The time that the server may take to answer a close frame.
const CLOSE_TIME: Duration = Duration::from_secs(5);

pub(super) struct Session {
    socket: WebSocketStream<Wire>,
    rooms: Vec<String>,
    event: String,
    out: StdoutLock<'static>,
    stage: Stage,
    limits: Limits,
    pace: Pace,
    unsent: VecDeque<Request>,
    /// The ids of requests that are not answered yet.
    unanswered: BTreeSet<String>,
    /// True when anything was refused.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server must send its welcome before this time.
    Greeting(Instant),
    Talking,
    /// All messages are sent, and the last answers must arrive before this time.
    Leaving(Instant),
}

/// The reason why a session ends, other than by the user's wish.
enum End {
    /// Standard output cannot be written.
    Output(io::Error),
    /// The session is of no use, and is closed from this side.
    Useless(String),
    /// The connection has ended.
    Closed(String),
}

/// Members of a frame that the session looks at.
#[derive(Deserialize)]
struct Arrived<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    id: Option<Value>,
    data: Option<&'a RawValue>,
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Welcome {
    limits: Limits,
}

impl Session {
    pub(super) fn new(socket: WebSocketStream<Wire>, rooms: Vec<String>, event: String) -> Self {
        let now = Instant::now();
        let limits = Limits::default();
        let mut session = Self {
            socket,
            rooms: Vec::new(),
            event,
            out: io::stdout().lock(),
            stage: Stage::Greeting(now + ANSWER_TIME),
            pace: Pace::new(&limits, now),
            limits,
            unsent: VecDeque::new(),
            unanswered: BTreeSet::new(),
            refused: false,
        };
        for (at, room) in rooms.iter().enumerate() {
            session.enqueue(Request::new("$join", &join_id(at), Some(room), None));
        }
        session.rooms = rooms;
        session
    }

    /// Runs the session until the user, the server or a failure ends it.
    pub(super) async fn run(mut self) -> Result<ExitCode, Failure> {
        let failure = match self.talk().await {
            Ok(()) => None,
            // The reader of the output has seen enough, as in `| head`.
            Err(End::Output(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => None,
            Err(End::Output(fault)) => Some(format!("cannot write: {fault}")),
            Err(End::Useless(text)) => Some(text),
            Err(End::Closed(text)) => {
                // Flushing answers the server's close frame.
                let _ = timeout(CLOSE_TIME, self.socket.flush()).await;
                return Err(Failure::failed(text));
            }
        };
        // If the server does not answer the close, nothing is lost.
        let _ = timeout(CLOSE_TIME, self.close()).await;
        match failure {
            Some(text) => Err(Failure::failed(text)),
            None if self.refused => Ok(ExitCode::FAILURE),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    async fn talk(&mut self) -> Result<(), End> {
        let mut lines = typed();
        let mut interrupt = pin!(signal::ctrl_c());
        let (mut typing, mut number) = (true, 0);
        loop {
            let next = self.unsent.front().map(|request| request.text.len());
            let all_sent = next.is_none();
            match self.stage {
                Stage::Talking if all_sent && !typing => {
                    // Answers come in the order of requests. So this answer comes after the errors
                    // of all lines that have no id.
                    self.enqueue(Request::new("$ping", "end", None, None));
                    self.stage = Stage::Leaving(Instant::now() + ANSWER_TIME);
                    continue;
                }
                Stage::Leaving(_) if all_sent && self.unanswered.is_empty() => return Ok(()),
                Stage::Greeting(_) | Stage::Talking | Stage::Leaving(_) => {}
            }
            let (deadline, timed) = match self.stage {
                Stage::Greeting(at) | Stage::Leaving(at) => (at, true),
                Stage::Talking => (Instant::now(), false),
            };
            let wait = self.pace.wait(Instant::now(), next.unwrap_or_default());
            let greeted = !matches!(self.stage, Stage::Greeting(_));
            select! {
                message = self.socket.next() => self.receive(message)?,
                () = sleep(wait), if greeted && !all_sent => {
                    self.send_next().await;
                }
                line = lines.recv(), if greeted && all_sent && typing => {
                    number += 1;
                    typing = self.read(line, number);
                }
                _ = &mut interrupt => return Ok(()),
                () = sleep_until(deadline), if timed => return Err(self.overdue()),
            }
        }
    }

    fn enqueue(&mut self, request: Request) {
        self.unanswered.extend(request.id.clone());
        self.unsent.push_back(request);
    }

    async fn send_next(&mut self) {
        let Some(request) = self.unsent.pop_front() else {
            return;
        };
        let bytes = request.text.len();
        if let Some(limit) = self.limits.message_bytes.filter(|&limit| bytes > limit) {
            let id = request.id.unwrap_or_default();
            self.unanswered.remove(&id);
            self.refuse(
                &id,
                format_args!("{}, and the server takes {limit}", Counted(bytes, "byte")),
            );
            return;
        }
        self.pace.spend(Instant::now(), bytes);
        // If the connection has ended, the reading side still gets the server's last messages, and
        // then finds the end.
        let _ = self.socket.send(Message::text(request.text)).await;
    }

    /// Takes a typed line; false when it was the last.
    fn read(&mut self, line: Option<io::Result<String>>, number: usize) -> bool {
        match line {
            None => false,
            Some(Err(fault)) => {
                self.refuse(&format!("line-{number}"), fault);
                false
            }
            Some(Ok(line)) => match Line::parse(&line, number, &self.rooms[0], &self.event) {
                Line::Quit => false,
                Line::Empty => true,
                Line::Send(request) => {
                    self.enqueue(request);
                    true
                }
            },
        }
    }

    fn receive(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Text(text))) => {
                writeln!(self.out, "{}", one_line(&text)).map_err(End::Output)?;
                match serde_json::from_str(&text) {
                    Ok(arrived) => self.read_frame(arrived),
                    Err(_) => Ok(()),
                }
            }
            Some(Ok(Message::Close(frame))) => Err(End::Closed(describe(frame.as_ref()))),
            Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => Ok(()),
            Some(Err(fault)) => Err(lost(fault)),
            None => Err(lost("the server ended it")),
        }
    }

    fn read_frame(&mut self, arrived: Arrived<'_>) -> Result<(), End> {
        if arrived.event == "$welcome" {
            let data = arrived.data.map_or("", RawValue::get);
            if let Ok(Welcome { limits }) = serde_json::from_str(data) {
                self.pace = Pace::new(&limits, Instant::now());
                self.limits = limits;
            }
            self.stage = Stage::Talking;
        }
        let id = arrived.id.map(|id| id.to_string());
        if let Some(id) = &id {
            self.unanswered.remove(id);
        }
        let Some(ErrorBody { code, message }) = arrived.error else {
            return Ok(());
        };
        let room = (0..self.rooms.len())
            .find(|&at| id == Some(Value::from(join_id(at)).to_string()))
            .map(|at| &self.rooms[at]);
        if let Some(room) = room {
            let advice = match &*code {
                "unauthorized" => "\n  Give a token: --token, or ROOMCAST_TOKEN",
                _ => "",
            };
            let text = format!("cannot join {room:?}: {code}: {message}{advice}");
            return Err(End::Useless(text));
        }
        let id = id.unwrap_or_default();
        self.refuse(&id, format_args!("{code}: {message}"));
        Ok(())
    }

    /// Reports that a request failed; its id is JSON, or empty.
    fn refuse(&mut self, id: &str, why: impl fmt::Display) {
        self.refused = true;
        match id.trim_matches('"') {
            "" => say!("roomcast: refused: {why}"),
            id => say!("roomcast: {id} refused: {why}"),
        }
    }

    fn overdue(&self) -> End {
        End::Useless(match self.stage {
            Stage::Greeting(_) => {
                "no $welcome within 10 s: is this a Roomcast server? Check --url".to_owned()
            }
            Stage::Talking | Stage::Leaving(_) => {
                let ids: Vec<&str> = self.unanswered.iter().map(String::as_str).collect();
                format!("no answer within 10 s to {}", ids.join(", "))
            }
        })
    }

    /// Closes, and prints the messages that were still in flight.
    async fn close(&mut self) -> Result<(), tungstenite::Error> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.socket.close(Some(frame)).await?;
        while let Some(message) = self.socket.next().await {
            if let Message::Text(text) = message? {
                writeln!(self.out, "{}", one_line(&text))?;
            }
        }
        Ok(())
    }
}

/// The lines of standard input.
fn typed() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    // A separate thread: a blocking thread of the runtime would keep the program from ending until
    // somebody presses Enter.
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let last = line.is_err();
            if sender.blocking_send(line).is_err() || last {
                break;
            }
        }
    });
    receiver
}

fn join_id(at: usize) -> String {
    format!("join-{}", at + 1)
}

fn lost(fault: impl fmt::Display) -> End {
    End::Closed(format!("the connection is lost: {fault}"))
}

fn describe(frame: Option<&CloseFrame>) -> String {
    let Some(frame) = frame else {
        return "the server closed, without a code".to_owned();
    };
    let code = u16::from(frame.code);
    let meaning = close_meaning(code);
    match &*frame.reason {
        "" => format!("the server closed with {code}: {meaning}"),
        reason => format!(
            "the server closed with {code} ({}): {meaning}",
            one_line(reason)
        ),
    }
}
