//! A connection at work: sends what it is told to, and notes what arrives.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{load::Load, target::Entered};

/// Messages that may wait for a connection that takes none.
const WAITING_MAX: usize = 256;
/// How long a close frame may take, in either direction.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// A connection in its room.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
    outgoing: mpsc::Receiver<String>,
    is_flushed: bool,
    seat: usize,
    load: Rc<RefCell<Load>>,
}

enum Event {
    /// The run is over.
    Released,
    Arrived(Message),
    /// The connection has ended without a close frame.
    Lost,
}

impl Client {
    /// Takes its seat.
    pub(super) fn new(load: Rc<RefCell<Load>>, seat: usize, entered: Entered) -> Self {
        let (sender, outgoing) = mpsc::channel(WAITING_MAX);
        let Entered {
            socket, connect, ..
        } = entered;
        load.borrow_mut().opened(seat, connect, sender);
        Self {
            socket,
            outgoing,
            is_flushed: true,
            seat,
            load,
        }
    }

    /// Tasks until the run is over, or the connection.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                Event::Arrived(Message::Text(text)) => {
                    self.load.borrow_mut().arrived(self.seat, &text);
                }
                Event::Arrived(Message::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    self.load.borrow_mut().closed(self.seat, code);
                    // The server's close frame is answered.
                    let _ = timeout(CLOSE_TIME, self.socket.flush()).await;
                    return;
                }
                Event::Arrived(
                    Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
                ) => {}
                Event::Lost => {
                    self.load.borrow_mut().closed(self.seat, 1006);
                    return;
                }
                Event::Released => break,
            }
        }
        // Nothing is lost with a server that does not answer the close.
        let _ = timeout(CLOSE_TIME, self.close()).await;
    }

    /// Writes and reads at once: one that waits until its messages are written before it reads
    /// would be a slow reader.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        // A fault of writing is found by reading, after what the server said before.
        while let Poll::Ready(Ok(())) = self.socket.poll_ready_unpin(cx) {
            match self.outgoing.poll_recv(cx) {
                Poll::Ready(Some(text)) => {
                    let _ = self.socket.start_send_unpin(Message::text(text));
                    self.is_flushed = false;
                }
                Poll::Ready(None) => return Poll::Ready(Event::Released),
                Poll::Pending => break,
            }
        }
        if !self.is_flushed {
            self.is_flushed = self.socket.poll_flush_unpin(cx).is_ready();
        }
        self.socket.poll_next_unpin(cx).map(|next| match next {
            Some(Ok(message)) => Event::Arrived(message),
            Some(Err(_)) | None => Event::Lost,
        })
    }

    async fn close(&mut self) -> Result<(), tungstenite::Error> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.socket.close(Some(frame)).await?;
        while let Some(message) = self.socket.next().await {
            message?;
        }
        Ok(())
    }
}
