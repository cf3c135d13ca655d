//! `roomcast token`: tokens for development.

use std::{
    fs,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use roomcast_core::{
    Timestamp,
    policy::{GrantRules, Right},
};
use roomcast_token::{KeySet, NewToken, Now, SigningKey, Unverified, Verifier};
use serde_json::value::RawValue;

use super::say;

const AFTER_HELP: &str = "\
The token is printed alone, for scripts; behind it, on stderr, the address of the server's page with
the token. It is for development: in production the backend that knows the users signs, with any
library for JWT. A key for RS256 only verifies: sign with one for HS256, ES256 or EdDSA.

Examples:
  export ROOMCAST_TOKEN_KEY=hs256:$(openssl rand -hex 32)
  roomcast serve &
  roomcast token --user ann --grant 'chat:* join,publish,presence,history' --ttl 1h
  roomcast token --read eyJhbGciOi...";

/// The rights that a grant gives when it names none.
const ALL: &str = "join,publish,presence,history";

/// Make a token for development, or read one
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TokenArgs {
    /// The key that signs: hs256:SECRET, or a file with a private key for ES256 or EdDSA, in PEM or
    /// a JWK. One for RS256 only verifies
    #[arg(
        long,
        value_name = "KEY",
        env = "ROOMCAST_TOKEN_KEY",
        hide_env_values = true
    )]
    key: Option<String>,
    /// The user
    #[arg(long, required_unless_present = "read")]
    user: Option<String>,
    /// Rooms and rights in them, such as 'chat:* join,publish'; all rights when none is named.
    /// {user} stands for the user. Repeat it for more
    #[arg(long, value_name = "ROOMS [RIGHTS]", value_parser = grant)]
    grant: Vec<Grant>,
    /// Time for which the token holds: 90s, 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Room to join at once. Repeat it for more
    #[arg(long)]
    room: Vec<String>,
    /// JSON that presence shows of the user
    #[arg(long, value_name = "JSON", value_parser = json)]
    meta: Option<Box<RawValue>>,
    /// The issuer, where the server wants one
    #[arg(long, env = "ROOMCAST_TOKEN_ISSUER")]
    issuer: Option<String>,
    /// The audience, where the server wants one
    #[arg(long, env = "ROOMCAST_TOKEN_AUDIENCE")]
    audience: Option<String>,
    /// The server whose page is shown
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    page: String,
    /// Read this token: print what it says, and with a key whether a server takes it
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["user", "grant", "room", "meta"])]
    read: Option<String>,
}

/// A rule as typed.
#[derive(Debug, Clone)]
struct Grant {
    rooms: String,
    can: Vec<String>,
}

fn grant(text: &str) -> Result<Grant, String> {
    let (rooms, can) = match text.trim().rsplit_once(' ') {
        Some((rooms, can)) => (rooms.trim(), can),
        None => (text.trim(), ALL),
    };
    let can: Vec<_> = can.split(',').map(str::to_owned).collect();
    for right in &can {
        let json = serde_json::Value::from(&**right);
        if serde_json::from_value::<Right>(json).is_err() {
            return Err(format!("{right:?} is no right: they are {ALL}"));
        }
    }
    let rooms = rooms.to_owned();
    Ok(Grant { rooms, can })
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be a number with s, m, h or d behind it: 90s, 15m, 1h, 7d";
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(wrong),
    };
    let number: u64 = digits.parse().map_err(|_| wrong)?;
    let seconds = number.checked_mul(unit).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or(wrong)
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|fault| format!("is not JSON: {fault}"))
}

/// Makes a token and prints it, or reads one.
///
/// # Errors
///
/// When the key does not sign, or a server would refuse the token.
pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    if let Some(token) = &args.read {
        return read(args, key.as_ref(), token);
    }
    let Some((key, user)) = key.zip(args.user.as_deref()) else {
        bail!("--key or ROOMCAST_TOKEN_KEY is needed to sign: the server's hs256:SECRET");
    };
    let rules: Vec<_> = args.grant.iter().map(rule).collect();
    let rules = format!("[{}]", rules.join(","));
    let rules = GrantRules::from_json(&rules).context("--grant")?;
    let issued_s = unix_s();
    let mut token = NewToken::new(user, issued_s, issued_s + args.ttl.as_secs());
    token.grants = Some(&rules);
    token.meta = args.meta.as_deref();
    token.issuer = args.issuer.as_deref();
    token.audience = args.audience.as_deref();
    let rooms: Vec<_> = args.room.iter().map(|room| &**room).collect();
    token.rooms = &rooms;
    let token = key.sign(&token).context("a server would refuse it")?;
    say::result(format_args!("{token}")).context("cannot write the token")?;
    let page = args.page.trim_end_matches('/');
    say!("Open {page}/#token={token}");
    if rules.iter().next().is_none() {
        say!("Without --grant it gives no rights but those that the server's [[grants]] give.");
    }
    for warning in rules.iter().filter_map(|rule| rule.warning()) {
        say!("{warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn rule(grant: &Grant) -> String {
    let rooms = serde_json::Value::from(&*grant.rooms);
    let can = serde_json::Value::from(&*grant.can);
    format!(r#"{{"rooms":{rooms},"can":{can}}}"#)
}

/// Parses a key, which is given as itself or as the name of its file.
fn read_key(text: &str) -> anyhow::Result<SigningKey> {
    let is_key = text.starts_with("hs256:") || text.trim_start().starts_with(['{', '-']);
    let text = if is_key {
        text.to_owned()
    } else {
        fs::read_to_string(text)
            .context("--key is neither hs256:SECRET nor a file that can be read")?
    };
    SigningKey::parse(&text).context("--key")
}

/// Prints what a token says, and with a key whether a server takes it.
fn read(args: &TokenArgs, key: Option<&SigningKey>, token: &str) -> anyhow::Result<ExitCode> {
    let Unverified { header, claims, .. } = Unverified::read(token.trim())?;
    say::result(format_args!("{header}\n{claims}")).context("cannot write the token")?;
    let Some(key) = key else {
        say!("Not verified: give its key with --key or ROOMCAST_TOKEN_KEY.");
        return Ok(ExitCode::SUCCESS);
    };
    let mut verifier = Verifier::new([key.key()])?;
    if let Some(issuer) = &args.issuer {
        verifier = verifier.with_issuer(&**issuer);
    }
    if let Some(audience) = &args.audience {
        verifier = verifier.with_audience(&**audience);
    }
    let (unix_s, time) = (unix_s(), Timestamp::ZERO);
    let now = Now { unix_s, time };
    match verifier.verify(token.trim(), &KeySet::default(), now) {
        Ok(claims) => {
            let left_s = claims.deadline.as_millis() / 1000;
            say!("Valid: user {:?}, for {left_s} s more.", claims.user);
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            say!("Refused: {fault}.");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn unix_s() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "1",
            "h",
            "0s",
            "-1h",
            "1.5h",
            "1w",
            "99999999999999999d",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grant_has_all_rights_or_those_it_names() {
        let json = |text| grant(text).map(|grant| rule(&grant));
        let all = r#"{"rooms":"chat:*","can":["join","publish","presence","history"]}"#;
        assert_eq!(json("chat:*").as_deref(), Ok(all));
        let some = r#"{"rooms":"a b","can":["join","publish"]}"#;
        assert_eq!(json("a b join,publish").as_deref(), Ok(some));
        for wrong in ["chat:* read", "chat:* join,", "chat:* Join"] {
            assert!(json(wrong).is_err(), "{wrong}");
        }
    }
}
