//! Three servers, Redis and nginx, as the file for Compose and the documentation start them.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::{HERE, passes, path, redis::Redis, text};
use crate::{
    peer::{self, Peer, Said},
    process::child::{Process, roomcast},
    proxy::{Kind, Proxy, until},
};

const KEY: &str = "key-of-a-test";
const NODES: [&str; 3] = ["one", "two", "three"];

/// The file for Compose as JSON, with merged keys; it is checked on the way.
fn compose() -> Value {
    let mut python = Command::new(Path::new(HERE).join(".venv/bin/python"));
    python.arg(Path::new(HERE).join("clients/compose.py"));
    let json = passes(python.arg(path("compose.yaml")));
    serde_json::from_str(&json).expect("JSON")
}

/// The words of a list.
fn words(list: &Value) -> Vec<&str> {
    let words = list.as_array().expect("a list").iter();
    words.map(|word| word.as_str().expect("a text")).collect()
}

/// The file of this machine that a service has at a path.
fn mounted<'a>(service: &'a Value, at: &str) -> &'a str {
    let mut volumes = words(&service["volumes"]).into_iter();
    let suffix = format!(":{at}:ro");
    volumes
        .find_map(|volume| volume.strip_suffix(&*suffix))
        .expect("a volume")
}

/// A server with the variables of its service.
fn server(service: &Value, relay: &str) -> Process {
    let mut command = roomcast();
    for (name, value) in service["environment"].as_object().expect("variables") {
        let value = match (&**name, value.as_str()) {
            ("ROOMCAST_RELAY", Some(_)) => relay.to_owned(),
            ("ROOMCAST_API_KEY", Some(text)) => {
                assert!(text.starts_with("${ROOMCAST_API_KEY:?"), "{text}");
                KEY.to_owned()
            }
            ("ROOMCAST_CONFIG", Some(at)) => {
                let file = fs::canonicalize(path(mounted(service, at))).expect("a file");
                file.to_str().expect("a path").to_owned()
            }
            (_, Some(value)) => value.to_owned(),
            // It is removed.
            (_, None) => continue,
        };
        command.env(name, value);
    }
    command.env("ROOMCAST_LISTEN", "127.0.0.1:0").arg("serve");
    Process::run(command)
}

/// A member of the lobby at this address.
fn member(authority: &str) -> Peer {
    let mut peer = Peer::connect(authority, "");
    peer.join("lobby");
    peer
}

/// Publishes, and reads up to it at each of the others.
fn exchange(publisher: &mut Peer, others: &mut [Peer], text: &str) {
    publisher.say(&format!(
        r#"{{"event":"said","room":"lobby","data":"{text}"}}"#
    ));
    for other in others {
        hear(other, text);
    }
}

fn hear(peer: &mut Peer, text: &str) {
    loop {
        match peer.next() {
            Said::Text(said) if said.contains(text) => return,
            Said::Text(_) | Said::Ping => {}
            said @ (Said::Pong | Said::Close(_) | Said::End) => panic!("{said:?} before {text}"),
        }
    }
}

#[test]
fn three_servers_run_behind_nginx_as_in_the_file_for_compose() {
    let compose = compose();
    let services = &compose["services"];
    let redis = words(&services["redis"]["command"]);
    assert_eq!(redis[0], "redis-server");
    let redis = Redis::start(&redis[1..]);
    let relay = format!("redis://{}", redis.authority());
    let mut nodes: Vec<_> = NODES.map(|name| server(&services[name], &relay)).into();

    let at = "/etc/nginx/conf.d/default.conf";
    let mut site = text(mounted(&services["nginx"], at).trim_start_matches("./"));
    for (name, node) in NODES.iter().zip(&nodes) {
        let place = format!("server {name}:3000 ");
        assert_eq!(site.matches(&place).count(), 1, "{place}");
        site = site.replace(&place, &format!("server {} ", node.authority));
        // The check of the image, which Compose waits for.
        let url = format!("http://{}", node.authority);
        passes(roomcast().args(["doctor", &url, "--ready"]));
    }
    assert!(text("docker/Dockerfile").contains("ROOMCAST_LISTEN=0.0.0.0:3000"));
    let proxy = Proxy::start(Kind::Nginx, &site, "127.0.0.1:3000");
    let front = format!("127.0.0.1:{}", proxy.port);

    // Each goes to the server that has the fewest.
    let mut members = Vec::new();
    for _ in &nodes {
        members.push(member(&front));
    }
    let connections = |node: &Process| peer::metric(&node.authority, "roomcast_connections");
    for node in &nodes {
        assert_eq!(connections(node), Some(1));
    }
    let (first, others) = members.split_first_mut().expect("members");
    exchange(first, others, "hello");
    let body = r#"{"audience":{"rooms":["lobby"]},"event":"said","data":"by HTTP"}"#;
    let (status, answer) = peer::call(&front, ("POST", "send"), KEY, body);
    assert_eq!(status, 200, "{answer}");
    for member in &mut members {
        hear(member, "by HTTP");
    }
    // They say where they listen with the next heartbeat.
    until("all servers to be known", || {
        let cluster = passes(roomcast().arg("cluster").env("ROOMCAST_RELAY", &relay));
        nodes.iter().all(|node| cluster.contains(&node.authority))
    });

    // One goes, as in a rolling restart: its member comes back by another.
    let mut gone = nodes.remove(0);
    gone.signal("TERM");
    let mut first = members.remove(0);
    assert_eq!(first.rest().last(), Some(&Said::Close(1001)));
    let mut back = member(&front);
    exchange(&mut back, &mut members, "again");
    assert!(gone.ended().success());
}

/// The commands of the documentation, with other ports.
#[test]
fn the_commands_of_the_documentation_make_a_cluster() {
    let page = fs::read_to_string(path("../docs/many-nodes.md")).expect("a page");
    let (_, block) = page.split_once("```sh\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let (mut redis, mut nodes) = (None::<Redis>, Vec::new());
    for line in block.lines() {
        let words: Vec<&str> = line.trim_end_matches(" &").split(' ').collect();
        if words[0] == "redis-server" {
            redis = Some(Redis::start(&words[1..]));
            continue;
        }
        assert_eq!(words[..2], ["roomcast", "serve"], "{line}");
        let redis = redis.as_ref().expect("Redis is first").authority();
        let mut command = roomcast();
        for word in &words[1..] {
            let word = word.replace("127.0.0.1:6379", &redis);
            let is_place = word.starts_with("127.0.0.1:30");
            command.arg(if is_place { "127.0.0.1:0" } else { &word });
        }
        nodes.push(Process::run(command));
    }
    assert_eq!(nodes.len(), 3, "{block}");
    let members = nodes.iter().map(|node| member(&node.authority));
    let mut members: Vec<_> = members.collect();
    let (first, others) = members.split_first_mut().expect("members");
    exchange(first, others, "hello");
    until("all servers to be ready", || {
        nodes.iter().all(|node| node.get("/readyz") == Some(200))
    });
}
