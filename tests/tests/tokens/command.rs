//! Tokens on the command line: `roomcast join`.

use super::{serve, token};
use crate::process::child::{roomcast, run};

#[test]
fn join_takes_a_token_and_asks_for_one() {
    let server = serve(&[]);
    let url = format!("ws://{}/ws", server.authority);
    let mut command = roomcast();
    command.args(["join", "chat:a", "--url", &url]);
    // It leaves at the end of the input, once it is answered.
    let output = command
        .env("ROOMCAST_TOKEN", token("ann"))
        .output()
        .expect("a process");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains(r#""user":"ann""#), "{printed}");
    assert!(printed.contains(r#""event":"$join""#), "{printed}");

    for token in [&[][..], &["--token", "x.y.z"]] {
        let arguments = [&["join", "chat:a", "--url", &url], token].concat();
        let (code, told) = run(&arguments);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("--token, or ROOMCAST_TOKEN"), "{told}");
    }
    let (code, told) = run(&["join", "chat:a", "--url", &url, "--token", "a b"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("dots between"), "{told}");
}
