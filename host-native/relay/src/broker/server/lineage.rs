//! The lineage of data: the token that epochs belong to.

use redis::{RedisResult, aio::MultiplexedConnection, cmd};

use super::info::info_field;
use crate::broker::{id::random_id, keys::Keys};

/// The source of the token that says whose data a server has.
///
/// Replication is asynchronous: a replica that is promoted may lack the last messages, and would
/// give their offsets out again. The token differs then, and each room begins a new epoch, which
/// members are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lineage {
    /// `master_replid` of `INFO replication`: another one after each failover, and after a restart.
    #[default]
    Replication,
    /// A random value that is kept with the data: epochs outlive a restart. It sees no failover, so
    /// it is accepted only with `appendfsync always` and without a replica.
    Data,
    /// `run_id` of `INFO server`: a failover there and back without a restart gives the old one.
    /// Negative controls of tests show that it is wrong.
    #[doc(hidden)]
    RunId,
    /// The same for all data, for negative controls of tests.
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
                // When memory is full, `SET` is refused also where it would change nothing.
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
