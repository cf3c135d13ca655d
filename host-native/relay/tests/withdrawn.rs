//! Users who are withdrawn.

use roomcast_relay::{MemoryBroker, Relay, Withdrawn};

use crate::{node::Node, server::Server};

fn withdrawn(users: &[(&str, u64)], everyone_s: u64) -> Withdrawn {
    let users = users.iter().map(|(user, time)| ((*user).into(), *time));
    Withdrawn {
        users: users.collect(),
        everyone_s,
    }
}

/// Withdraws through one node, and reads through another.
async fn tell(one: &impl Relay, other: &impl Relay) {
    let nobody = other.withdrawn("ns").await.unwrap();
    assert!(nobody.is_empty());
    let steps = [
        (
            withdrawn(&[("ann", 7), ("bob", 9)], 0),
            &[("ann", 7), ("bob", 9)][..],
            0,
        ),
        // The later time counts.
        (
            withdrawn(&[("bob", 8), ("ann", 8)], 0),
            &[("ann", 8), ("bob", 9)],
            0,
        ),
        // Over the limit, the earliest times are folded into one for all users.
        (
            withdrawn(&[("carol", 12), ("dora", 11)], 0),
            &[("carol", 12), ("dora", 11)],
            9,
        ),
        (
            withdrawn(&[("ann", 9), ("eve", 10)], 0),
            &[("carol", 12), ("dora", 11)],
            10,
        ),
        (withdrawn(&[], 11), &[("carol", 12)], 11),
        (withdrawn(&[], 5), &[("carol", 12)], 11),
    ];
    for (more, users, everyone_s) in steps {
        one.withdraw("ns", &more, 2).await.unwrap();
        let mut found = other.withdrawn("ns").await.unwrap();
        found.users.sort_unstable();
        assert_eq!(found, withdrawn(users, everyone_s), "{more:?}");
    }
    assert!(other.withdrawn("other").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawn_users_are_known_to_all_nodes_and_the_earliest_become_everybody() {
    let server = Server::start(&[]);
    let (a, b) = (Node::start(&server).await, Node::start(&server).await);
    tell(&a.relay, &b.relay).await;
    let broker = MemoryBroker::new();
    let ((a, _), (b, _)) = (broker.join(), broker.join());
    tell(&a, &b).await;
}
