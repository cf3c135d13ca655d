//! Users, rights and addresses of clients, as the application around the server says them.

use axum::{Router, extract::Request, middleware};
use roomcast::{Admission, GrantRules, Host, PeerAddress, Settings};
use serde_json::Value;

use super::around::Around;
use crate::{
    peer::{Peer, Said},
    tokens::{KEY, token},
};

/// Asks for a WebSocket with a query; gives the head of the answer.
fn ask(around: &Around, query: &str) -> (Peer, String) {
    let authority = around.authority().to_string();
    let mut peer = Peer::silent(&authority);
    let head = peer.ask(&authority, &format!("/live/ws{query}"), "");
    (peer, head)
}

/// Connects with a query; gives the user of `$welcome`.
fn connect(around: &Around, query: &str) -> (Peer, Value) {
    let (mut peer, head) = ask(around, query);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let Said::Text(welcome) = peer.next() else {
        panic!("no welcome");
    };
    let mut welcome: Value = serde_json::from_str(&welcome).expect("JSON");
    assert_eq!(welcome["event"], "$welcome");
    let user = welcome["data"]["user"].take();
    (peer, user)
}

#[test]
fn a_middleware_names_the_user() {
    let around = Around::start(Settings::default());
    let (mut ann, user) = connect(&around, "?user=ann%20b");
    assert_eq!(user, "ann b");
    let (mut guest, user) = connect(&around, "");
    assert_eq!(user, "");
    for peer in [&mut ann, &mut guest] {
        peer.join("r");
    }
    ann.say(r#"{"event":"hi","room":"r"}"#);
    let Said::Text(heard) = guest.next() else {
        panic!("no message");
    };
    assert!(heard.contains(r#""user":"ann b""#), "{heard}");
}

#[test]
fn a_user_over_the_limit_is_a_fault_of_the_application() {
    let around = Around::start(Settings::default());
    let (_, head) = ask(&around, &format!("?user={}", "x".repeat(201)));
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
}

#[test]
fn rights_of_a_middleware_hold() {
    let grant = |mut request: Request| async {
        let rules = r#"[{"rooms":"of:{user}","can":["join"]}]"#;
        let rules = GrantRules::from_json(rules).expect("grants");
        let ann = Admission::new().with_user("ann").with_grants(rules);
        request.extensions_mut().insert(ann);
        request
    };
    let layer = |rooms: Router| rooms.layer(middleware::map_request(grant));
    let around = Around::with(Settings::default(), layer);
    let (mut ann, user) = connect(&around, "");
    assert_eq!(user, "ann");
    assert!(!ann.join("of:ann").contains("error"));
    assert!(ann.join("of:ben").contains(r#""code":"forbidden""#));
}

#[test]
fn a_token_counts_before_the_middleware_and_nobody_without_either() {
    let mut settings = Settings::default();
    settings.access.tokens.keys = vec![KEY.parse().expect("a key")];
    let around = Around::start(settings);
    let (_, user) = connect(&around, "?user=ann");
    assert_eq!(user, "ann");
    let (_, user) = connect(&around, &format!("?user=ann&token={}", token("ben")));
    assert_eq!(user, "ben");
    let (_, head) = ask(&around, "?user=ann&token=nonsense");
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
}

#[test]
fn addresses_come_from_axum_or_a_middleware() {
    let mut settings = Settings::default();
    settings.connections_per_address_max = Some(1);
    let around = Around::with(settings, |rooms| {
        let elsewhere = |mut request: Request| async {
            if request.uri().query().is_some() {
                let address = PeerAddress([192, 0, 2, 1].into());
                request.extensions_mut().insert(address);
            }
            request
        };
        rooms.layer(middleware::map_request(elsewhere))
    });
    let _first = connect(&around, "");
    let (_, head) = ask(&around, "");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    let _other = connect(&around, "?elsewhere");
    let (_, head) = ask(&around, "?elsewhere");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
}

/// An application reads the session that a middleware gave, as long as it is within the limit.
#[test]
fn a_session_of_a_middleware_reaches_the_application() {
    let session = |mut request: Request| async {
        let text = request.uri().query().unwrap_or_default().to_owned();
        let ann = Admission::new().with_user("ann").with_session(&text);
        request.extensions_mut().insert(ann.expect("JSON"));
        request
    };
    let mut settings = Settings::default();
    settings.hub.session_bytes = 64;
    let whose = || {
        roomcast::Router::default().on("whose", |cx: &mut roomcast::Context| cx.session::<String>())
    };
    let layer = |rooms: Router| rooms.layer(middleware::map_request(session));
    let around = Around::of(
        Host::new(settings).gateway("default", move |_| whose()),
        layer,
    );
    let (mut ann, _) = connect(&around, "?mine");
    ann.say(r#"{"event":"whose","id":1}"#);
    let answer = Said::Text(r#"{"event":"whose","id":1,"data":"mine"}"#.into());
    assert_eq!(ann.next(), answer);
    let (_, head) = ask(&around, &format!("?{}", "x".repeat(63)));
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
}
