//! Users of rooms, counted over all nodes.

use std::time::{Duration, Instant};

use roomcast_relay::{Address, Change, Corrections, Event, Presence, Relay, RelayError};

use crate::{
    node::{Node, quiet, room},
    server::{PATIENCE, Server},
};

pub(crate) fn present(room: &Address, user: &str, connections: u32) -> Presence {
    Presence {
        address: room.clone(),
        user: user.into(),
        connections,
        is_awaited: false,
        meta: format!("meta of {user}").into(),
    }
}

pub(crate) fn notice(event: &Event) -> Option<(u64, Change, String)> {
    match event {
        Event::Presence {
            notice,
            change,
            user,
            ..
        } => Some((*notice, *change, user.to_string())),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_joins_with_the_first_connection_of_all_nodes_and_leaves_with_the_last() {
    let server = Server::start(&[]);
    let room = room("r");
    let (mut a, b) = (Node::start(&server).await, Node::start(&server).await);
    a.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    let mut changes = Vec::new();
    for (node, connections) in [
        (&a, 1),
        (&b, 2),
        (&b, 2),
        (&a, 0),
        (&b, 1),
        (&b, 0),
        (&b, 0),
    ] {
        let presence = present(&room, "ann", connections);
        let arrival = node.relay.set_present(&presence).await.unwrap();
        changes.push((arrival.change, arrival.notice, arrival.connections));
    }
    let (joined, left) = (Some(Change::Joined), Some(Change::Left));
    let expected = [
        (joined, 1, 1),
        (None, 1, 3),
        (None, 1, 3),
        (None, 1, 2),
        (None, 1, 1),
        (left, 2, 0),
        (None, 2, 0),
    ];
    assert_eq!(changes, expected, "each change has one teller");
    assert_eq!(
        a.until("notice", notice).await,
        (1, Change::Joined, "ann".to_owned())
    );
    assert_eq!(
        a.until("notice", notice).await,
        (2, Change::Left, "ann".to_owned())
    );
    for key in ["u:r", "i:r"] {
        let count: u64 = server.run(&format!("EXISTS roomcast:{{ns}}:{key}"));
        assert_eq!(count, 0, "{key} is left behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_the_notices_after_it_give_who_is_there() {
    let server = Server::start(&[]);
    let room = room("r");
    let mut node = Node::start(&server).await;
    node.relay
        .subscribe(std::slice::from_ref(&room))
        .await
        .unwrap();
    for user in ["ann", "bob", "cyd"] {
        node.relay
            .set_present(&present(&room, user, 1))
            .await
            .unwrap();
    }
    node.relay
        .set_present(&present(&room, "bob", 0))
        .await
        .unwrap();
    let members = node.relay.members(&room, 10).await.unwrap();
    assert_eq!((members.notice, members.total), (4, 2));
    let mut users: Vec<_> = members.users.iter().map(|member| &*member.user).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "cyd"]);
    let ann = members
        .users
        .iter()
        .find(|member| &*member.user == "ann")
        .unwrap();
    assert_eq!((ann.connections, &ann.meta[..]), (1, &b"meta of ann"[..]));
    let position = node.position(&room).await;
    assert_eq!((position.notice, position.offset), (4, 0));
    assert_eq!(members.epoch, position.epoch);
    let counts = node.relay.members(&room, 1).await.unwrap();
    assert_eq!((counts.users.len(), counts.total), (0, 2));
    node.relay
        .set_present(&present(&room, "dan", 1))
        .await
        .unwrap();
    let is_later = |event: &Event| notice(event).filter(|(number, ..)| *number > members.notice);
    assert_eq!(
        node.until("notice", is_later).await,
        (5, Change::Joined, "dan".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_without_a_look_at_each_user() {
    let server = Server::start(&[]);
    let room = room("r");
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    let counts = async || {
        let members = a.relay.members(&room, 1).await.unwrap();
        (members.total, members.connections)
    };
    for (node, user, connections) in [(&a, "ann", 2), (&b, "ann", 1), (&b, "bob", 1)] {
        let presence = present(&room, user, connections);
        node.relay.set_present(&presence).await.unwrap();
    }
    assert_eq!(counts().await, (2, 4), "before anybody wanted to know");
    let mut waits = present(&room, "bob", 0);
    waits.is_awaited = true;
    for (presence, expected) in [
        (present(&room, "ann", 3), (2, 6)),
        (waits, (2, 5)),
        (present(&room, "bob", 2), (2, 7)),
        (present(&room, "cyd", 5), (3, 12)),
        (present(&room, "ann", 0), (3, 9)),
    ] {
        b.relay.set_present(&presence).await.unwrap();
        assert_eq!(counts().await, expected, "{presence:?}");
    }
    let own = [present(&room, "bob", 1)];
    let corrections = b.relay.reconcile(&room, &own).await.unwrap();
    assert_eq!(corrections.count, 2);
    assert_eq!(counts().await, (2, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_made_those_that_a_node_has() {
    let server = Server::start(&[]);
    let room = room("r");
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    for (node, user, connections) in [(&a, "ann", 1), (&a, "bob", 2), (&b, "bob", 1)] {
        node.relay
            .set_present(&present(&room, user, connections))
            .await
            .unwrap();
    }
    let own = [present(&room, "ann", 1), present(&room, "cyd", 3)];
    let corrections = Corrections {
        count: 2,
        changes: vec![("cyd".into(), Change::Joined)],
    };
    assert_eq!(a.relay.reconcile(&room, &own).await, Ok(corrections));
    let none = Corrections::default();
    assert_eq!(a.relay.reconcile(&room, &own).await, Ok(none));
    let members = b.relay.members(&room, 10).await.unwrap();
    let users = members.users.iter();
    let mut users: Vec<_> = users
        .map(|member| (&*member.user, member.connections))
        .collect();
    users.sort_unstable();
    assert_eq!(users, [("ann", 1), ("bob", 1), ("cyd", 3)]);
    let long = present(&room, &"u".repeat(65_536), 1);
    let answer = a.relay.set_present(&long).await;
    assert!(matches!(answer, Err(RelayError::Invalid(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_behind_a_reconciliation_is_not_undone_by_it() {
    let server = Server::start(&[]);
    let node = Node::start(&server).await;
    for number in 0..100 {
        let room = room(&format!("r{number}"));
        let own = [present(&room, "ann", 1), present(&room, "bob", 2)];
        let gone = present(&room, "ann", 0);
        let reconciled = node.relay.reconcile(&room, &own);
        let (reconciled, arrival) =
            futures_util::future::join(reconciled, node.relay.set_present(&gone)).await;
        // Ann came and went: every node that reports her as joined must report her as left.
        let Corrections { count, mut changes } = reconciled.unwrap();
        let came = changes.iter().any(|(user, _)| &**user == "ann");
        let change = arrival.unwrap().change;
        match came {
            true => assert_eq!(change, Some(Change::Left)),
            false => assert_ne!(change, Some(Change::Joined)),
        }
        changes.retain(|(user, _)| &**user != "ann");
        assert_eq!((count, changes), (2, vec![("bob".into(), Change::Joined)]));
        let members = node.relay.members(&room, 10).await.unwrap();
        assert_eq!((members.total, members.connections), (1, 2));
        assert_eq!(&*members.users[0].user, "bob");
    }
}

/// The server stalls, and executes its pending commands when it resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_an_answer_is_told_with_the_next_one() {
    let server = Server::start(&[]);
    let node = Node::start_with(&server.url(), |settings| {
        quiet(settings, Duration::from_secs(1));
    })
    .await;
    let room = room("r");
    for (connections, change) in [(1, Change::Joined), (0, Change::Left)] {
        let presence = present(&room, "ann", connections);
        server.stop();
        let lost = node.relay.set_present(&presence).await;
        assert_eq!(lost, Err(RelayError::InDoubt));
        server.go_on();
        let answer = async || {
            let began = Instant::now();
            loop {
                let answer = node.relay.set_present(&presence).await;
                if let Ok(arrival) = answer {
                    break arrival.change;
                }
                assert!(began.elapsed() < PATIENCE, "{answer:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert_eq!(answer().await, Some(change));
        assert_eq!(answer().await, None, "once");
    }
}
