//! Scripts, and calls of them.

use redis::{
    Arg, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, aio::MultiplexedConnection, cmd,
};

/// The capacity for arguments of a call beside its keys and a long one: enough for nearly all
/// calls.
const SHORT: usize = 16;
/// The capacity for the bytes of these arguments.
const SHORT_BYTES: usize = 192;

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

    /// Begins a call of the script; the caller adds the arguments.
    pub(crate) fn call(&self, keys: &[impl AsRef<str>]) -> Cmd {
        self.call_with(keys, 0)
    }

    /// Begins a call with space for long arguments of `bytes` bytes.
    pub(crate) fn call_with(&self, keys: &[impl AsRef<str>], bytes: usize) -> Cmd {
        let keys_bytes: usize = keys.iter().map(|key| key.as_ref().len()).sum();
        let bytes = keys_bytes + SHORT_BYTES + bytes;
        let mut call = Cmd::with_capacity(keys.len() + SHORT, bytes);
        call.arg("EVALSHA").arg(&self.hash);
        call.arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        call
    }

    /// Makes the same call with the text of the script, for a server that has forgotten it. A
    /// reload and a call would be two steps, and the server might forget it in between.
    pub(crate) fn with_text(&self, call: &Cmd) -> Cmd {
        let mut whole = cmd("EVAL");
        whole.arg(self.text);
        // The arguments after the command and the hash.
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

/// True when the server does not know a script.
pub(crate) fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

macro_rules! scripts {
    ($($name:ident: $flags:literal, $($file:literal),+;)+) => {
        /// All scripts.
        #[derive(Debug)]
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)+
        }

        impl Scripts {
            pub(crate) fn new() -> Self {
                // With this first line, Redis refuses a script before it starts, not in the middle:
                // on a replica, and without `allow-oom` when memory is full.
                Self {
                    $($name: Script::new(concat!(
                        "#!lua", $flags, "\n", $(include_str!(concat!("../../lua/", $file))),+
                    )),)+
                }
            }

            fn all(&self) -> impl Iterator<Item = &Script> {
                [$(&self.$name),+].into_iter()
            }
        }
    };
}

// Only publishes are refused when memory is full. The other scripts write little, and a node that
// could not renew its lease would be taken for dead.
scripts! {
    publish: "", "room.lua", "once.lua", "publish.lua";
    history: " flags=allow-oom", "room.lua", "history.lua";
    positions: " flags=allow-oom", "room.lua", "positions.lua";
    presence: " flags=allow-oom", "room.lua", "total.lua", "presence.lua";
    reconcile: " flags=allow-oom", "room.lua", "total.lua", "reconcile.lua";
    members: " flags=allow-oom", "room.lua", "members.lua";
    lease: " flags=allow-oom", "counter.lua", "lease.lua";
    serials: " flags=allow-oom", "counter.lua", "serials.lua";
    claim: " flags=allow-oom", "claim.lua";
    reap: " flags=allow-oom", "room.lua", "total.lua", "reap.lua";
    withdraw: " flags=allow-oom", "withdraw.lua";
    rooms: " flags=allow-oom", "rooms.lua";
}

impl Scripts {
    pub(crate) async fn load(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        for script in self.all() {
            script.load(connection).await?;
        }
        Ok(())
    }
}
