//! Calls about connections.

use roomcast_core::{ConnId, Limits};
use roomcast_http::{Access, ApiRequest, Request, Response};

use crate::namespace::{Fields, NOW, Namespace, id};

#[test]
fn connections_are_joined_listed_and_removed() {
    let mut namespace = Namespace::with(3);
    let ids = [0, 1, 2].map(|at| id(&namespace, at));
    let [a, b, c] = &ids;
    let path = |conn| format!("/api/v1/ns/rooms/chat%2F7/members/{conn}");
    let joined = r#"{"epoch":"e","offset":0,"already":false}"#;
    assert_eq!(namespace.told(&format!("PUT {}", path(b)), ""), joined);
    let again = r#"{"epoch":"e","offset":0,"already":true}"#;
    assert_eq!(namespace.told(&format!("PUT {}", path(b)), ""), again);
    let room = r#"{"room":"chat/7","members":1,"epoch":"e","offset":0}"#;
    assert_eq!(namespace.told("GET /api/v1/ns/rooms/chat%2F7", ""), room);
    let one = |conn, user, rooms| {
        format!(
            r#"{{"conn":"{conn}","user":"{user}","rooms":[{rooms}],"since_ms":1007,"queued_bytes":0}}"#
        )
    };
    let (first, second) = (one(a, "ann", ""), one(b, "bob", r#""chat/7""#));
    assert_eq!(
        namespace.told("GET /api/v1/ns/connections?limit=2", ""),
        format!(r#"{{"connections":[{first},{second}],"next":"{b}"}}"#)
    );
    assert_eq!(
        namespace.told(
            &format!("GET /api/v1/ns/connections?after={a}&user=ann"),
            ""
        ),
        format!(r#"{{"connections":[{}]}}"#, one(c, "ann", ""))
    );
    let path_of_b = format!("GET /api/v1/ns/connections/{b}");
    assert_eq!(namespace.told(&path_of_b, ""), second);
    let delete = format!("DELETE {}", path(b));
    assert_eq!(namespace.told(&delete, ""), r#"{"was":true}"#);
    assert_eq!(namespace.told(&delete, ""), r#"{"was":false}"#);
    let gone = r#"{"disconnected":2}"#;
    assert_eq!(
        namespace.told("DELETE /api/v1/ns/connections?user=ann", ""),
        gone
    );
    let remove = format!("DELETE /api/v1/ns/connections/{b}?code=4000&reason=bye");
    assert_eq!(namespace.told(&remove, ""), r#"{"disconnected":1}"#);
    assert_eq!(namespace.told(&remove, ""), "not_found");
}

#[test]
fn queue_sizes_can_be_filled_in_later() {
    let mut namespace = Namespace::with(2);
    let headers = Fields(&[]);
    let request = Request {
        method: "GET",
        path: "/api/v1/ns/connections",
        query: "",
        headers,
        local: true,
        other_user: false,
        loopback_listener: false,
        http_1_0: false,
        admin_elsewhere: false,
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    let Ok(ApiRequest::Call(call)) = read else {
        panic!("{read:?}");
    };
    let mut answer = call.run(NOW, &mut namespace).expect("a list");
    let (second, stranger): (ConnId, _) = (id(&namespace, 1).parse().expect("an id"), "123456789");
    answer.set_queued_bytes(second, 4711);
    answer.set_queued_bytes(stranger.parse().expect("an id"), 9);
    let body = Response::from(answer).body.into_owned();
    let body = String::from_utf8(body).expect("JSON");
    assert!(body.contains(r#""queued_bytes":0},"#), "{body}");
    assert!(body.ends_with(r#""queued_bytes":4711}]}"#), "{body}");
}
