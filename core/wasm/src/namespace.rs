//! A namespace, with the buffers that it shares with JavaScript.

use roomcast_core::{
    App, Applied, CloseCode, ConnId, DisconnectReason, Hub, Input, Outbox, Timestamp,
    ask::{Ask, Asked},
    wire::AuthRequest,
};
use serde::de::DeserializeOwned;

use crate::{
    answer, api,
    identity::{Authentication, Caller},
    layout::{Layout, address},
    options::{self, OptionsError},
    tape,
};

/// A namespace: a hub, its commands, and the buffers for inputs and answers.
///
/// Every input invalidates the tape, the frames and the answer of the previous one.
#[derive(Debug)]
pub struct Namespace {
    app: App<()>,
    out: Outbox,
    tape: Vec<f64>,
    /// Bytes that JavaScript writes. The vector has its full length, so that all may be written.
    input: Vec<u8>,
    answer: String,
    /// At a fixed address while the namespace lives.
    layout: Box<Layout>,
}

/// The result of an input without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Done = 0,
    /// No such connection; nothing changed.
    UnknownConn = 1,
    /// The text is not UTF-8; nothing changed.
    Utf8 = 2,
    /// The message asks to authenticate its sender, and was not applied: the answer is
    /// `{"token":"...","text":"..."}`.
    Authenticate = 3,
}

/// The bytes of the buffer that are kept between inputs: enough for nearly all inputs.
const INPUT_BYTES_KEPT: usize = 64 << 10;

/// A namespace that answers requests.
struct Asking<'a> {
    app: &'a mut App<()>,
    out: &'a mut Outbox,
    now: Timestamp,
}

impl Asked for Asking<'_> {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.app.hub())
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(self.now, input, self.out)
    }
}

impl Namespace {
    /// A namespace without connections; with options in JSON.
    ///
    /// # Errors
    ///
    /// When an option is not valid.
    pub fn new(options: &str) -> Result<Self, OptionsError> {
        let mut namespace = Self {
            app: App::new(options::read(options)?, ()),
            out: Outbox::new(),
            tape: Vec::new(),
            input: Vec::new(),
            answer: String::new(),
            layout: Box::new(Layout::new()),
        };
        namespace.reserve(INPUT_BYTES_KEPT);
        Ok(namespace)
    }

    /// The addresses of the buffers.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes room for an input of this number of bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.input.resize(bytes.max(self.input.len()), 0);
        self.point();
    }

    /// Applies a message of this number of bytes. With `tokens`, a message that brings a token is
    /// not applied, but answered with `Status::Authenticate`.
    pub fn receive(
        &mut self,
        conn: f64,
        bytes: usize,
        is_binary: bool,
        tokens: bool,
        now: f64,
    ) -> Status {
        self.begin();
        let Some(conn) = id(conn) else {
            return Status::UnknownConn;
        };
        let bytes = self.input.get(..bytes).unwrap_or_default();
        let input = if is_binary {
            Input::Binary {
                conn,
                bytes: bytes.into(),
            }
        } else {
            let Ok(text) = str::from_utf8(bytes) else {
                return Status::Utf8;
            };
            if tokens && let Some(request) = AuthRequest::find(text) {
                let token = request.token.unwrap_or_default();
                let asks = serde_json::json!({ "token": token, "text": request.rest });
                self.answer = asks.to_string();
                self.point();
                return Status::Authenticate;
            }
            let text = text.into();
            Input::Text { conn, text }
        };
        let applied = self.app.apply(time(now), &input, &mut self.out);
        self.end();
        status(&applied)
    }

    /// Notes a sign of life of a connection, such as a pong.
    pub fn note_activity(&mut self, conn: f64, now: f64) -> Status {
        let input = id(conn).map(Input::Activity);
        self.give(input, now)
    }

    /// Ends a connection whose socket was closed, with the code of its close frame; 1006 when there
    /// was none.
    pub fn disconnect(&mut self, conn: f64, code: u16, now: f64) -> Status {
        let reason = match code {
            1006 => DisconnectReason::Lost,
            code => DisconnectReason::Client(CloseCode::new(code)),
        };
        let input = id(conn).map(|conn| Input::Disconnect { conn, reason });
        self.give(input, now)
    }

    /// Handles deadlines, when the `next_timeout` of the layout has come.
    pub fn timeout(&mut self, now: f64) {
        self.give(Some(Input::Timeout), now);
    }

    /// Opens a connection of the client that this number of bytes of JSON describes. The answer is
    /// its id.
    pub fn connect(&mut self, bytes: usize, now: f64) {
        self.with_json(bytes, now, |asking, caller: Caller, text| {
            match caller.connect() {
                Ok(input) => answer::applied(text, asking.apply(&input)),
                Err(fault) => answer::bad_input(text, &fault.to_string()),
            }
        });
    }

    /// Applies the verified token of a client, given as this number of bytes of JSON.
    pub fn authenticate(&mut self, bytes: usize, now: f64) {
        self.with_json(bytes, now, |asking, shown: Authentication, text| {
            answer::applied(text, asking.apply(&shown.input()));
        });
    }

    /// Applies an input that is this number of bytes of JSON, as in a journal. The answer is its
    /// result.
    pub fn apply(&mut self, bytes: usize, now: f64) {
        self.with_json(bytes, now, |asking, input: Input<'static>, text| {
            answer::applied(text, asking.apply(&input));
        });
    }

    /// Answers a request that is this number of bytes of JSON: see [`Ask`].
    pub fn ask(&mut self, bytes: usize, now: f64) {
        self.with_json(bytes, now, |asking, ask: Ask, text| {
            answer::result(text, ask.run(asking.now, asking));
        });
    }

    /// Answers a request of the HTTP API that is this number of bytes of JSON.
    pub fn api(&mut self, bytes: usize, now: f64) {
        self.with_json(bytes, now, |asking, request: api::ApiRequest, text| {
            let limits = asking.app.hub().limits().clone();
            answer::ok(text, &request.answer(&limits, asking.now, asking));
        });
    }

    fn with_json<T: DeserializeOwned>(
        &mut self,
        bytes: usize,
        now: f64,
        act: impl FnOnce(&mut Asking<'_>, T, &mut String),
    ) {
        self.begin();
        let Self {
            app, out, input, ..
        } = self;
        let mut text = std::mem::take(&mut self.answer);
        let bytes = input.get(..bytes).unwrap_or_default();
        match serde_json::from_slice(bytes) {
            Ok(value) => {
                let now = time(now);
                act(&mut Asking { app, out, now }, value, &mut text);
            }
            Err(fault) => answer::bad_input(&mut text, &fault.to_string()),
        }
        self.answer = text;
        self.end();
    }

    fn give(&mut self, input: Option<Input<'_>>, now: f64) -> Status {
        self.begin();
        let Some(input) = input else {
            return Status::UnknownConn;
        };
        let applied = self.app.apply(time(now), &input, &mut self.out);
        self.end();
        status(&applied)
    }

    fn begin(&mut self) {
        self.out.clear();
        self.tape.clear();
        self.answer.clear();
        self.layout.tape_len = 0.0;
        self.layout.answer_len = 0.0;
    }

    fn end(&mut self) {
        tape::write(&mut self.tape, &self.out);
        let next = self.app.next_timeout();
        let next = next.map(|at| at.as_millis() as f64);
        self.layout.next_timeout = next.unwrap_or(f64::INFINITY);
        if self.input.len() > INPUT_BYTES_KEPT {
            self.input.truncate(INPUT_BYTES_KEPT);
            self.input.shrink_to_fit();
        }
        self.point();
    }

    fn point(&mut self) {
        let layout = &mut *self.layout;
        layout.tape = address(self.tape.as_ptr());
        layout.tape_len = self.tape.len() as f64;
        layout.answer = address(self.answer.as_ptr());
        layout.answer_len = self.answer.len() as f64;
        layout.input = address(self.input.as_ptr());
        layout.input_len = self.input.len() as f64;
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // the others have answers
const fn status(applied: &Applied) -> Status {
    match applied {
        Applied::UnknownConn(_) => Status::UnknownConn,
        _ => Status::Done,
    }
}

/// The connection with this id; `None` for a number that is not an id.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // compared
fn id(number: f64) -> Option<ConnId> {
    let whole = number as u64;
    let is_whole = whole as f64 == number;
    is_whole.then(|| ConnId::from_u64(whole).ok())?
}

/// The time of a JavaScript clock, in milliseconds. A negative number, or none, becomes 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it saturates
fn time(millis: f64) -> Timestamp {
    Timestamp::from_millis(millis as u64)
}
