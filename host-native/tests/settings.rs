//! The command line of the real server: what it takes, what it refuses, and that it serves with
//! every number at the end of its range.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use roomcast::Settings;
use roomcast_http::settings::{LIMITS, Setting};
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// The flag of each number, with its range.
fn numbers() -> Vec<(String, u64, u64)> {
    fn of<T>(table: &[Setting<T>]) -> impl Iterator<Item = (String, u64, u64)> {
        table.iter().filter_map(|setting| {
            let range = setting.range()?;
            let least = match setting.name {
                // A message of the default size must fit.
                "inbound-bytes-rate" => 65_536,
                "outbox-bytes-max" => 131_072,
                _ => *range.start(),
            };
            Some((format!("--{}", setting.name), least, *range.end()))
        })
    }
    let numbers: Vec<_> = of(Settings::TABLE).chain(of(LIMITS)).collect();
    assert!(numbers.len() >= 38, "{numbers:?}");
    numbers
}

/// The command, with nothing from the environment of whoever runs the test.
fn roomcast(flags: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().args(flags);
    command
}

struct Server {
    process: Child,
    address: String,
    said: Vec<String>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut process = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut said = Vec::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.split_once("listening on http://");
            let address = address.map(|(_, address)| address.to_owned());
            said.push(line);
            address
        });
        let Some(address) = address else {
            let _ = process.wait();
            panic!("{command:?} does not listen: {said:?}");
        };
        // A pipe that nobody empties would stop the server some day.
        thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address,
            said,
        }
    }

    /// Makes a request, and opens a connection that joins a room and publishes to it.
    fn serves(&self) {
        let mut stream = TcpStream::connect(&self.address).expect("it accepts");
        let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let talk = async {
            let url = format!("ws://{}/ws", self.address);
            let (mut socket, _) = connect_async(url).await.expect("it upgrades");
            for (id, request) in [
                (1, r#"{"event":"$join","id":1,"room":"a"}"#),
                (2, r#"{"event":"said","id":2,"room":"a","data":1}"#),
            ] {
                socket.send(Message::text(request)).await.expect("sent");
                loop {
                    let frame = socket.next().await.expect("open").expect("a frame");
                    let text = frame.into_text().expect("text");
                    if text.contains(&format!("\"id\":{id}")) {
                        assert!(!text.contains("\"error\""), "{text}");
                        break;
                    }
                }
            }
        };
        let patience = Duration::from_secs(30);
        runtime.block_on(async { tokio::time::timeout(patience, talk).await.expect("in time") });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The flags of a server on a free port.
fn serve<'a>(flags: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let fixed = ["serve", "--listen=127.0.0.1:0"];
    fixed.into_iter().chain(flags).map(str::to_owned).collect()
}

/// Returns further settings that allow the maximum of a number.
fn company(flag: &str) -> &'static [&'static str] {
    match flag {
        "--message-bytes-max" => &[
            "--inbound-bytes-rate=4000000000",
            "--outbox-bytes-max=4294967296",
        ],
        _ => &[],
    }
}

#[test]
fn a_server_serves_with_each_number_at_its_most() {
    for (flag, _, most) in numbers() {
        let number = format!("{flag}={most}");
        let flags = [number.as_str()];
        let flags = flags.into_iter().chain(company(&flag).iter().copied());
        Server::start(roomcast(&serve(flags))).serves();
    }
}

#[test]
fn a_server_serves_with_all_numbers_at_their_most() {
    let numbers = numbers().into_iter();
    let numbers: Vec<_> = numbers
        .map(|(flag, _, most)| format!("{flag}={most}"))
        .collect();
    let flags = serve(numbers.iter().map(String::as_str));
    Server::start(roomcast(&flags)).serves();
}

#[test]
fn a_server_starts_with_each_number_at_its_least() {
    for (flag, least, _) in numbers() {
        let number = format!("{flag}={least}");
        Server::start(roomcast(&serve([number.as_str()])));
    }
}

fn refused(flags: &[String], variables: &[(&str, &str)]) -> String {
    let Output { status, stderr, .. } = roomcast(flags)
        .envs(variables.iter().copied())
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{flags:?} {variables:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{flags:?}: {said}");
    said
}

#[test]
fn a_number_outside_of_its_range_is_refused_with_the_range() {
    for (flag, least, most) in numbers() {
        let above = [most + 1, u64::from(u32::MAX).max(most + 1), u64::MAX];
        let beyond = "99999999999999999999".to_owned();
        let below = least.checked_sub(1).map(|below| below.to_string());
        let texts = above.map(|above| above.to_string()).into_iter();
        for text in texts.chain([beyond]).chain(below) {
            let number = format!("{flag}={text}");
            let said = refused(&serve([number.as_str()]), &[]);
            let ends = [least, most].map(|end| end.to_string());
            let named = said.contains(&flag);
            assert!(
                named && ends.iter().any(|end| said.contains(end)),
                "{number}: {said}"
            );
        }
        for text in ["-1", "", "1.5", "0x10", "none", "disabled", " 1"] {
            let said = refused(&serve([flag.as_str(), text]), &[]);
            assert!(said.contains(&flag), "{flag} {text:?}: {said}");
            let variable = format!("ROOMCAST_{}", flag[2..].replace('-', "_").to_uppercase());
            let said = refused(&serve([]), &[(variable.as_str(), text)]);
            assert!(said.contains(&flag), "{variable}={text:?}: {said}");
        }
    }
}

#[test]
fn a_word_that_is_none_of_those_allowed_opens_nothing() {
    let open = "--listen=0.0.0.0:0".to_owned();
    for word in ["disabled", "none", "never", "-1", "False ", "", "enabled"] {
        let said = refused(std::slice::from_ref(&open), &[("ROOMCAST_INSECURE", word)]);
        assert!(
            said.contains("--insecure: must be true") && said.contains("off"),
            "{said}"
        );
    }
    for word in ["false", "False", "no", "off", "0"] {
        let said = refused(std::slice::from_ref(&open), &[("ROOMCAST_INSECURE", word)]);
        assert!(said.contains("without an API key"), "{said}");
    }
    for (flag, word, allowed) in [
        ("--log", "warning", "warn, info"),
        ("--log", "verbose", "trace or off"),
        ("--log", "none", "trace or off"),
        ("--log", "roomcast=chatty,info", "trace or off"),
        ("--store-sync", "never", "second, always"),
        ("--store-sync", "Always", "second, always"),
        ("--relay-lineage", "datum", "replication, data"),
        ("--relay-prefix", "a b", "such as chat:"),
        ("--heartbeat-ms", "never", "or off"),
        ("--inbound-rate", "OFF", "or off"),
        ("--connections-per-address-max", "none", "or off"),
        ("--allow-origin", "wss://a.com", "write https://a.com"),
        ("--allow-origin", "https://a.com, *", "`*` alone"),
        ("--namespaces", "a, b c", "--namespaces"),
    ] {
        let said = refused(&serve([flag, word]), &[]);
        assert!(
            said.contains(flag) && said.contains(allowed),
            "{word}: {said}"
        );
        let variable = format!("ROOMCAST_{}", flag[2..].replace('-', "_").to_uppercase());
        let said = refused(&serve([]), &[(variable.as_str(), word)]);
        assert!(
            said.contains(flag) && said.contains(allowed),
            "{word}: {said}"
        );
    }
    for (variable, word) in [
        ("ROOMCAST_URL", "everywhere"),
        ("ROOMCAST_NAMESPACE", "a b"),
        ("ROOMCAST_URL", ""),
    ] {
        for command in [&["join", "lobby"][..], &["send", "--all", "said"]] {
            let flags: Vec<_> = command.iter().map(|&text| text.to_owned()).collect();
            let said = refused(&flags, &[(variable, word)]);
            let flag = variable.replace("ROOMCAST_", "--").to_lowercase();
            assert!(said.contains(&flag), "{variable}={word:?}: {said}");
        }
    }
}

/// The text of a connection's opening answer, with this origin.
fn upgrade(server: &Server, origin: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).expect("it accepts");
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("an answer");
    line
}

#[test]
fn lists_of_origins_are_as_people_write_them() {
    let mut command = roomcast(&serve([]));
    let origins = "https://a.com, https://b.com/,\n https://b\u{fc}cher.example:0443\n";
    command.env("ROOMCAST_ALLOW_ORIGIN", origins);
    let server = Server::start(command);
    for origin in [
        "https://a.com",
        "https://b.com",
        "https://xn--bcher-kva.example",
    ] {
        assert!(upgrade(&server, origin).contains("101"), "{origin}");
    }
    assert!(upgrade(&server, "https://c.com").contains("403"));
}

#[test]
fn the_address_may_be_a_port_and_comes_from_a_platform_where_nothing_is_said() {
    for listen in ["localhost:0", ":0", "0"] {
        let flags = ["serve".to_owned(), format!("--listen={listen}")];
        let server = Server::start(roomcast(&flags));
        assert!(server.address.starts_with("127.0.0.1:"), "{listen}");
    }
    let bare = ["serve".to_owned()];
    let mut platform = roomcast(&bare);
    let server = Server::start({
        platform.env("PORT", "0");
        platform
    });
    assert!(server.address.starts_with("127.0.0.1:"));
    let why = server.said.iter().find(|line| line.contains("PORT is set"));
    assert!(why.is_some_and(|line| line.contains("WARN") && line.contains("--api-key")));
    let mut platform = roomcast(&bare);
    platform
        .env("PORT", "0")
        .env("ROOMCAST_API_KEY", " one, two\n");
    let server = Server::start(platform);
    assert!(server.address.starts_with("0.0.0.0:"));
    let mut said = roomcast(&serve([]));
    said.env("PORT", "1").env("ROOMCAST_API_KEY", "key");
    assert!(Server::start(said).address.starts_with("127.0.0.1:"));
    for everywhere in ["everywhere", "localhost", "127.0.0.1", ""] {
        let said = refused(&bare, &[("ROOMCAST_LISTEN", everywhere)]);
        assert!(said.contains("--listen"), "{everywhere:?}: {said}");
    }
    assert!(refused(&bare, &[("PORT", "x")]).contains("PORT must be 0 to 65535"));
}

#[test]
fn what_is_not_as_it_was_asked_for_is_in_the_log() {
    let mut command = roomcast(&serve(["--connections-max=16777216"]));
    command.env("ROOMCAST_ALLOWED_ORIGIN", "https://a.com");
    let server = Server::start(command);
    let warned = |text: &str| {
        let mut warnings = server.said.iter().filter(|line| line.contains("WARN"));
        warnings.any(|line| line.contains(text))
    };
    assert!(
        warned("ROOMCAST_ALLOWED_ORIGIN is not read: ROOMCAST_ALLOW_ORIGIN may be meant"),
        "{:?}",
        server.said
    );
    assert!(warned("RLIMIT_NOFILE"), "{:?}", server.said);
}

/// A port without an address listens on loopback only.
#[test]
fn an_address_is_read_as_people_write_it() {
    let listen = Settings::TABLE.iter().find(|row| row.name == "listen");
    let listen = listen.expect("a setting");
    for (text, address) in [
        ("localhost:3000", "127.0.0.1:3000"),
        ("LocalHost:0", "127.0.0.1:0"),
        (":3000", "127.0.0.1:3000"),
        ("3000", "127.0.0.1:3000"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:3000", "[::1]:3000"),
    ] {
        let mut settings = Settings::default();
        assert_eq!(listen.read(&mut settings, text), Ok(()), "{text}");
        assert_eq!(settings.listen.to_string(), address);
    }
    for bad in [
        "",
        ":",
        "localhost",
        "localhost:",
        "127.0.0.1",
        "65536",
        ":-1",
        "+80",
        "host:3000",
        "localhost:3000 ",
        "::1:3000",
        "http://localhost:3000",
    ] {
        let fault = listen.read(&mut Settings::default(), bad).expect_err(bad);
        assert!(fault.fault().contains("127.0.0.1:3000"), "{bad}: {fault}");
    }
}
