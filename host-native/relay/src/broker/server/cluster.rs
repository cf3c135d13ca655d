//! Redis Cluster: the primary of the one slot that holds all data of a relay.

use std::{io, time::Duration};

use redis::{AsyncConnectionConfig, Client, RedisResult, Value, cmd, from_redis_value};

use super::{hosts::Hosts, info::info_field};

/// The timeout for each answer of a host.
const ANSWER: Duration = Duration::from_secs(1);

/// True for a prefix with a hash tag: all keys that begin with it are then in one slot.
pub(crate) fn has_tag(prefix: &str) -> bool {
    let tag = prefix
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

impl Hosts {
    /// Finds the primary that has the slot of a key, and makes its client. The hosts are asked one
    /// after the other.
    pub(super) async fn owner(&self, key: &str) -> RedisResult<Client> {
        let mut last = io::Error::from(io::ErrorKind::NotFound).into();
        for (host, port) in &self.addresses {
            match self.owner_by(host, *port, key).await {
                Ok((host, port)) => return self.client(&host, port),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address of the primary as one host knows it.
    async fn owner_by(&self, host: &str, port: u16, key: &str) -> RedisResult<(String, u16)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let client = self.client(host, port)?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let ask = |word: &str, key: Option<&str>| {
            let mut connection = connection.clone();
            let mut question = cmd("CLUSTER");
            question.arg(word).arg(key);
            async move { question.query_async::<Value>(&mut connection).await }
        };
        let info: String = from_redis_value(ask("INFO", None).await?)?;
        // A primary that was cut off knows nothing of its successor.
        if info_field(&info, "cluster_state") != Some("ok") {
            return Err(io::Error::other("the cluster is down, as this node of it sees it").into());
        }
        let slot: i64 = from_redis_value(ask("KEYSLOT", Some(key)).await?)?;
        let ranges: Vec<Vec<Value>> = from_redis_value(ask("SLOTS", None).await?)?;
        let owner = ranges.iter().find_map(|range| match &**range {
            [Value::Int(first), Value::Int(last), Value::Array(owner), ..]
                if (*first..=*last).contains(&slot) =>
            {
                Some(owner)
            }
            _ => None,
        });
        match owner.map(|owner| &**owner) {
            Some([name, Value::Int(port), ..]) => {
                let name: Option<String> = from_redis_value(name.clone())?;
                // A node that does not know its own name is reached by the name it was asked under.
                let name = name.filter(|name| !name.is_empty() && name != "?");
                let port = u16::try_from(*port).unwrap_or_default();
                Ok((name.unwrap_or_else(|| host.to_owned()), port))
            }
            _ => Err(io::Error::other("no node of the cluster has the slot of the relay").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_stands_between_braces() {
        for (prefix, has) in [
            ("{a}:", true),
            ("x{a}", true),
            ("{}:", false),
            ("a}b{", false),
            ("roomcast:", false),
        ] {
            assert_eq!(has_tag(prefix), has, "{prefix}");
        }
    }
}
