//! Requests for tests.

use super::*;

pub(crate) type Pairs = [(&'static str, &'static str)];

impl Headers for &Pairs {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = self.iter().filter(move |(other, _)| *other == name);
        values.map(|&(_, value)| value.into())
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.iter().map(|&(name, _)| name.into())
    }
}

/// A `GET` from another machine.
pub(crate) const fn get<H>(path: &str, headers: H) -> Request<'_, H> {
    Request {
        method: "GET",
        path,
        query: "",
        headers,
        local: false,
        other_user: false,
        loopback_listener: false,
        http_1_0: false,
        admin_elsewhere: false,
    }
}

#[test]
fn items_of_a_list_stand_anywhere() {
    let headers = [("a", "x"), ("a", "y, z"), ("b", "w"), ("c", "z, \u{e9}")];
    let request = get("/", &headers[..]);
    assert!(request.lists("a", |item| item == "z"));
    assert!(!request.lists("a", |item| item == "w"));
    assert!(!request.lists("c", |item| item == "z"), "not all visible");
    assert_eq!(request.first("a").as_deref(), Some("x"));
    assert_eq!(request.first("c").as_deref(), Some("?"));
}

#[test]
fn namespaces_are_plain_words() {
    assert!(is_namespace("default") && is_namespace(&"a".repeat(64)));
    for bad in ["", "a b", "é", "a/b", ".", &"a".repeat(65)] {
        assert!(!is_namespace(bad), "{bad:?}");
    }
}
