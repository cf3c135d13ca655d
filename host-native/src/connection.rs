//! The task of one WebSocket connection, which reads until it ends.

mod auth;
mod place;

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, ConnId, DisconnectReason, Frame, Handshake, Input, Timestamp, queue::Pushed,
    queue::Tag,
};
use roomcast_http::{Reason, TokenRefusal};
use tokio::io::ReadBuf;

use self::{
    auth::{Held, Verified},
    place::{Over, Place},
};
use crate::{
    clock::patience,
    metrics::CloseLabel,
    namespace::refusal::Refusal,
    settings::Settings,
    shard::{Home, Shard},
    shared::permits::Permit,
    socket::{Address, Socket, Stage},
    tls::Transport,
    ws::{self, Decoder, Event, Guards},
};

/// Reads in a row before other connections get their turn.
const READS_MAX: usize = 4;
/// The size of a read that marks a bulk sender: its next read waits for the output of this one.
const BULK_BYTES: usize = 16 * 1024;
/// The maximum number of bytes that are read from a peer after the close frame was queued. Data in
/// flight has to be read, or the peer may lose the close frame. A flood then stays in the peer's
/// own buffers until it is cut off.
const UNHEARD_BYTES_MAX: u32 = 1024 * 1024;

/// A connection whose upgrade is granted.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) namespace: Arc<str>,
    pub(crate) handshake: Handshake,
    pub(crate) permit: Permit,
    /// True when messages are in a format of the application: none of them is an `$auth`.
    pub(crate) raw: bool,
}

/// A connection that has switched from HTTP to WebSocket.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) stream: Transport,
    /// The response to the upgrade request, if it is not written yet. It is sent together with the
    /// first frame, if there is one at once: a write costs as much as the rest of a handshake.
    pub(crate) answer: Bytes,
    /// Bytes that arrived after the request.
    pub(crate) early: Bytes,
}

/// Serves an upgraded connection until it ends.
///
/// Futures that an open connection no longer needs are boxed: a task has the size of the largest
/// future that it ever awaits.
pub(crate) async fn serve(shard: Rc<Shard>, switched: Switched, upgraded: Box<Upgraded>) {
    let Switched {
        stream,
        answer,
        early,
    } = switched;
    let Upgraded {
        namespace,
        handshake,
        permit,
        raw,
    } = *upgraded;
    let unidentified = handshake.unidentified;
    let (stream, tls) = stream.into_parts();
    let socket = shard.egress.add_socket(stream, tls);
    if !answer.is_empty() {
        // The first item in an empty queue never exceeds its limit.
        let _ = shard
            .egress
            .push(&socket, shard.now(), answer, 0, Tag::Control);
    }
    let entered = Box::pin(enter(&shard, &socket, namespace, handshake)).await;
    let (home, conn) = match entered {
        Ok(entered) => entered,
        Err(refusal) => {
            Box::pin(refuse(&shard, &socket, &refusal)).await;
            shard.egress.remove_socket(socket.key);
            drop(permit);
            return;
        }
    };
    let mut connection = Connection {
        shard,
        socket,
        home,
        conn,
        decoder: Decoder::default(),
        place: Place::new(permit, raw, unidentified),
        held: None,
        deaf: false,
        unheard_bytes: 0,
        bulk: false,
        half_closed: false,
        is_close_answered: false,
        ended: false,
        end: DisconnectReason::Lost,
    };
    if !early.is_empty()
        && let Some(decoded) = connection.decode(&mut early.to_vec())
    {
        connection.after_read(decoded);
    }
    // Even empty, it would keep the HTTP read buffer alive as long as the connection.
    drop(early);
    poll_fn(|cx| connection.poll(cx)).await;
}

/// Adds the connection to its hub.
async fn enter(
    shard: &Rc<Shard>,
    socket: &Rc<Socket>,
    namespace: Arc<str>,
    handshake: Handshake,
) -> Result<(Home, ConnId), Refusal> {
    let (home, conn) = shard.enter(socket, namespace, handshake).await?;
    socket.set_address(Address {
        shard: home.shard(shard),
        namespace: home.namespace().clone(),
        conn,
    });
    shard.metrics().opened.add(1);
    Ok((home, conn))
}

/// Refuses a connection whose upgrade was granted: the server has become full since, or the
/// application does not want it. The client is sent the reason.
async fn refuse(shard: &Rc<Shard>, socket: &Rc<Socket>, refusal: &Refusal) {
    match refusal.counted {
        Some(Reason::TokenWithdrawn) => shard.egress.tell_token(&TokenRefusal::Withdrawn),
        Some(reason) => shard.egress.tell_refusal(reason),
        None => {}
    }
    let now = shard.now();
    if let Some(text) = &refusal.frame {
        // A queue with one frame in it is not over its limit.
        let _ = socket.push(now, ws::message(Frame::Text(text)), 1, Tag::Control, |_| ());
    }
    socket.close(now, refusal.code, refusal.reason());
    socket.flush(now);
    // Nothing more is sent: after the end of the stream both sides can close at once.
    socket.half_close();
    let mut sink = [0; 512];
    let until_end = poll_fn(|cx| {
        loop {
            let mut read = ReadBuf::new(&mut sink);
            if ready!(socket.poll_read(cx, &mut read)).is_err() || read.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    });
    let _ = patience::within(shard.shared.settings.close_wait, until_end).await;
}

const fn guards(settings: &Settings) -> Guards {
    Guards {
        message_bytes_max: settings.hub.message_bytes,
        fragments_max: settings.fragments_max,
        control: settings.control,
        framing: settings.framing_bytes,
    }
}

// Both exist for as long as the connection is open. In a program with a multi-threaded runtime the
// stream is 8 bytes larger.
const _: () = assert!(size_of::<Connection>() <= 160 && size_of::<Socket>() <= 336);

struct Connection {
    shard: Rc<Shard>,
    socket: Rc<Socket>,
    home: Home,
    conn: ConnId,
    decoder: Decoder,
    place: Place,
    /// A message whose token is being verified: nothing is read meanwhile.
    held: Option<Box<Held>>,
    /// True after a framing error: the bytes that follow have no meaning.
    deaf: bool,
    /// Bytes that were read since then, or since this side began to close.
    unheard_bytes: u32,
    /// True when the last read was a large one.
    bulk: bool,
    half_closed: bool,
    /// True when the peer sends nothing more: a close frame or the end of its stream was read.
    is_close_answered: bool,
    /// True when the peer's stream has ended: there is nothing left to read.
    ended: bool,
    end: DisconnectReason,
}

/// The result of decoding one read.
struct Decoded {
    now: Timestamp,
    is_metered: bool,
    messages: usize,
    closed: Option<(Option<CloseCode>, Box<[u8]>)>,
    held: Option<Box<Held>>,
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.socket.blocked_since().is_some() {
            // Queued frames may be writable again.
            self.shard.egress.commit();
        }
        if self.socket.poll_unblock(self.shard.now(), cx).is_err() {
            return Poll::Ready(());
        }
        let shard = self.shard.clone();
        for _ in 0..READS_MAX {
            if self.socket.is_over_with() {
                return Poll::Ready(());
            }
            let told = self.socket.stage() != Stage::Open && self.socket.is_flushed();
            if self.deaf && told && !self.half_closed {
                // The peer's close frame could not be decoded: the half-close shows it the end of
                // the stream.
                self.half_closed = true;
                self.socket.half_close();
            }
            if let Some(held) = &mut self.held {
                match held.verified.as_mut().poll(cx) {
                    Poll::Ready(verified) => self.release(verified),
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            if self.ended || self.unheard_bytes > UNHEARD_BYTES_MAX {
                // The remaining work wakes the task.
                return Poll::Pending;
            }
            if shard.egress.must_wait(self.home.shard(&shard), cx)
                || self.bulk && shard.egress.is_behind(cx)
            {
                return Poll::Pending;
            }
            let buffer = &mut *shard.read_buffer.borrow_mut();
            let mut filled = ReadBuf::new(buffer);
            match self.socket.poll_read(cx, &mut filled) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            let count = filled.filled().len();
            if count == 0 {
                self.ended = true;
                // A peer may end its stream and still read: its earlier requests are answered.
                self.answer_close(None, Box::default());
                continue;
            }
            if let Some(decoded) = self.decode(&mut buffer[..count]) {
                self.after_read(decoded);
            }
            self.bulk = count >= BULK_BYTES;
            if self.socket.blocked_since().is_some() {
                shard.egress.commit();
                if self.socket.poll_unblock(shard.now(), cx).is_err() {
                    return Poll::Ready(());
                }
            }
            if self.bulk {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Decodes what was read, and passes its messages on. Returns `None` after a framing error.
    fn decode(&mut self, bytes: &mut [u8]) -> Option<Decoded> {
        if self.deaf || self.socket.stage() != Stage::Open {
            self.note_unheard(bytes.len());
        }
        if self.deaf {
            return None;
        }
        let (shard, socket, home, conn) = (&self.shard, &self.socket, &self.home, self.conn);
        let (now, guards) = (shard.now(), guards(&shard.shared.settings));
        let place = &mut self.place;
        let is_metered = place.permit.meter().is_some();
        if is_metered {
            place.read(bytes.len());
        }
        let (mut messages, mut closed, mut held) = (0, None, None::<Box<Held>>);
        let pushed = shard.egress.while_corked(socket, now, || {
            let fed = self.decoder.feed(bytes, guards, now, |event| {
                let open = socket.stage() == Stage::Open && closed.is_none();
                let frame = match event {
                    Event::Text(text) if open => Frame::Text(text),
                    Event::Binary(bytes) if open => Frame::Binary(bytes),
                    Event::Control(answer) => {
                        if open && !answer.is_empty() {
                            let answer = Bytes::copy_from_slice(answer);
                            let pushed = shard.egress.push(socket, now, answer, 1, Tag::Control);
                            if pushed == Pushed::Overflow {
                                shard.close_full(socket);
                            }
                        }
                        return;
                    }
                    Event::Close(code, answer) => {
                        closed = Some((code.and_then(CloseCode::new), answer.into()));
                        return;
                    }
                    Event::Text(_) | Event::Binary(_) => return,
                };
                messages += 1;
                match &mut held {
                    None => held = auth::pass_on(shard, home, conn, frame, place),
                    Some(held) => held.behind.push(frame.into()),
                }
            });
            if let Err(fault) = fed {
                self.deaf = true;
                if fault.code == CloseCode::RATE_LIMITED {
                    shard.metrics().count_refusal(Reason::Rate);
                }
                self.end = DisconnectReason::Violation(fault.code);
                shard.ask_close(socket, fault.code, &fault.reason);
            } else if messages == 0 {
                // Bytes without a complete message still show that the peer is alive.
                home.input(shard, Input::Activity(conn));
            }
        });
        if pushed == Pushed::Overflow {
            shard.close_full(socket);
        }
        Some(Decoded {
            now,
            is_metered,
            messages,
            closed,
            held,
        })
    }

    /// Finishes a read: applies limits of the user, answers the peer's close, and times an
    /// unfinished message.
    fn after_read(&mut self, decoded: Decoded) {
        let (now, mut held) = (decoded.now, decoded.held);
        let is_amid = self.decoder.is_amid_message();
        if decoded.is_metered && held.is_none() && !is_amid {
            self.place.take_loose(&self.shard, now);
        }
        if self.place.is_over() {
            self.close_over();
        }
        if let Some((code, answer)) = decoded.closed {
            self.end = DisconnectReason::Client(code);
            match &mut held {
                Some(held) => held.closed = Some((code, answer)),
                None => self.answer_close(code, answer),
            }
        }
        self.held = held; // it was `None`: nothing is read while a message waits
        if is_amid || self.socket.may_be_due() {
            self.time_message(now, decoded.messages > 0);
        }
    }
}

impl Connection {
    fn note_unheard(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.unheard_bytes = self.unheard_bytes.saturating_add(bytes);
    }

    /// Records since when a message has been incomplete.
    fn time_message(&self, now: Timestamp, is_another: bool) {
        let socket = &self.socket;
        // If one message ended and another began, the clock restarts.
        let since = socket.message_since.get().filter(|_| !is_another);
        let amid = self.decoder.is_amid_message();
        socket.message_since.set(amid.then(|| since.unwrap_or(now)));
        if socket.may_be_due() {
            self.shard.egress.watch(socket);
        }
    }

    /// Closes the connection if it exceeded a limit of its user.
    #[cold]
    fn close_over(&mut self) {
        let Some(over) = self.place.take_over().filter(|_| !self.deaf) else {
            return;
        };
        let (code, reason) = over.close();
        if over == Over::Rate {
            self.deaf = true;
            self.end = DisconnectReason::Violation(code);
        }
        self.shard.ask_close(&self.socket, code, reason);
    }

    /// Resumes with a message whose token was verified, and with the messages behind it.
    #[cold]
    fn release(&mut self, verified: Verified) {
        let (shard, socket) = (self.shard.clone(), self.socket.clone());
        let Some(held) = self.held.take() else {
            return;
        };
        let (home, conn) = (&self.home, self.conn);
        let Held {
            rest,
            behind,
            closed,
            ..
        } = *held;
        let mut next = None::<Box<Held>>;
        let pushed = shard.egress.while_corked(&socket, shard.now(), || {
            let identity = verified.identity.as_deref();
            if self.place.admit(&shard, home, conn, &rest, identity) {
                auth::input(&shard, home, conn, rest, verified);
            }
            for frame in behind {
                match &mut next {
                    _ if socket.stage() != Stage::Open => {}
                    None => {
                        let frame = frame.as_frame();
                        next = auth::pass_on(&shard, home, conn, frame, &mut self.place);
                    }
                    Some(next) => next.behind.push(frame),
                }
            }
        });
        if pushed == Pushed::Overflow {
            shard.close_full(&socket);
        }
        self.close_over();
        match (&mut next, closed) {
            (Some(next), closed) => next.closed = closed,
            (None, Some((code, answer))) => self.answer_close(code, answer),
            (None, None) => {}
        }
        self.held = next;
    }

    /// Answers the peer's close, after the answers to its earlier requests. If the hub is on
    /// another shard, those answers come by mail, so this one goes there and back after them.
    fn answer_close(&mut self, code: Option<CloseCode>, answer: Box<[u8]>) {
        if self.is_close_answered {
            // This is the end of the stream after a close frame.
            return;
        }
        self.is_close_answered = true;
        let (conn, key) = (self.conn, self.socket.key);
        self.home.there_and_back(
            &self.shard,
            move |shard, namespace| shard.finish_for(namespace, conn),
            move |shard| {
                if let Some(socket) = shard.egress.socket(key) {
                    shard.egress.answer_close(&socket, code, &answer);
                }
            },
        );
    }
}

/// The connection leaves its rooms however its task ends, also by a panic or with the runtime.
impl Drop for Connection {
    fn drop(&mut self) {
        let (shard, socket) = (&self.shard, &self.socket);
        let label = match (socket.code.get(), self.end) {
            (Some(code), _) => CloseLabel::Code(code.as_u16()),
            (None, DisconnectReason::Client(Some(code))) if code.is_private() => CloseLabel::Client,
            (None, DisconnectReason::Client(Some(code))) => CloseLabel::Code(code.as_u16()),
            (None, DisconnectReason::Client(None)) => CloseLabel::Code(1005),
            (None, _) => CloseLabel::Code(1006),
        };
        shard.metrics().count_close(label);
        let (conn, reason, key) = (self.conn, self.end, socket.key);
        self.home.there_and_back(
            shard,
            move |shard, namespace| {
                shard.apply(namespace, &Input::Disconnect { conn, reason });
            },
            // The key may be reused only after the hub has processed the disconnect.
            move |shard| shard.egress.remove_socket(key),
        );
        tracing::debug!(code = %label, "connection ended");
    }
}
