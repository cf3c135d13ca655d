//! Scripts, and calls of them.

use redis::{Arg, Cmd, RedisResult, aio::MultiplexedConnection, cmd};

/// A script that Redis runs in one step.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call; arguments follow.
    pub(crate) fn call(&self, keys: &[String]) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&self.hash).arg(keys.len()).arg(keys);
        call
    }

    /// The same call for a server that has forgotten the script: in one step, so that it cannot
    /// forget it again in between.
    pub(crate) fn with_text(&self, call: &Cmd) -> Cmd {
        let mut whole = cmd("EVAL");
        whole.arg(self.text);
        // Behind the command and the hash.
        for argument in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                whole.arg(bytes);
            }
        }
        whole
    }

    pub(crate) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        load.query_async::<String>(connection).await?;
        Ok(())
    }
}

// The first line makes Redis refuse a script as a whole on a replica, and one that may fill the
// memory before it has begun.
macro_rules! text {
    ($flags:literal, $($file:literal),*) => {
        concat!("#!lua", $flags, "\n", $(include_str!(concat!("../../lua/", $file))),*)
    };
}

/// All scripts.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) publish: Script,
    pub(crate) history: Script,
    pub(crate) positions: Script,
    pub(crate) presence: Script,
    pub(crate) reconcile: Script,
    pub(crate) members: Script,
    pub(crate) lease: Script,
    pub(crate) numbers: Script,
    pub(crate) claim: Script,
    pub(crate) reap: Script,
    pub(crate) withdraw: Script,
}

impl Scripts {
    /// Only publishes are refused when memory is full. The others write little, and a node that
    /// could not renew its lease would be taken for dead.
    pub(crate) fn new() -> Self {
        Self {
            publish: Script::new(text!("", "room.lua", "publish.lua")),
            history: Script::new(text!(" flags=allow-oom", "room.lua", "history.lua")),
            positions: Script::new(text!(" flags=allow-oom", "room.lua", "positions.lua")),
            presence: Script::new(text!(
                " flags=allow-oom",
                "room.lua",
                "total.lua",
                "presence.lua"
            )),
            reconcile: Script::new(text!(
                " flags=allow-oom",
                "room.lua",
                "total.lua",
                "reconcile.lua"
            )),
            members: Script::new(text!(" flags=allow-oom", "room.lua", "members.lua")),
            lease: Script::new(text!(" flags=allow-oom", "counter.lua", "lease.lua")),
            numbers: Script::new(text!(" flags=allow-oom", "counter.lua", "numbers.lua")),
            claim: Script::new(text!(" flags=allow-oom", "claim.lua")),
            reap: Script::new(text!(
                " flags=allow-oom",
                "room.lua",
                "total.lua",
                "reap.lua"
            )),
            withdraw: Script::new(text!(" flags=allow-oom", "withdraw.lua")),
        }
    }

    pub(crate) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        for script in [
            &self.publish,
            &self.history,
            &self.positions,
            &self.presence,
            &self.reconcile,
            &self.members,
            &self.lease,
            &self.numbers,
            &self.claim,
            &self.reap,
            &self.withdraw,
        ] {
            script.load(connection).await?;
        }
        Ok(())
    }
}
