//! Calls about rooms.

use std::collections::BTreeMap;

use roomcast_core::{Applied, Handshake, Input, ask::Asked};

use crate::namespace::{Namespace, empty, id};

#[test]
fn rooms_come_in_pages() {
    let mut namespace = Namespace::with(1);
    let a = id(&namespace, 0);
    for room in ["a1", "a2", "a3", "b"] {
        namespace.told(&format!("PUT /api/v1/ns/rooms/{room}/members/{a}"), "");
    }
    let names = |page: String| {
        let page: BTreeMap<String, serde_json::Value> = serde_json::from_str(&page).expect("JSON");
        let rooms = page["rooms"].as_array().expect("a list").iter();
        let rooms: Vec<_> = rooms.map(|room| room["room"].to_string()).collect();
        (rooms.join(","), page.get("next").map(ToString::to_string))
    };
    let page = names(namespace.told("GET /api/v1/ns/rooms?prefix=a&limit=2", ""));
    assert_eq!(page, (r#""a1","a2""#.into(), Some(r#""a2""#.into())));
    let page = names(namespace.told("GET /api/v1/ns/rooms?prefix=a&limit=2&after=a2", ""));
    assert_eq!(page, (r#""a3""#.into(), None));
}

/// Proxies and browsers take dots out of a path, and read its percent signs.
#[test]
fn a_room_of_any_name_is_named_in_the_query() {
    let mut namespace = Namespace::with(1);
    let a = id(&namespace, 0);
    for (query, json) in [
        (".", "."),
        ("..", ".."),
        ("a/b", "a/b"),
        ("a%2Fb%2F", "a/b/"),
        ("/", "/"),
        ("//", "//"),
        ("../../connections", "../../connections"),
        ("%252F", "%2F"),
        ("a+b%20c", "a b c"),
        ("a%2Bb%26c%3Fd%23e", "a+b&c?d#e"),
        ("%C3%A9", "é"),
        ("members", "members"),
        ("lobby", "lobby"),
    ] {
        let member = format!("/api/v1/ns/room/members/{a}?room={query}");
        let joined = r#"{"epoch":"e","offset":0,"already":false}"#;
        assert_eq!(
            namespace.told(&format!("PUT {member}"), ""),
            joined,
            "{query}"
        );
        let room = format!(r#"{{"room":"{json}","members":1,"epoch":"e","offset":0}}"#);
        let one = format!("GET /api/v1/ns/room?room={query}");
        assert_eq!(namespace.told(&one, ""), room, "{query}");
        let rooms = format!(r#"{{"rooms":[{room}]}}"#);
        assert_eq!(namespace.told("GET /api/v1/ns/rooms", ""), rooms);
        for page in ["members", "history"] {
            let page = format!("GET /api/v1/ns/room/{page}?room={query}&limit=1");
            assert_eq!(namespace.told(&page, ""), "forbidden", "{page}");
        }
        let left = r#"{"was":true}"#;
        assert_eq!(
            namespace.told(&format!("DELETE {member}"), ""),
            left,
            "{query}"
        );
    }
}

#[test]
fn a_message_of_a_room_is_explained() {
    let policies = r#"{"rooms":[{"match":"chat:*","history":{"messages":300}}]}"#;
    let policies = serde_json::from_str(policies).expect("policies");
    let mut namespace = Namespace::with(0);
    namespace.app = Some(empty(policies));
    let conn = namespace.connect(Handshake::new());
    let send = r#"{"audience":{"rooms":["chat:1"]},"event":"said"}"#;
    namespace.told("POST /api/v1/ns/send", send);
    let (room, meta) = ("chat:1".into(), None);
    namespace.apply(&Input::Join { conn, room, meta });
    namespace.told("POST /api/v1/ns/send", send);
    for (query, expected) in [
        (
            "room=chat%3A1&offset=1&conn=0",
            r#"{"room":"chat:1","offset":1,"conn":"0","received":false,"reason":"joined_after","joined":1,"text":"the connection joined the room after the message, at offset 1, without recovering it"}"#,
        ),
        (
            "conn=0&offset=2&room=chat:1",
            r#"{"room":"chat:1","offset":2,"conn":"0","received":true,"reason":"sent","text":"the connection was a member of the room when the message was sent"}"#,
        ),
        (
            "room=lobby&offset=1&conn=0",
            r#"{"room":"lobby","offset":1,"conn":"0","received":null,"reason":"no_history","text":"the server keeps no record of this: the room has no history (`history` in its policy), or there is no such room; ask for the next message of a publisher, by `from`"}"#,
        ),
        (
            "room=chat:1&from=0&conn=0",
            r#"{"room":"chat:1","from":"0","conn":"0","received":false,"reason":"own_without_echo","rule":"chat:*","text":"the connection published the message itself and gets no echo: see `echo` of the message, and else of the room's policy, by the rule `chat:*`"}"#,
        ),
        (
            "room=lobby&from=0&conn=0",
            r#"{"room":"lobby","from":"0","conn":"0","received":false,"reason":"not_a_member","text":"the connection is not a member of the room at the time of the message"}"#,
        ),
        ("room=chat:1&from=x&conn=0", "bad_request"),
        ("room=chat:1&from=0&offset=1&conn=0", "bad_request"),
        ("room=chat:1&from=0&right=join&conn=0", "bad_request"),
        ("room=chat:1&offset=1", "bad_request"),
        ("room=chat:1&conn=0", "bad_request"),
        ("offset=1&conn=0", "bad_request"),
        ("room=chat:1&offset=0&conn=0", "bad_request"),
        ("room=chat:1&offset=1&conn=x", "bad_request"),
        ("room=chat:1&offset=1&conn=0&limit=1", "bad_request"),
        ("room=&offset=1&conn=0", "bad_room"),
    ] {
        let request = format!("GET /api/v1/ns/explain?{query}");
        assert_eq!(namespace.told(&request, ""), expected, "{query}");
    }
}

#[test]
fn members_and_history_of_a_room() {
    let policies = r#"{"rooms":[{"match":"den","history":{"messages":300},"presence":"members"},
                                {"match":"hall","presence":"counts"}]}"#;
    let policies = serde_json::from_str(policies).expect("policies");
    let mut namespace = Namespace::with(0);
    namespace.app = Some(empty(policies));
    let mut joins = |handshake, room: &str| {
        let (conn, room, meta) = (namespace.connect(handshake), room.into(), None);
        let joined = namespace.apply(&Input::Join { conn, room, meta });
        assert_eq!(joined, Applied::Joined(Ok(false)));
    };
    joins(Handshake::new().with_user("ann"), "den");
    joins(Handshake::new(), "den");
    joins(Handshake::new(), "hall");
    let send = r#"{"audience":{"rooms":["den"]},"event":"said","data":[ 1 ]}"#;
    for (request, body, expected) in [
        (
            "POST /api/v1/ns/send",
            send,
            r#"{"matched":2,"queued":2,"dropped":0,"offset":1}"#,
        ),
        (
            "POST /api/v1/ns/send",
            send,
            r#"{"matched":2,"queued":2,"dropped":0,"offset":2}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/history?after=0&limit=1",
            "",
            r#"{"epoch":"e.1","offset":2,"messages":[{"event":"said","room":"den","offset":1,"data":[ 1 ]}],"first":1}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/history?limit=1",
            "",
            r#"{"epoch":"e.1","offset":2,"messages":[{"event":"said","room":"den","offset":2,"data":[ 1 ]}],"first":1}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/members?limit=1",
            "",
            r#"{"members":[{"user":"ann","conns":1}],"users":2,"conns":2,"next":"uann"}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/members?after=uann",
            "",
            r#"{"members":[{"user":"","conn":"1048577","conns":1}],"users":2,"conns":2}"#,
        ),
        (
            "GET /api/v1/ns/rooms/hall/members",
            "",
            r#"{"members":[],"users":1,"conns":1,"listed":false}"#,
        ),
        ("GET /api/v1/ns/rooms/hall/history", "", "forbidden"),
        ("GET /api/v1/ns/rooms/other/members", "", "not_found"),
        (
            "GET /api/v1/ns/rooms/den/members?after=x",
            "",
            "bad_request",
        ),
        (
            "GET /api/v1/ns/rooms/den/history?after=x",
            "",
            "bad_request",
        ),
        ("PUT /api/v1/ns/rooms/den/history", "", "method_not_allowed"),
    ] {
        assert_eq!(namespace.told(request, body), expected, "{request}");
    }
}
