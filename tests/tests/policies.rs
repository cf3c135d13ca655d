//! The policies that the documents show: each is a file that a server takes.

use roomcast_core::policy::{Overflow, PresencePolicy};
use roomcast_http::policies_from_toml;

const EXAMPLE: &str = include_str!("../../rooms.toml");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");

#[test]
fn the_example_says_what_its_comments_say() {
    let policies = policies_from_toml(EXAMPLE).unwrap_or_else(|fault| panic!("{fault}"));
    let of = |room| policies.of(room).expect("a policy");
    assert_eq!(of("live:map").overflow, Overflow::Latest);
    assert!(of("live:map").history.is_none());
    assert!(!of("news:today").publish);
    let (lobby, age) = (of("lobby"), std::time::Duration::from_secs(300));
    assert_eq!(lobby.presence, PresencePolicy::Members);
    let history = lobby.history.expect("a history");
    assert_eq!((history.messages, history.age), (2000, age));
}

#[test]
fn the_policy_of_the_protocol_is_one() {
    let blocks = PROTOCOL.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split_once("\n```"));
    let blocks: Vec<_> = blocks.map(|(block, _)| block).collect();
    let [block] = blocks[..] else {
        panic!("{blocks:?}");
    };
    let policies = policies_from_toml(block);
    policies.unwrap_or_else(|fault| panic!("{fault}\n{block}"));
}
