use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Order {
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    by_name: BTreeMap<String, Item>,
    #[serde(default)]
    paid: Option<Paid>,
    #[serde(default)]
    size: (u8, u8),
    raw: Option<Box<RawValue>>,
    #[serde(default)]
    wide: i128,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Item {
    price: Price,
    #[serde(default)]
    note: Option<Box<str>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Price(u32);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code)]
enum Paid {
    Cash,
    Card { number: u64 },
    Parts(u8, u8),
    Later(u8),
}

#[test]
fn the_path_of_the_member_that_does_not_fit() {
    for (json, path) in [
        (r#"[]"#, Some("")),
        (r#"{"items":5}"#, Some("items")),
        (
            r#"{"items":[{"price":1},{"price":"SECRET"}]}"#,
            Some("items[1].price"),
        ),
        (
            r#"{"items":[{"price":1,"note":{}}]}"#,
            Some("items[0].note"),
        ),
        (r#"{"items":[{"SECRET":1}]}"#, Some("items[0]")),
        (r#"{"items":[{}]}"#, Some("items[0]")),
        (
            r#"{"byName":{"SECRET":{"price":-1}}}"#,
            Some("byName.*.price"),
        ),
        (r#"{"byName":[]}"#, Some("byName")),
        (r#"{"paid":"SECRET"}"#, Some("paid")),
        (
            r#"{"paid":{"card":{"number":"SECRET"}}}"#,
            Some("paid.card.number"),
        ),
        (r#"{"paid":{"parts":[1,"SECRET"]}}"#, Some("paid.parts[1]")),
        (r#"{"paid":{"later":"SECRET"}}"#, Some("paid.later")),
        (r#"{"paid":{"cash":7}}"#, Some("paid.cash")),
        (r#"{"size":[1,300]}"#, Some("size[1]")),
        (r#"{"size":[1]}"#, Some("size")),
        (
            r#"{"raw":{"a":[1]},"wide":340282366920938463463374607431768211455}"#,
            Some("wide"),
        ),
        (
            r#"{"raw":{"a":[1]},"wide":99999999999999999999,"x":1}"#,
            None,
        ),
    ] {
        assert_eq!(stop::<Order>(json).as_deref(), path, "{json}");
    }
    assert_eq!(
        stop::<Vec<Item>>(r#"[{"price":"x"}]"#).as_deref(),
        Some("[0].price")
    );
}

/// A type that reads anything has not stopped; the next member has.
#[test]
fn what_is_forgiven_is_not_named() {
    fn forgiving<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        Ok(u8::deserialize(deserializer).unwrap_or_default())
    }
    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Post {
        #[serde(deserialize_with = "forgiving")]
        mood: u8,
        count: u8,
    }
    let path = stop::<Post>(r#"{"mood":300,"count":"x"}"#);
    assert_eq!(path.as_deref(), Some("count"));
    assert_eq!(stop::<Post>(r#"{"mood":300,"count":1}"#), None);
}

#[test]
fn a_path_begins_at_data() {
    let paths = ["", "a.b", "[1].c"].map(of_data);
    assert_eq!(paths, ["data", "data.a.b", "data[1].c"]);
}
