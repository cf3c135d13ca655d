//! socketioxide on axum, as its documentation shows it, on one thread.

use axum::serve::ListenerExt;
use roomcast_bench::{allow_many_files, listener};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

/// Messages that may wait for one connection. The default of 128 drops messages in bursts of ours,
/// and what is dropped costs nothing.
const OUTBOX_MESSAGES_MAX: usize = 1024;

fn main() {
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("the runtime starts").block_on(serve());
}

async fn serve() {
    let (layer, io) = SocketIo::builder()
        .max_buffer_size(OUTBOX_MESSAGES_MAX)
        .build_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on(
            "join",
            async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
                socket.join(room);
                let _ = ack.send("ok");
            },
        );
        socket.on(
            "leave",
            async |socket: SocketRef, Data(room): Data<String>, ack: AckSender| {
                socket.leave(room);
                let _ = ack.send("ok");
            },
        );
        socket.on(
            "publish",
            async |io: SocketIo, Data((room, text)): Data<(String, String)>| {
                let _ = io.to(room).emit("said", &text).await;
            },
        );
        socket.on("ask", async |Data(_): Data<String>, ack: AckSender| {
            let _ = ack.send("ok");
        });
    });
    let listener = tokio::net::TcpListener::from_std(listener()).expect("it is non-blocking");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = axum::Router::new().layer(layer);
    axum::serve(listener, app)
        .await
        .expect("axum serves until it is ended");
}
