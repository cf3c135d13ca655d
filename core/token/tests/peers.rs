//! Tokens between this crate and two libraries of others: `jose` of npm, and PyJWT. Each verifies
//! what the other signed.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use roomcast_token::{KeySet, NewToken};
use serde_json::{Value, json};

use crate::forge::{
    ED25519, ED25519_PUB, NOW, P256, P256_PUB, RSA, RSA_PUB, SECRET, key, signing, verifier, verify,
};

/// The beginning of the year 2100: these libraries ask the system for the time.
const LATE: u64 = 4_102_444_800;

/// Runs a script of `tests/clients` with an input, and reads its output.
fn run(program: impl AsRef<Path>, script: &str, input: &Value) -> Value {
    let program = program.as_ref();
    let mut child = Command::new(program)
        .arg(script)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.display()));
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(input.to_string().as_bytes())
        .expect("read by it");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    assert!(
        output.status.success(),
        "{script}: {}: see tests/run",
        output.status
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn check(program: impl AsRef<Path>, script: &str) {
    let user = "alice é \u{1f600}";
    let secret = format!("hs256:{SECRET}");
    let mut to_verify = Vec::new();
    let mut expected = Vec::new();
    for (algorithm, private, public) in [
        ("HS256", &*secret, SECRET),
        ("ES256", P256, P256_PUB),
        ("EdDSA", ED25519, ED25519_PUB),
    ] {
        // From long ago, since the clock of the machine is that of the libraries.
        let token = signing(private).sign(&NewToken::new(user, 1_000_000_000, LATE));
        let token = token.expect("sound claims");
        let (parts, signature) = token.split_at(token.rfind('.').expect("parts") + 10);
        let letter = if signature.starts_with('A') { "B" } else { "A" };
        let changed = format!("{parts}{letter}{}", &signature[1..]);
        let over = signing(private).sign(&NewToken::new(user, 1_000_000_000, 1_000_000_060));
        let over = over.expect("sound claims");
        for (token, accepted) in [(token, true), (changed, false), (over, false)] {
            to_verify.push(json!({"algorithm": algorithm, "key": public, "token": token}));
            expected.push(json!(accepted.then_some(user)));
        }
    }
    let claims = json!({
        "sub": user, "exp": LATE, "iat": 1_799_999_999, "iss": "it", "aud": ["a", "rooms"],
        "grants": [{"rooms": "u:{user}:*", "can": ["join"]}], "meta": {"name": "\u{e9}\n\"\u{0}"},
    });
    let mut keys = vec![
        ("HS256", SECRET, &*secret),
        ("ES256", P256, P256_PUB),
        ("EdDSA", ED25519, ED25519_PUB),
    ];
    if cfg!(feature = "rs256") {
        keys.push(("RS256", RSA, RSA_PUB));
    }
    let to_sign = keys.iter().map(|(algorithm, private, _)| {
        json!({"algorithm": algorithm, "key": private, "kid": algorithm, "claims": claims})
    });
    let to_sign: Vec<Value> = to_sign.collect();
    let output = run(
        program,
        script,
        &json!({"verify": to_verify, "sign": to_sign}),
    );

    assert_eq!(output["verified"], Value::Array(expected), "{script}");
    let published = KeySet::read(output["jwks"].to_string().as_bytes()).expect("a set");
    assert_eq!(published.keys().count(), keys.len() - 1);
    let signed = output["signed"].as_array().expect("tokens");
    assert_eq!(signed.len(), keys.len());
    for (token, (algorithm, _, public)) in signed.iter().zip(keys) {
        let token = token.as_str().expect("a token");
        let own = verifier([key(public)])
            .with_issuer("it")
            .with_audience("rooms");
        let claims = verify(&own, token).expect(algorithm);
        assert_eq!(&*claims.user, user);
        assert_eq!(claims.issued_s, Some(1_799_999_999));
        if algorithm != "HS256" {
            let none = verifier([]).with_audience("rooms");
            assert!(
                none.verify(token, &published, NOW).is_ok(),
                "{script}: {algorithm}"
            );
        }
    }
}

#[test]
fn jose_and_this_crate_agree() {
    check("node", "token_jose.mjs");
}

#[test]
fn pyjwt_and_this_crate_agree() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/.venv/bin/python");
    check(python, "token_pyjwt.py");
}
