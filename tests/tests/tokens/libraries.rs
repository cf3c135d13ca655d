//! Tokens that the usual libraries sign, over a socket: by `jose` of npm, and PyJWT.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{KEY, OFFER, ask, jwks::Issuer, text, unix_s};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script of `clients`, which `tests/run` prepares.
fn sign(program: PathBuf, script: &str, input: &Value) -> Value {
    let mut child = Command::new(&program)
        .arg(script)
        .current_dir(Path::new(HERE).join("clients"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.display()));
    let mut stdin = child.stdin.take().expect("piped");
    let written = stdin.write_all(input.to_string().as_bytes());
    written.expect("read by it");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{script}: see tests/run");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn check(program: PathBuf, script: &str) {
    let keys = Path::new(HERE).join("../core/token/tests/keys");
    let pem = |name: &str| std::fs::read_to_string(keys.join(name)).expect(name);
    let secret = KEY.trim_start_matches("hs256:").to_owned();
    let claims = json!({
        "sub": "ann", "iat": unix_s(), "exp": unix_s() + 60, "iss": "it", "aud": ["a", "rooms"],
        "grants": [{"rooms": "chat:{user}", "can": ["join"]}],
    });
    let tasks: Vec<Value> = [
        ("HS256", secret),
        ("ES256", pem("p256.pem")),
        ("EdDSA", pem("ed25519.pem")),
        ("RS256", pem("rsa2048.pem")),
    ]
    .into_iter()
    .map(|(algorithm, key)| json!({"algorithm": algorithm, "key": key, "kid": algorithm, "claims": claims}))
    .collect();
    let answer = sign(program, script, &json!({"verify": [], "sign": tasks}));
    let published = answer["jwks"]["keys"].as_array().expect("keys");
    let published: Vec<String> = published.iter().map(Value::to_string).collect();
    let issuer = Issuer::of(&published.join(","));
    let conditions = ["--token-issuer=it", "--token-audience=rooms"];
    let server = issuer.server(&[&["--token-key", KEY], &conditions[..]].concat());
    let signed = answer["signed"].as_array().expect("tokens");
    assert_eq!(signed.len(), 4);
    for token in signed {
        let bearer = format!("Authorization: Bearer {}", token.as_str().expect("a token"));
        let (mut peer, head) = ask(&server.authority, "", &[OFFER, &bearer]);
        assert!(head.starts_with("HTTP/1.1 101"), "{script}: {head}");
        assert!(text(&mut peer).contains(r#""user":"ann""#));
        assert!(peer.join("chat:ann").contains(r#""epoch""#));
    }
}

#[test]
fn tokens_by_jose_are_taken() {
    check("node".into(), "token_jose.mjs");
}

#[test]
fn tokens_by_pyjwt_are_taken() {
    check(Path::new(HERE).join(".venv/bin/python"), "token_pyjwt.py");
}
