//! Checks of a server before it is used.

use redis::{RedisError, aio::MultiplexedConnection, cmd};

use super::{cluster::has_tag, info::info_field, lineage::Lineage, url::RelayUrl};
use crate::broker::settings::Settings;

/// The oldest version that has `SSUBSCRIBE`, and refuses scripts before they start.
const VERSION_MIN: u32 = 7;

/// A reason why the relay cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no connection.
    #[error("the relay at {url} cannot be reached: {source}")]
    Unreachable {
        /// The address, without user and password.
        url: Box<str>,
        /// The error of the connection.
        source: RedisError,
    },
    /// An old version.
    #[error("the relay needs Redis or Valkey 7 or newer, and this is {0}: upgrade the server")]
    Version(Box<str>),
    /// A node of Redis Cluster under the address of a single server.
    #[error(
        "the server of the relay is a node of Redis Cluster: give the addresses of nodes, \
         redis+cluster://host:6379,host:6379"
    )]
    Cluster,
    /// A replica.
    #[error(
        "the server of the relay is a replica: give the address of its primary, or of Sentinels"
    )]
    Replica,
    /// A `maxmemory-policy` that evicts data when memory is full.
    #[error(
        "the relay needs `maxmemory-policy noeviction`, and this is {0}: an evicted room would lose \
         messages without a trace"
    )]
    Eviction(Box<str>),
    /// `INFO` is hidden.
    #[error(
        "the server of the relay hides INFO: permit `+info` to its user; or check by hand that it is \
         version 7, a primary and `noeviction`, say so, and choose the lineage `data`"
    )]
    Hidden,
    /// A lineage that could not detect lost messages on this server.
    #[error(
        "the lineage `data` needs `appendonly yes`, `appendfsync always` and no replica ({0}): \
         change that, or choose the lineage `replication`"
    )]
    DataLineage(&'static str),
    /// `CONFIG` is hidden.
    #[error(
        "the lineage `data` needs to read `appendfsync`: permit `+config|get` to the user of the \
         relay, or check it by hand and say so"
    )]
    HiddenConfig,
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// The server refused a command.
    #[error(
        "the server of the relay refused: {0}; its user needs scripts, pub/sub, streams and hashes"
    )]
    Command(RedisError),
}

/// Checks settings that are wrong for every server.
pub(crate) fn check_settings(settings: &Settings) -> Result<(), StartError> {
    let timing = &settings.timing;
    let wrong = if settings.asks_lineage && settings.lineage != Lineage::Replication {
        "only the lineage `replication` can be asked for in each script"
    } else if settings.url.is_cluster() && !has_tag(&settings.prefix) {
        "with Redis Cluster the prefix has a hash tag, such as {roomcast}:"
    } else if timing.lease < timing.heartbeat * 2 {
        "a lease lasts two heartbeats or longer"
    } else if timing.silence < timing.probe {
        "silence lasts longer than the time between probes"
    } else if settings.limits.calls_max == 0 || settings.limits.ring_events_max == 0 {
        "a limit of 0 lets nothing through"
    } else {
        return Ok(());
    };
    Err(StartError::Settings(wrong))
}

/// Checks the server. Warnings are logged.
pub(crate) async fn check(
    connection: &mut MultiplexedConnection,
    settings: &Settings,
) -> Result<(), StartError> {
    let info = match cmd("INFO").query_async::<String>(connection).await {
        Ok(info) => info,
        Err(error) if is_hidden(&error) => {
            let is_told = settings.is_checked_by_hand && settings.lineage == Lineage::Data;
            return is_told.then_some(()).ok_or(StartError::Hidden);
        }
        Err(error) => return Err(StartError::Command(error)),
    };
    check_info(&info, settings.url.is_cluster())?;
    let save = config(connection, "save").await?;
    if info_field(&info, "aof_enabled") != Some("1") && save.is_none_or(|save| save.is_empty()) {
        tracing::warn!(
            "the server of the relay keeps nothing on disk: a restart loses histories, and members \
             are told of gaps; `appendonly yes` keeps them"
        );
    }
    let replicas = config(connection, "min-replicas-to-write").await?;
    if goes_on_alone(&settings.url, replicas.as_deref()) {
        tracing::warn!(
            "a primary that is cut off from its replicas and Sentinels goes on, and what it \
             acknowledges then is lost when it is back; `min-replicas-to-write 1` and \
             `min-replicas-max-lag 10` stop it"
        );
    }
    if settings.lineage == Lineage::Data {
        check_data(connection, settings, &info).await?;
    }
    Ok(())
}

/// True when a cut-off primary goes on taking writes although another may have been promoted.
fn goes_on_alone(url: &RelayUrl, replicas: Option<&str>) -> bool {
    url.has_sentinels() && replicas == Some("0")
}

fn check_info(info: &str, is_cluster: bool) -> Result<(), StartError> {
    let field = |name| info_field(info, name).unwrap_or_default();
    // Valkey reports its own version, and the version of Redis that it is compatible with.
    let version = info_field(info, "valkey_version").unwrap_or_else(|| field("redis_version"));
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < VERSION_MIN) {
        return Err(StartError::Version(version.into()));
    }
    let is_node = field("redis_mode") == "cluster" || field("server_mode") == "cluster";
    if is_node && !is_cluster {
        return Err(StartError::Cluster);
    }
    if field("role") == "slave" {
        return Err(StartError::Replica);
    }
    match field("maxmemory_policy") {
        "noeviction" => Ok(()),
        other => Err(StartError::Eviction(other.into())),
    }
}

async fn check_data(
    connection: &mut MultiplexedConnection,
    settings: &Settings,
    info: &str,
) -> Result<(), StartError> {
    if info_field(info, "aof_enabled") != Some("1") {
        return Err(StartError::DataLineage("appendonly is off"));
    }
    if info_field(info, "connected_slaves") != Some("0") {
        return Err(StartError::DataLineage("it has a replica"));
    }
    match config(connection, "appendfsync").await?.as_deref() {
        Some("always") => Ok(()),
        Some(_) => Err(StartError::DataLineage("appendfsync is not always")),
        None if settings.is_checked_by_hand => Ok(()),
        None => Err(StartError::HiddenConfig),
    }
}

/// A setting of the server; `None` when it is hidden.
async fn config(
    connection: &mut MultiplexedConnection,
    name: &str,
) -> Result<Option<String>, StartError> {
    let mut get = cmd("CONFIG");
    get.arg("GET").arg(name);
    match get.query_async::<Vec<(String, String)>>(connection).await {
        Ok(found) => Ok(found.into_iter().next().map(|(_, value)| value)),
        Err(error) if is_hidden(&error) => Ok(None),
        Err(error) => Err(StartError::Command(error)),
    }
}

/// True for a command that the server denies to this user, by its permissions or by renaming it.
fn is_hidden(error: &RedisError) -> bool {
    let text = error.to_string();
    error.code() == Some("NOPERM") || text.contains("unknown command")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, more: &str) -> String {
        let rest = "redis_mode:standalone\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        format!("# Server\r\n{more}{version}\r\n{rest}")
    }

    #[test]
    fn versions_of_redis_and_valkey_are_read() {
        for version in ["redis_version:7.0.15", "redis_version:8.2.1"] {
            assert!(check_info(&info(version, ""), false).is_ok(), "{version}");
        }
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0";
        assert!(check_info(&info(valkey, ""), false).is_ok());
        for version in ["redis_version:6.2.14", "redis_version:", "x:7"] {
            let error = check_info(&info(version, ""), false).unwrap_err();
            assert!(matches!(error, StartError::Version(_)), "{version}");
        }
    }

    #[test]
    fn a_primary_that_sentinels_may_replace_is_to_stop_without_replicas() {
        let sentinels: RelayUrl = "redis+sentinel://s:26379/rooms".parse().unwrap();
        assert!(goes_on_alone(&sentinels, Some("0")));
        assert!(!goes_on_alone(&sentinels, Some("1")));
        assert!(!goes_on_alone(&sentinels, None), "it is hidden");
        let alone: RelayUrl = "redis://r:6379".parse().unwrap();
        assert!(!goes_on_alone(&alone, Some("0")));
    }

    #[test]
    fn a_server_that_cannot_work_is_refused_with_the_cure() {
        let check = |more: &str| check_info(&info("redis_version:7.0.0", more), false);
        let error = check("redis_mode:cluster\r\n").unwrap_err().to_string();
        assert!(error.contains("redis+cluster://"), "{error}");
        let error = check("role:slave\r\n").unwrap_err().to_string();
        assert!(error.contains("address of its primary"), "{error}");
        let error = check("maxmemory_policy:allkeys-lru\r\n").unwrap_err();
        assert!(error.to_string().contains("noeviction"), "{error}");
    }
}
