//! The server of the relay.

use roomcast_relay::{RelayError, ServerFacts};
use serde::Serialize;

use super::table::age;
use crate::cli::top::format::bytes;

/// Facts about the server, as they are printed in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Server {
    version: String,
    role: &'static str,
    replicas: u64,
    lineage: Lineage,
    append_only: bool,
    append_sync: Option<String>,
    save: Option<String>,
    memory_bytes: u64,
    memory_bytes_max: u64,
    eviction: String,
    uptime_s: u64,
    /// Warnings about facts that make servers refuse the relay, or that lose data.
    remarks: Vec<&'static str>,
}

/// The lineages that rooms may belong to, by the setting that chooses one.
#[derive(Debug, Serialize)]
struct Lineage {
    replication: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl From<ServerFacts> for Server {
    fn from(facts: ServerFacts) -> Self {
        let remarks = remarks(&facts);
        Self {
            version: facts.version.into(),
            role: if facts.is_replica {
                "replica"
            } else {
                "primary"
            },
            replicas: facts.replicas,
            lineage: Lineage {
                replication: facts.replication.into(),
                data: facts.data.map(Into::into),
            },
            append_only: facts.is_append_only,
            append_sync: facts.append_sync.map(Into::into),
            save: facts.save.map(Into::into),
            memory_bytes: facts.memory_bytes,
            memory_bytes_max: facts.memory_bytes_max,
            eviction: facts.eviction.into(),
            uptime_s: facts.uptime_s,
            remarks,
        }
    }
}

fn remarks(facts: &ServerFacts) -> Vec<&'static str> {
    let has_snapshots = facts.save.as_deref().is_none_or(|save| !save.is_empty());
    let remarks = [
        (
            facts.is_replica,
            "it is a replica, and takes no writes: name its primary, or Sentinels",
        ),
        (
            &*facts.eviction != "noeviction",
            "servers refuse it: set `maxmemory-policy noeviction`",
        ),
        (
            !facts.is_append_only && !has_snapshots,
            "it keeps nothing on disk: its restart loses histories (`appendonly yes`)",
        ),
    ];
    let remarks = remarks.into_iter().filter(|(is_so, _)| *is_so);
    remarks.map(|(_, remark)| remark).collect()
}

/// Formats facts about the server of the relay, or why they are unknown.
pub(super) fn lines(server: &Result<Server, RelayError>) -> Vec<String> {
    let server = match server {
        Ok(server) => server,
        Err(fault) => return vec![format!("server       unknown: {fault}")],
    };
    let data = server.lineage.data.as_ref();
    let data = data.map_or_else(String::new, |data| format!(", data {data}"));
    let append = match (server.append_only, &server.append_sync) {
        (false, _) => "no append-only file".to_owned(),
        (true, None) => "append-only file".to_owned(),
        (true, Some(sync)) => format!("append-only file, appendfsync {sync}"),
    };
    let save = server.save.as_deref().filter(|save| !save.is_empty());
    let save = save.map_or_else(String::new, |save| format!(", snapshots {save}"));
    let limit = match server.memory_bytes_max {
        0 => "no limit".to_owned(),
        limit => bytes(limit),
    };
    let (used, eviction) = (bytes(server.memory_bytes), &server.eviction);
    let (version, role, replicas) = (&server.version, server.role, server.replicas);
    let mut lines = vec![
        format!(
            "server       {version}, {role}, {replicas} replicas, up {}",
            age(server.uptime_s)
        ),
        format!(
            "lineage      replication {}{data}",
            server.lineage.replication
        ),
        format!("disk         {append}{save}"),
        format!("memory       {used} of {limit}, {eviction}"),
    ];
    lines.extend(
        server
            .remarks
            .iter()
            .map(|remark| format!("warning      {remark}")),
    );
    lines
}
