//! The servers that share the relay.

use std::time::{SystemTime, UNIX_EPOCH};

use roomcast_relay::{Inspector, Node, RelayError, Settings};
use serde::{Deserialize, Serialize, Serializer};

use super::{
    refused,
    server::{self, Server},
    table::{
        Column::{Number, Text},
        age, table,
    },
};
use crate::cli::{client::failure::Failure, replay::show::one_line, top::format::count};

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    relay: String,
    prefix: String,
    #[serde(serialize_with = "or_null")]
    server: Result<Server, RelayError>,
    nodes: Vec<Listed>,
}

/// A server, as it is printed in JSON.
#[derive(Debug, Serialize)]
struct Listed {
    node: String,
    state: State,
    lease_left_ms: u64,
    #[serde(flatten)]
    about: About,
}

/// States of a server, by its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Up,
    Draining,
    /// Its lease has ended, and no other server has taken it away yet.
    Silent,
    /// Its users are being removed.
    Dead,
}

/// Facts that a server published about itself. A server of another version may publish fewer.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct About {
    host: Option<String>,
    listen: Option<String>,
    version: Option<String>,
    since_ms: Option<u64>,
    connections: Option<u64>,
    namespaces: Option<u64>,
    lag_ms: Option<u64>,
    #[serde(skip_serializing)]
    draining: bool,
}

fn or_null<S: Serializer>(
    server: &Result<Server, RelayError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    server.as_ref().ok().serialize(serializer)
}

/// Asks the relay for everything.
///
/// # Errors
///
/// When it does not list its nodes. Facts about the relay's own server may be missing.
pub(super) async fn read(relay: &mut Inspector, settings: &Settings) -> Result<Cluster, Failure> {
    let server = relay.server().await;
    let nodes = relay.nodes().await.map_err(refused)?;
    let mut nodes: Vec<_> = nodes.into_iter().map(listed).collect();
    nodes.sort_by(|a, b| {
        (&a.about.host, &a.about.listen, &a.node).cmp(&(&b.about.host, &b.about.listen, &b.node))
    });
    Ok(Cluster {
        relay: settings.url.to_string(),
        prefix: settings.prefix.to_string(),
        server: server.map(Into::into),
        nodes,
    })
}

fn listed(node: Node) -> Listed {
    let about: About = serde_json::from_slice(&node.about).unwrap_or_default();
    let state = match node.lease_ms {
        0 if node.about.is_empty() => State::Dead,
        0 => State::Silent,
        _ if about.draining => State::Draining,
        _ => State::Up,
    };
    Listed {
        node: node.incarnation.into(),
        state,
        lease_left_ms: node.lease_ms,
        about,
    }
}

/// Formats the answer as text.
pub(super) fn lines(cluster: &Cluster) -> Vec<String> {
    let mut lines = vec![format!(
        "relay        {}, prefix {}",
        cluster.relay, cluster.prefix
    )];
    lines.extend(server::lines(&cluster.server));
    lines.push(String::new());
    if cluster.nodes.is_empty() {
        lines.push("no servers: none has started with this relay and prefix".to_owned());
        return lines;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let columns = [
        Text("NODE"),
        Text("STATE"),
        Text("HOST"),
        Text("LISTEN"),
        Text("VERSION"),
        Number("UP FOR"),
        Number("LEASE LEFT"),
        Number("CONNECTIONS"),
        Number("NAMESPACES"),
        Number("LAG"),
    ];
    let rows = cluster.nodes.iter().map(|node| row(node, now_ms));
    lines.extend(table(&columns, &rows.collect::<Vec<_>>()));
    lines
}

fn row(node: &Listed, now_ms: u64) -> Vec<String> {
    // Facts about a server come from the relay, so they cannot be trusted.
    let text = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or("-");
        one_line(text).into_owned()
    };
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), count);
    let millis = |number: Option<u64>| {
        number.map_or_else(|| "-".to_owned(), |ms| format!("{} ms", count(ms)))
    };
    let about = &node.about;
    let up_for = about
        .since_ms
        .map(|since| now_ms.saturating_sub(since) / 1_000);
    let state = match node.state {
        State::Up => "up",
        State::Draining => "draining",
        State::Silent => "silent",
        State::Dead => "dead",
    };
    vec![
        one_line(&node.node).into_owned(),
        state.to_owned(),
        text(&about.host),
        text(&about.listen),
        text(&about.version),
        up_for.map_or_else(|| "-".to_owned(), age),
        millis(Some(node.lease_left_ms)),
        number(about.connections),
        number(about.namespaces),
        millis(about.lag_ms),
    ]
}
