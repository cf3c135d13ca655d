//! Ends of connections with TLS.

use std::io::ErrorKind;

use futures_util::SinkExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    client::{Client, Trust, block_on, start},
    pair::Pairs,
};
use crate::crowd::PATIENCE;

#[test]
fn a_stop_says_goodbye_to_everybody() {
    let pairs = Pairs::new();
    let mut process = start(&pairs, &["--threads=2"]);
    let authority = process.authority.clone();
    block_on(async {
        let trust = Trust::new(&pairs);
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::joined(&trust, &authority, "r").await);
        }
        process.signal("TERM");
        for client in &mut clients {
            assert_eq!(client.next().await.expect("a message")["event"], "$bye");
            assert_eq!(client.next().await, Err(1001));
        }
    });
    assert_eq!(process.ended().code(), Some(0));
}

/// Only with `close_notify` does a client know that nothing was cut off.
#[test]
fn an_end_in_order_has_a_close_notify() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    block_on(async {
        let trust = Trust::new(&pairs);
        let mut client = Client::joined(&trust, &process.authority, "r").await;
        client
            .stream
            .send(Message::Close(None))
            .await
            .expect("open");
        assert_eq!(client.next().await, Err(1005));
        let mut rest = Vec::new();
        let stream = client.stream.get_mut();
        let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        // rustls reports an end without it as an error.
        assert_eq!(read.expect("an end").expect("close_notify"), 0);
        // Over HTTP as well.
        let mut http = trust.open(&process.authority).await.expect("a handshake");
        let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        http.write_all(request).await.expect("open");
        let read = timeout(PATIENCE, http.read_to_end(&mut rest)).await;
        read.expect("an end").expect("close_notify");
        assert!(rest.starts_with(b"HTTP/1.1 200 "));
    });
}

#[test]
fn a_connection_that_is_cut_ends_as_lost() {
    let pairs = Pairs::new();
    let mut process = start(&pairs, &["--log=debug"]);
    let authority = process.authority.clone();
    let trust = Trust::new(&pairs);
    block_on(async {
        let client = Client::joined(&trust, &authority, "r").await;
        // The socket alone, without a word of WebSocket or TLS.
        drop(client);
    });
    process.logged("code=1006");
    block_on(async {
        let mut client = Client::joined(&trust, &authority, "r").await;
        // The word of TLS alone: a client may end its stream and still read.
        let (tcp, tls) = client.stream.get_mut().get_mut();
        tls.send_close_notify();
        while tls.wants_write() {
            tcp.writable().await.expect("open");
            let mut sink = Vec::new();
            tls.write_tls(&mut sink).expect("memory");
            tcp.write_all(&sink).await.expect("open");
        }
        assert_eq!(client.next().await, Err(1006));
    });
    process.logged("code=1006");
}

#[test]
fn a_damaged_record_ends_its_connection_alone() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    block_on(async {
        let trust = Trust::new(&pairs);
        let mut other = Client::joined(&trust, &process.authority, "r").await;
        let mut client = Client::joined(&trust, &process.authority, "r").await;
        let (tcp, _) = client.stream.get_mut().get_mut();
        tcp.write_all(&[23, 3, 3, 0, 32]).await.expect("open");
        tcp.write_all(&[9; 32]).await.expect("open");
        let mut byte = [0];
        let read = timeout(PATIENCE, client.stream.get_mut().read(&mut byte)).await;
        let fault = read.expect("an end").expect_err("an alert");
        assert_eq!(fault.kind(), ErrorKind::InvalidData, "{fault}");
        let answer = other.ask(r#"{"event":"$ping","id":3}"#.to_owned()).await;
        assert_eq!(answer["id"], 3, "{answer}");
    });
}
