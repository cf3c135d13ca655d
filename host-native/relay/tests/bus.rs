//! Messages between nodes.

use bytes::Bytes;
use roomcast_relay::{Destination, Event, Relay};

use crate::{
    node::{Node, text},
    server::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_reaches_all_nodes_or_one() {
    let server = Server::start(&[]);
    let (mut a, mut b) = (Node::start(&server).await, Node::start(&server).await);
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
        namespace: "other".into(),
        node: a.relay.node(),
    };
    let sent = b.relay.send(&one, Bytes::from_static(b"me")).await;
    assert_eq!(sent, Ok(1));
    let answered = ("other".into(), b.relay.node(), "me".to_owned());
    assert_eq!(a.until("answer", bus).await, answered);
    let nodes = a.relay.nodes().await.unwrap();
    let mut ids: Vec<_> = nodes.iter().map(|node| node.id().to_owned()).collect();
    let mut expected = [a.relay.node().to_string(), b.relay.node().to_string()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
}
