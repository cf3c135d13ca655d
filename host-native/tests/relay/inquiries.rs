//! The API and the handle of a server, applied to connections of other servers.

use std::time::Instant;

use roomcast::{CloseCode, Explained, Host, Namespace, Settings, explain::Reason};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    PATIENCE,
    client::Client,
    cluster::{Cluster, Redis},
    node::{KEY, Node},
    wait_for,
};

const SETTINGS: &str = "[[rooms]]\nmatch = \"log*\"\nhistory.messages = 100\n\n\
    [[rooms]]\nmatch = \"den\"\npresence = \"members\"\npresence_grace_s = 0\n";

/// A server behind a proxy that names users.
pub(super) fn start_one(redis: &Redis) -> Node {
    let flags = ["--trusted-proxy", "127.0.0.1", "--user-header", "X-User"];
    let flags = [&flags[..], &["--api-key", KEY]].concat();
    Node::start_with(&redis.url(), SETTINGS, &flags)
}

pub(super) fn start(nodes: usize) -> Cluster {
    let redis = Redis::start(&[]);
    let nodes = (0..nodes).map(|_| start_one(&redis)).collect();
    Cluster { nodes, redis }
}

/// A user in rooms, with the id of its connection.
pub(super) async fn enter(node: &Node, user: &str, rooms: &[&str]) -> (Client, String) {
    let mut client = node.connect_as(user).await;
    for room in rooms {
        client.join(room, None).await;
    }
    let found = node.get(&format!("connections?user={user}"));
    let conn = found["connections"][0]["conn"].as_str();
    (client, conn.expect("a connection").to_owned())
}

/// Names in a list of the API.
fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let entries = list.as_array().expect("a list").iter();
    entries
        .map(|it| it[key].as_str().expect("a name"))
        .collect()
}

/// The number of connections.
fn count(node: &Node) -> usize {
    let found = node.get("connections?limit=1000");
    found["connections"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_server_without_a_connection_tells_of_all() {
    let cluster = start(3);
    let [first, second, other] = &cluster.nodes[..] else {
        panic!("three");
    };
    let (mut ann, ann_id) = enter(first, "ann", &["den", "log"]).await;
    let (_bob, bob_id) = enter(second, "bob", &["den", "hall"]).await;
    ann.publish("log", &json!(1)).await;
    let last = ann.publish("log", &json!(2)).await;

    let rooms = other.get("rooms");
    assert_eq!(names(&rooms["rooms"], "room"), ["den", "hall", "log"]);
    let members: Vec<_> = (0..3)
        .map(|at| rooms["rooms"][at]["members"].clone())
        .collect();
    assert_eq!(members, [2, 1, 1], "{rooms}");
    assert_eq!(rooms["rooms"][2]["offset"], 2, "{rooms}");
    let page = other.get("rooms?limit=2");
    assert_eq!(
        (names(&page["rooms"], "room"), &page["next"]),
        (vec!["den", "hall"], &json!("hall"))
    );
    let page = other.get("rooms?limit=2&after=hall");
    assert_eq!(
        (names(&page["rooms"], "room"), &page["next"]),
        (vec!["log"], &Value::Null)
    );
    let log = other.get("rooms/log");
    assert_eq!((&log["members"], &log["offset"]), (&json!(1), &json!(2)));
    assert_eq!(log["epoch"], first.get("rooms/log")["epoch"]);
    assert!(last["offset"] == log["offset"], "{last} {log}");
    for nowhere in [
        "rooms/nowhere",
        "rooms/log9/history",
        "rooms/nowhere/history",
        "connections/7",
    ] {
        assert_eq!(other.get_whole(nowhere).0, 404, "{nowhere}");
    }

    let found = other.get("connections");
    let mut expected = [&*ann_id, &*bob_id];
    expected.sort_unstable_by_key(|id| id.parse::<u64>().expect("a number"));
    assert_eq!(names(&found["connections"], "conn"), expected);
    let page = other.get("connections?limit=1");
    assert_eq!(
        (&page["connections"][0]["conn"], &page["next"]),
        (&json!(expected[0]), &json!(expected[0]))
    );
    let page = other.get(&format!("connections?limit=1&after={}", expected[0]));
    assert_eq!(
        (&page["connections"][0]["conn"], &page["next"]),
        (&json!(expected[1]), &Value::Null)
    );
    let found = other.get(&format!("connections/{ann_id}"));
    assert_eq!(
        (&found["user"], &found["rooms"]),
        (&json!("ann"), &json!(["den", "log"]))
    );
    let found = other.get("connections?user=bob");
    assert_eq!(found["connections"][0]["rooms"], json!(["den", "hall"]));

    let members = other.get("rooms/den/members");
    assert_eq!(names(&members["members"], "user"), ["ann", "bob"]);
    let shown = other.get_whole("rooms/hall/members");
    assert_eq!(shown.0, 403, "it shows nobody");
    let history = other.get("rooms/log/history?limit=1");
    assert_eq!(history["messages"][0]["data"], 2, "{history}");
    let explained = other.get(&format!("explain?room=hall&right=join&conn={ann_id}"));
    assert_eq!(explained["allowed"], true, "{explained}");
    assert!(other.metric("roomcast_relay_questions_total") >= 10.0);
    if !other.asked_again() {
        assert_eq!(other.metric("roomcast_relay_missing_answers_total"), 0.0);
    }
}

#[tokio::test]
async fn a_server_without_a_connection_changes_it() {
    let cluster = start(3);
    let [first, second, other] = &cluster.nodes[..] else {
        panic!("three");
    };
    let (ann, ann_id) = enter(first, "ann", &["den"]).await;
    let (bob, bob_id) = enter(second, "bob", &["log"]).await;
    let told = other.api("PUT", &format!("rooms/log/members/{ann_id}"));
    assert_eq!(
        (told.0, &told.1["already"]),
        (200, &json!(false)),
        "{told:?}"
    );
    assert_eq!(told.1["epoch"], second.get("rooms/log")["epoch"]);
    let told = other.api("PUT", &format!("rooms/log/members/{ann_id}"));
    assert_eq!(told.1["already"], true, "{told:?}");
    assert_eq!(second.get("rooms/log")["members"], 2);
    let told = second.api("DELETE", &format!("rooms/log/members/{ann_id}"));
    assert_eq!(told, (200, json!({"was": true})));
    let told = other.api("DELETE", &format!("connections/{bob_id}?code=4123"));
    assert_eq!(told, (200, json!({"disconnected": 1})));
    assert_eq!(bob.close_code().await, 4123);
    assert_eq!(other.api("DELETE", &format!("connections/{bob_id}")).0, 404);
    let again = second.connect_as("ann").await;
    wait_for("she is not there again", || count(other) == 2).await;
    let told = other.api("DELETE", "connections?user=ann");
    assert_eq!(told, (200, json!({"disconnected": 2})));
    assert_eq!(
        (ann.close_code().await, again.close_code().await),
        (4410, 4410)
    );
    assert_eq!(first.get("connections"), json!({"connections": []}));
}

#[tokio::test]
async fn a_list_longer_than_a_message_between_servers_is_whole() {
    const CONNECTIONS: usize = 205;
    let cluster = start(2);
    let mut clients = Vec::new();
    for number in 0..CONNECTIONS {
        clients.push(cluster.nodes[number % 2].connect_as("ann").await);
    }
    wait_for("they do not come", || {
        count(&cluster.nodes[0]) == CONNECTIONS
    })
    .await;
    for node in &cluster.nodes {
        let found = node.get("connections?limit=1000");
        assert_eq!(
            found["connections"].as_array().map(Vec::len),
            Some(CONNECTIONS)
        );
        let page = node.get("connections?limit=204");
        assert_eq!(page["next"], page["connections"][203]["conn"]);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let mut cluster = start(3);
    let (_ann, _) = enter(&cluster.nodes[0], "ann", &["den"]).await;
    let (_bob, bob_id) = enter(&cluster.nodes[1], "bob", &["hall"]).await;
    let still = &cluster.nodes[1];
    still.signal(Signal::STOP);
    // It is waited for one second. The quickest answer counts: a busy machine may stand still too.
    let ask = |_| {
        let began = Instant::now();
        let answer = cluster.nodes[2].api("GET", "connections");
        (began.elapsed(), answer)
    };
    let mut answers = (0..3).map(ask);
    let in_time = answers.find(|(took, _)| took.as_millis() < 2_000);
    let (_, (status, found)) = in_time.expect("an answer in time");
    assert_eq!(
        (status, &found["missing"]),
        (200, &json!([still.id])),
        "{found}"
    );
    assert_eq!(names(&found["connections"], "user"), ["ann"]);
    let (status, told) = cluster.nodes[2].api("DELETE", &format!("connections/{bob_id}"));
    assert_eq!(
        (status, &told["code"]),
        (503, &json!("unavailable")),
        "{told}"
    );
    let detail = told["detail"].as_str().expect("text");
    assert!(detail.contains(&still.id), "{told}");
    let (status, told) = cluster.nodes[2].api("DELETE", "connections?user=ann");
    let expected = json!({"disconnected": 1, "missing": [still.id]});
    assert_eq!((status, told), (200, expected));
    assert!(cluster.nodes[2].metric("roomcast_relay_missing_answers_total") >= 3.0);
    still.signal(Signal::CONT);
    // The server executes the pending request late.
    let nodes = &cluster.nodes;
    wait_for("bob stays", || {
        nodes[2].api("GET", "connections").1 == json!({"connections": []})
    })
    .await;

    let dead = cluster.nodes.remove(1);
    let id = dead.id.clone();
    dead.kill();
    let other = &cluster.nodes[1];
    let (status, found) = other.api("GET", "rooms");
    assert_eq!(
        (status, &found["missing"]),
        (200, &json!([id])),
        "its lease lasts"
    );
    wait_for("a dead server is missed for ever", || {
        other.api("GET", "rooms").1 == json!({"rooms": []})
    })
    .await;
}

#[tokio::test]
async fn without_the_relay_a_server_tells_of_itself_and_says_so() {
    let mut cluster = start(2);
    let (_ann, ann_id) = enter(&cluster.nodes[0], "ann", &["den"]).await;
    let (_bob, bob_id) = enter(&cluster.nodes[1], "bob", &["den"]).await;
    cluster.redis.kill();
    let node = &cluster.nodes[0];
    wait_for("/readyz stays 200", || !node.is_ready()).await;
    let (status, found) = node.api("GET", "connections");
    assert_eq!(
        (status, &found["missing"]),
        (200, &json!(["relay"])),
        "{found}"
    );
    assert_eq!(names(&found["connections"], "user"), ["ann"]);
    assert_eq!(node.api("GET", "rooms/log/history").0, 503);
    assert_eq!(node.api("DELETE", &format!("connections/{bob_id}")).0, 503);
    let told = node.api("DELETE", &format!("connections/{ann_id}"));
    assert_eq!(told, (200, json!({"disconnected": 1})));
}

#[tokio::test]
async fn foreign_questions_are_counted_and_dropped() {
    let cluster = start(2);
    let node = &cluster.nodes[0];
    let before = node.metric("roomcast_relay_foreign_total");
    // Version, a message of the bus, of the node `x`, about the namespace `ns`.
    let head = r"\1\5\1x\0\0\0\0\0\0\0\0\0\2ns";
    for body in [
        "'junk'",
        "'1q7 {}'",
        r#"'1q7 {"ask":{"send_text":{"audience":{"all":true},"text":"hi"}}}'"#,
        "string.rep('1', 2^20 + 1)",
    ] {
        let script = format!("return redis.call('SPUBLISH', KEYS[1], '{head}' .. {body})");
        let told = cluster
            .redis
            .run(&["EVAL", &script, "1", "roomcast:ws:nodes"]);
        assert_eq!(told, "2", "{body}");
    }
    wait_for("they are not counted", || {
        node.metric("roomcast_relay_foreign_total") == before + 4.0
    })
    .await;
    assert_eq!(node.get("connections"), json!({"connections": []}));
}

/// The handle of a server in this process.
async fn host(redis: &Redis) -> Namespace {
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.relay = Some(redis.url().parse().expect("an address"));
    let policies = json!({"rooms": [
        {"match": "log*", "history": {"messages": 100}},
        {"match": "den", "presence": "members", "presence_grace_s": 0},
    ]});
    settings.policies = serde_json::from_value(policies).expect("policies");
    let listeners = roomcast::listen(&settings).expect("a free port");
    let host = Host::new(settings);
    let namespace = host.namespace("default");
    tokio::spawn(host.run(listeners, std::future::pending()));
    let began = Instant::now();
    while namespace.counts().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it does not start");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    namespace
}

#[tokio::test]
async fn a_handle_is_for_all_servers() {
    let cluster = start(2);
    let (mut ann, ann_id) = enter(&cluster.nodes[0], "ann", &["den", "log"]).await;
    let (bob, bob_id) = enter(&cluster.nodes[1], "bob", &["den"]).await;
    ann.publish("log", &json!(1)).await;
    let conn = |id: &str| id.parse().expect("an id");
    let (ann_id, bob_id) = (conn(&ann_id), conn(&bob_id));
    let namespace = host(&cluster.redis).await;
    let rooms = namespace.rooms("").await.expect("rooms");
    let rooms: Vec<_> = rooms.iter().map(|it| (&*it.name, it.members)).collect();
    assert_eq!(rooms, [("den", 2), ("log", 1)]);
    let counts = namespace.counts().await.expect("counts");
    assert_eq!((counts.connections, counts.memberships), (2, 3));
    let mut both = [ann_id, bob_id];
    both.sort_unstable();
    assert_eq!(namespace.members("den").await, Ok(both.to_vec()));
    let found = namespace.connections().await.expect("connections");
    assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), both);
    let found = namespace.connection(ann_id).await.expect("an answer");
    assert_eq!(found.and_then(|it| it.user).as_deref(), Some("ann"));
    let rooms = ["den".to_owned(), "log".to_owned()];
    assert_eq!(namespace.rooms_of(ann_id).await, Ok(Some(rooms.to_vec())));
    assert_eq!(
        namespace.rooms_of_user("bob").await,
        Ok(vec!["den".to_owned()])
    );
    assert_eq!(namespace.position("log").await.map(|it| it.offset), Ok(1));
    let history = namespace.history("log", .., 9).await.expect("a history");
    assert_eq!(history.messages.len(), 1);
    let present = namespace.presence("den", None, 9).await.expect("presence");
    assert_eq!((present.users, present.conns), (2, 2));
    assert_eq!(namespace.join(bob_id, "log").await, Ok(true));
    let explained = namespace.explain(Explained::past("log", 1), bob_id).await;
    let reason = explained.expect("an answer").reason;
    assert_ne!(reason, Reason::NotConnected, "its own server knows it");
    assert_eq!(namespace.leave(bob_id, "log").await, Ok(true));
    let code = CloseCode::new(4123).expect("a code");
    assert_eq!(namespace.disconnect(bob_id, code, "bye").await, Ok(()));
    assert_eq!(bob.close_code().await, 4123);
    assert!(namespace.disconnect(bob_id, code, "bye").await.is_err());

    cluster.nodes[0].signal(Signal::STOP);
    assert_eq!(namespace.connections().await.map(|it| it.len()), Ok(0));
    let fault = namespace.clone().needing_all_nodes().connections().await;
    let fault = fault.expect_err("one is missing").to_string();
    assert!(fault.contains(&cluster.nodes[0].id), "{fault}");
    cluster.nodes[0].signal(Signal::CONT);
}
