//! `roomcast key`: a new key of the HTTP API.

use std::{fmt::Write, process::ExitCode};

use anyhow::Context;
use roomcast::{ApiKey, KeyScope};

use super::say;

const AFTER_HELP: &str = "\
Two lines are printed. The first is the key, for the backend, as `Authorization: Bearer KEY` or
`roomcast send --api-key KEY`; it is shown this once and kept nowhere. The second is its hash, for
the server: --api-key, ROOMCAST_API_KEY, or `api_keys` in the file of --config. It is no secret.

To change a key, give the server both hashes until every backend has the new key.

Examples:
  roomcast key
  roomcast key --scope publish";

/// Make a key for the HTTP API
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct KeyArgs {
    /// Calls that the key allows: publish (only send), read (only look), or admin (all)
    #[arg(long, value_name = "SCOPE", default_value = "admin", value_parser = scope)]
    scope: KeyScope,
}

fn scope(text: &str) -> Result<KeyScope, &'static str> {
    let mut scopes = KeyScope::ALL.into_iter();
    let scope = scopes.find(|scope| scope.as_str() == text);
    scope.ok_or("must be publish, read or admin")
}

/// Makes a key, and prints it and its hash.
///
/// # Errors
///
/// When the system gives no random bytes, or they cannot be printed.
pub(crate) fn run(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let text = new_key()?;
    let hashed = ApiKey::new(&text).with_scope(args.scope).hashed();
    say::result(format_args!("{text}\n{hashed}")).context("cannot write the key")?;
    say!("The key, for the backend, shown this once; and its hash, for the server's --api-key.");
    Ok(ExitCode::SUCCESS)
}

/// Makes a key of 256 random bits. Its prefix cannot begin a hash, so that the two are not
/// confused.
fn new_key() -> anyhow::Result<String> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)
        .map_err(|fault| anyhow::anyhow!("the system gives no random bytes: {fault}"))?;
    let mut text = String::from("roomcast_");
    for byte in random {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_each_time_and_no_hash() {
        let keys = [(); 2].map(|()| new_key().expect("randomness"));
        assert_ne!(keys[0], keys[1]);
        for key in keys {
            assert_eq!(key.len(), "roomcast_".len() + 64, "{key}");
            assert_eq!(key.parse(), Ok(ApiKey::new(&key)));
        }
    }

    #[test]
    fn a_scope_is_a_word_of_the_settings() {
        for known in KeyScope::ALL {
            assert_eq!(scope(known.as_str()), Ok(known));
        }
        for wrong in ["", "Admin", "write"] {
            assert!(scope(wrong).is_err(), "{wrong}");
        }
    }
}
