//! The lineage of data: a token that all epochs are bound to.

use redis::{RedisResult, aio::MultiplexedConnection, cmd};

use super::info::info_field;
use crate::broker::{id::random_id, keys::Keys};

/// The source of the token that identifies the data of a server.
///
/// Replication is asynchronous: a promoted replica may lack the last messages, and would give out
/// their offsets again. Its token differs, so each room begins a new epoch, and members are
/// notified of a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lineage {
    /// `master_replid` of `INFO replication`: another one after each failover, and after a restart.
    #[default]
    Replication,
    /// A random value that is kept with the data: epochs outlive a restart. It does not detect a
    /// failover, so it is accepted only with `appendfsync always` and without a replica.
    Data,
    /// `run_id` of `INFO server`. It is unsafe: after a failover there and back without a restart
    /// it has its old value again. Tests use it as a negative control.
    #[doc(hidden)]
    RunId,
    /// A constant, which detects nothing. Tests use it as a negative control.
    #[doc(hidden)]
    Off,
}

impl Lineage {
    /// Reads the token from the server.
    pub(crate) async fn read(
        self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> RedisResult<Box<str>> {
        let (section, field) = match self {
            Self::Replication => ("replication", "master_replid"),
            Self::RunId => ("server", "run_id"),
            Self::Data => {
                // When memory is full, even a `SET` that would change nothing is refused.
                let mut get = cmd("GET");
                get.arg(keys.lineage());
                if let Some(kept) = get.query_async::<Option<String>>(connection).await? {
                    return Ok(kept.into());
                }
                let fresh = random_id();
                let mut set = cmd("SET");
                set.arg(keys.lineage()).arg(&*fresh).arg("NX").arg("GET");
                let kept: Option<String> = set.query_async(connection).await?;
                return Ok(kept.map_or(fresh, Into::into));
            }
            Self::Off => return Ok("off".into()),
        };
        let info: String = cmd("INFO").arg(section).query_async(connection).await?;
        let token = info_field(&info, field).unwrap_or_default();
        Ok(token.into())
    }
}
