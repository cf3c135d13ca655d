//! The server that most tutorials arrive at: tokio-tungstenite, and for each connection an
//! unbounded channel with a task that writes what comes out of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{SinkExt, StreamExt};
use roomcast_bench::{allow_many_files, listener, plain::Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;

type Members = HashMap<u64, UnboundedSender<Message>>;
type Rooms = HashMap<String, Members>;

fn main() {
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("the runtime starts").block_on(accept());
}

async fn accept() {
    let listener = TcpListener::from_std(listener()).expect("the listener is non-blocking");
    let rooms = Arc::<Mutex<Rooms>>::default();
    for id in 0.. {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, id, Arc::clone(&rooms)));
        }
    }
}

async fn serve(stream: TcpStream, id: u64, rooms: Arc<Mutex<Rooms>>) {
    let _ = stream.set_nodelay(true);
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (mut sink, mut stream) = socket.split();
    let (sender, mut outbox) = unbounded_channel();
    let writer = tokio::spawn(async move {
        while let Some(message) = outbox.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut mine = Vec::new();
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else {
            if message.is_close() {
                break;
            }
            continue;
        };
        answer(&text, id, &sender, &rooms, &mut mine);
    }
    for room in mine {
        leave(&rooms, &room, id);
    }
    drop(sender);
    let _ = writer.await;
}

fn answer(
    text: &str,
    id: u64,
    sender: &UnboundedSender<Message>,
    rooms: &Mutex<Rooms>,
    mine: &mut Vec<String>,
) {
    match Request::read(text) {
        Some(Request::Join(room)) => {
            mine.push(room.to_owned());
            lock(rooms)
                .entry(room.to_owned())
                .or_default()
                .insert(id, sender.clone());
            let _ = sender.send(Message::text("+"));
        }
        Some(Request::Leave(room)) => {
            mine.retain(|joined| joined != room);
            leave(rooms, room, id);
            let _ = sender.send(Message::text("-"));
        }
        Some(Request::Publish { room, payload }) => {
            let message = Message::text(format!("!{payload}"));
            for member in lock(rooms).get(room).into_iter().flat_map(Members::values) {
                let _ = member.send(message.clone());
            }
        }
        Some(Request::Ask) => {
            let _ = sender.send(Message::text("?"));
        }
        None => {}
    }
}

fn lock(rooms: &Mutex<Rooms>) -> MutexGuard<'_, Rooms> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leave(rooms: &Mutex<Rooms>, room: &str, id: u64) {
    let mut rooms = lock(rooms);
    if let Some(members) = rooms.get_mut(room) {
        members.remove(&id);
        if members.is_empty() {
            rooms.remove(room);
        }
    }
}
