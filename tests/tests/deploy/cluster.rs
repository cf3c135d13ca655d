//! Three servers, Redis and nginx, as the file for Compose and the documentation start them.

use std::{fs, net::TcpStream, path::Path, process::Command};

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
pub(super) fn compose() -> Value {
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

/// A server with the variables and arguments of its service, and further variables.
fn server(service: &Value, relay: &str, further: &[(&str, &str)]) -> Process {
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
            (_, value) => value.expect("a value").to_owned(),
        };
        command.env(name, value);
    }
    command.envs(further.iter().copied());
    command.env("ROOMCAST_LISTEN", "127.0.0.1:0");
    command.args(words(&service["command"]));
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

/// Redis, three servers and nginx; they end with this value.
struct Cluster {
    nodes: Vec<Process>,
    /// `127.0.0.1:port` of nginx.
    front: String,
    relay: String,
    _proxy: Proxy,
    _redis: Redis,
}

impl Cluster {
    /// Starts all as the file for Compose says, and the servers with further variables.
    fn start(further: &[(&str, &str)]) -> Self {
        let compose = compose();
        let services = &compose["services"];
        let redis = words(&services["redis"]["command"]);
        assert_eq!(redis[0], "redis-server");
        let redis = Redis::start(&redis[1..]);
        let relay = format!("redis://{}", redis.authority());
        let nodes: Vec<_> = NODES
            .map(|name| server(&services[name], &relay, further))
            .into();

        let main = mounted(&services["nginx"], "/etc/nginx/nginx.conf");
        examine(&text(main.trim_start_matches("./")));
        let at = "/etc/nginx/conf.d/default.conf";
        let mut site = text(mounted(&services["nginx"], at).trim_start_matches("./"));
        for (name, node) in NODES.iter().zip(&nodes) {
            let place = format!("server {name}:3000 ");
            assert_eq!(site.matches(&place).count(), 1, "{place}");
            site = site.replace(&place, &format!("server {} ", node.authority));
        }
        let proxy = Proxy::start(Kind::Nginx, &site, "127.0.0.1:3000");
        Self {
            nodes,
            front: format!("127.0.0.1:{}", proxy.port),
            relay,
            _proxy: proxy,
            _redis: redis,
        }
    }
}

/// Has nginx check its own file, without the sites, which name servers that are not here.
fn examine(main: &str) {
    let site = "include /etc/nginx/conf.d/*.conf;";
    assert_eq!(main.matches(site).count(), 1, "{main}");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, pid) = (folder.path().join("nginx.conf"), folder.path().join("pid"));
    let main = format!("pid {};\n{}", pid.display(), main.replace(site, ""));
    fs::write(&file, main).expect("a file");
    let mut nginx = Command::new("/usr/sbin/nginx");
    passes(nginx.arg("-t").arg("-c").arg(&file));
}

#[test]
fn three_servers_run_behind_nginx_as_in_the_file_for_compose() {
    let mut cluster = Cluster::start(&[]);
    let (nodes, front) = (&cluster.nodes, &cluster.front);
    for node in nodes {
        // The check of the image, which Compose waits for.
        let url = format!("http://{}", node.authority);
        passes(roomcast().args(["doctor", &url, "--ready"]));
    }

    // Each member goes to the server with the fewest connections.
    let mut members = Vec::new();
    for _ in nodes {
        members.push(member(front));
    }
    let connections = |node: &Process| peer::metric(&node.authority, "roomcast_connections");
    for node in nodes {
        assert_eq!(connections(node), Some(1));
    }
    let (first, others) = members.split_first_mut().expect("members");
    exchange(first, others, "hello");
    for _ in nodes {
        peer::call(front, ("GET", "rooms"), KEY, "");
    }
    let body = r#"{"audience":{"rooms":["lobby"]},"event":"said","data":"by HTTP"}"#;
    let (status, answer) = peer::call(front, ("POST", "send"), KEY, body);
    assert_eq!(status, 200, "{answer}");
    for member in &mut members {
        hear(member, "by HTTP");
    }
    // Servers report their addresses with the next heartbeat.
    until("all servers to be known", || {
        let cluster = passes(
            roomcast()
                .arg("cluster")
                .env("ROOMCAST_RELAY", &cluster.relay),
        );
        nodes.iter().all(|node| cluster.contains(&node.authority))
    });

    // A server stops, as in a rolling restart, and its member reconnects to another. Its end is
    // delayed by clients that do not answer the close, and nginx had connections to it.
    let mut gone = cluster.nodes.remove(0);
    let silent: Vec<_> = (0..20).map(|_| member(&gone.authority)).collect();
    gone.signal("TERM");
    until("no further connections", || {
        TcpStream::connect(&gone.authority).is_err()
    });
    for _ in 0..2 * NODES.len() {
        member(&cluster.front);
        let (status, answer) = peer::call(&cluster.front, ("GET", "rooms"), KEY, "");
        assert_eq!(status, 200, "{answer}");
    }
    drop(silent);
    let mut first = members.remove(0);
    assert_eq!(first.rest().last(), Some(&Said::Close(1001)));
    let mut back = member(&cluster.front);
    exchange(&mut back, &mut members, "again");
    assert!(gone.ended().success());
}

/// Otherwise nginx would count the server as failed, and remove it for everybody.
#[test]
fn a_user_over_a_limit_takes_no_server_from_others() {
    let cluster = Cluster::start(&[
        ("ROOMCAST_CONNECTIONS_PER_USER_MAX", "1"),
        ("ROOMCAST_TRUSTED_PROXY", "127.0.0.1"),
        ("ROOMCAST_USER_HEADER", "X-User"),
    ]);
    let (front, ann) = (&cluster.front, "X-User: ann\r\n");
    let connect = |node: &Process| Peer::connect_with(&node.authority, ann).0;
    let _connections: Vec<_> = cluster.nodes.iter().map(connect).collect();
    for _ in 0..2 * NODES.len() {
        let head = Peer::silent(front).ask(front, "/ws", ann);
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        let (status, answer) = peer::call(front, ("GET", "rooms"), KEY, "");
        assert_eq!(status, 200, "{answer}");
        member(front);
    }
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
