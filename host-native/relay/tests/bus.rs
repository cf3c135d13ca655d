//! Messages between nodes.

use bytes::Bytes;
use roomcast_relay::{Destination, Event, Relay};

use crate::{
    node::{Node, text},
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_reaches_all_nodes_of_a_namespace_or_one() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (Node::start(&server).await, Node::start(&server).await);
    a.relay.open("ns").await.unwrap();
    b.relay.open("ns").await.unwrap();
    b.relay.open("other").await.unwrap();
    let bus = |event: &Event| match event {
        Event::Bus {
            namespace,
            from,
            body,
        } => Some((namespace.clone(), from.clone(), text(body))),
        _ => None,
    };
    let all = Destination::Nodes("ns".into());
    let sent = a.relay.send(&all, Bytes::from_static(b"who?")).await;
    assert_eq!(sent, Ok(2));
    let asked = ("ns".into(), a.relay.node(), "who?".to_owned());
    assert_eq!(a.until("question", bus).await, asked);
    assert_eq!(b.until("question", bus).await, asked);
    let one = Destination::Node {
        namespace: "ns".into(),
        node: a.relay.node(),
    };
    let sent = b.relay.send(&one, Bytes::from_static(b"me")).await;
    assert_eq!(sent, Ok(1));
    let answered = ("ns".into(), b.relay.node(), "me".to_owned());
    assert_eq!(a.until("answer", bus).await, answered);

    a.relay.close("ns").await.unwrap();
    let sent = b.relay.send(&all, Bytes::from_static(b"who?")).await;
    assert_eq!(sent, Ok(1));
    let nowhere = Destination::Nodes("nowhere".into());
    assert_eq!(b.relay.send(&nowhere, Bytes::new()).await, Ok(0));
}
