//! The task of one WebSocket connection: reads until the end.

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
/// A read this large is one of a client that has much to say: the next one waits for what this one
/// causes.
const BULK_BYTES: usize = 16 * 1024;
/// Bytes of a peer that are read once its connection is being closed. Those that were on their way
/// have to be read, or it may lose the close frame; a flood then waits in its own buffers until it
/// is cut off.
const UNHEARD_BYTES_MAX: u32 = 1024 * 1024;

/// A connection whose upgrade is granted.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) namespace: Arc<str>,
    pub(crate) handshake: Handshake,
    pub(crate) permit: Permit,
    /// True when messages are the application's own: none of them is an `$auth`.
    pub(crate) raw: bool,
}

/// A connection that speaks HTTP no more.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) stream: Transport,
    /// The answer to the request, if it is still to be written: with the first frame if there is
    /// one at once, for a write costs as much as the rest of a handshake.
    pub(crate) answer: Bytes,
    /// The bytes that came behind the request.
    pub(crate) early: Bytes,
}

/// Serves an upgraded connection until it is over.
///
/// Boxed is what an open connection needs no more: a task has the size of the largest thing that it
/// ever waits for.
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
        // The first in an empty queue is not over its limit.
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
    // Even when empty it would keep the HTTP read buffer alive for as long as the connection.
    drop(early);
    poll_fn(|cx| connection.poll(cx)).await;
}

/// Enters the connection into its hub.
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

/// Since the upgrade was granted the server became full, or the application does not want the
/// connection: says so and ends.
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
    // Nothing more is said: so the client need not wait for us, nor we for longer than it takes.
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

// Each open connection has both for as long as it is open. In a program with a multi-threaded
// runtime the stream is 8 bytes larger.
const _: () = assert!(size_of::<Connection>() <= 160 && size_of::<Socket>() <= 336);

struct Connection {
    shard: Rc<Shard>,
    socket: Rc<Socket>,
    home: Home,
    conn: ConnId,
    decoder: Decoder,
    place: Place,
    /// A message that waits for its token to be verified: nothing is read meanwhile.
    held: Option<Box<Held>>,
    /// After a fault in the framing nothing that follows has a meaning.
    deaf: bool,
    /// Bytes that were read since then, or since our close.
    unheard_bytes: u32,
    /// True when the last read was a large one.
    bulk: bool,
    half_closed: bool,
    /// True when the peer has said its last: a close frame, or the end of its stream.
    is_close_answered: bool,
    /// True when its stream has ended: there is nothing left to read.
    ended: bool,
    end: DisconnectReason,
}

/// Messages of one read that were passed on, and what follows them.
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
            // What is queued may be written now.
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
                // The peer's own close would not be understood: it sees the end of the stream.
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
                // What is left to be done wakes the task.
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
                // A peer may end its stream and still read. What it asked before is answered.
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

    /// Passes on what was read, in messages; `None` when it is not heard any more.
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
                // Bytes that make no message show that the peer is alive.
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

    /// Ends a read: limits of the user, the peer's close, the time of a message under way.
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
        self.held = held; // there was none: nothing is read while a message waits
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

    /// Keeps the time since when a message is under way.
    fn time_message(&self, now: Timestamp, is_another: bool) {
        let socket = &self.socket;
        // A message that ended and one that began are two: the clock starts anew.
        let since = socket.message_since.get().filter(|_| !is_another);
        let amid = self.decoder.is_amid_message();
        socket.message_since.set(amid.then(|| since.unwrap_or(now)));
        if socket.may_be_due() {
            self.shard.egress.watch(socket);
        }
    }

    /// Closes the connection when a limit of its user was passed.
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

    /// Goes on with a message whose token is verified, and with what came behind it.
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

    /// Answers the peer's close, behind the answers to what it asked before. Where the hub is on
    /// another shard, those come by mail: so this answer goes there and back, behind all of it.
    fn answer_close(&mut self, code: Option<CloseCode>, answer: Box<[u8]>) {
        if self.is_close_answered {
            // The end of the stream behind a close frame.
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

/// However the task ends, by a panic or with the runtime too, the connection leaves its rooms.
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
            // The hub's last word on this key: it may name another socket now.
            move |shard| shard.egress.remove_socket(key),
        );
        tracing::debug!(code = %label, "connection ended");
    }
}
