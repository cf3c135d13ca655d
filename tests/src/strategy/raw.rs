//! Texts that clients should not send, and unusual ones that they may.

use proptest::{
    bool, collection,
    prelude::{BoxedStrategy, Strategy},
    sample,
    strategy::Union,
};

/// Texts that are not JSON objects, or nearly so.
const BROKEN: &[&str] = &[
    "",
    " ",
    "hello",
    "null",
    "[]",
    r#"["said",1,"lobby",true,2]"#,
    "{",
    "{}",
    r#"{"event":"said""#,
    r#"{"event":"said",}"#,
    r#"{"event":"said"} x"#,
    r#"{'event':'said'}"#,
    r#"{"event":"said","data":NaN}"#,
    r#"{"event":"said","data":01}"#,
    "\u{feff}{\"event\":\"said\"}",
    "{\"event\":\"sa\nid\"}",
    "{\"\\ud800\":1}",
];

const EVENTS: &[&str] = &[
    r#""$join""#,
    r#""$leave""#,
    r#""$rooms""#,
    r#""$ping""#,
    r#""$history""#,
    r#""$""#,
    r#""said""#,
    r#""s\u0061id""#,
    r#""""#,
];

const IDS: &[&str] = &[
    "1",
    "-1",
    r#""1""#,
    r#""""#,
    r#""\u00e9\"""#,
    "9007199254740991",
    "-9007199254740991",
    "9007199254740992",
    "18446744073709551616",
    "1.0",
    "1e3",
    "-0",
];

const DATA: &[&str] = &[
    "{}",
    r#"{"since":{"epoch":"e","offset":0}}"#,
    r#"{"since":{"epoch":"e","offset":0,"x":1},"meta":[[1]],"x":2}"#,
    r#"{"since":null,"meta":null}"#,
    r#"{"since":{"epoch":"e"}}"#,
    r#"{"since":{"epoch":"e","offset":-1}}"#,
    r#"{"since":{"epoch":"e","offset":1.0}}"#,
    r#"{"since":{"epoch":1,"offset":0}}"#,
    r#"{"since":["e",0]}"#,
    r#"{"since":7}"#,
    r#"{"since":null,"since":null}"#,
    r#""\ud83d""#,
    r#""\ud83d\ude00""#,
    r#"{"\ude00":1}"#,
    "1e999",
    "[ 1 , 2 ]",
];

const ANY: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    r#""text""#,
    "[1]",
    r#"{"a":{}}"#,
    r#""\ud800""#,
];

/// A strategy for any text that a client may send: usually an envelope with odd members.
pub(super) fn text(rooms: &[Box<str>]) -> BoxedStrategy<String> {
    let broken = sample::select(BROKEN).prop_map(String::from);
    let spaced = (collection::vec(member(rooms), 0..=6), bool::ANY);
    let envelope = spaced.prop_map(|(members, spaced)| {
        if spaced {
            format!("\n {{ {} }}\t", members.join(" , "))
        } else {
            format!("{{{}}}", members.join(","))
        }
    });
    let request = (
        sample::select(EVENTS),
        sample::select(rooms.to_vec()),
        sample::select(DATA),
    );
    let request = request.prop_map(|(event, room, data)| {
        format!(r#"{{"event":{event},"id":1,"room":"{room}","data":{data}}}"#)
    });
    Union::new_weighted(vec![
        (1, broken.boxed()),
        (2, request.boxed()),
        (4, envelope.boxed()),
    ])
    .boxed()
}

/// A strategy for a member of an object, usually with a value that suits its name.
fn member(rooms: &[Box<str>]) -> BoxedStrategy<String> {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let mut names: Vec<_> = rooms.iter().map(|room| format!("\"{room}\"")).collect();
    names.extend([
        r#""""#.into(),
        r#""a\u0000""#.into(),
        format!("\"{}\"", "x".repeat(201)),
    ]);
    let mut events: Vec<String> = EVENTS.iter().map(|&event| event.into()).collect();
    events.extend([128, 129].map(|length| format!("\"{}\"", "x".repeat(length))));
    let mut ids: Vec<String> = IDS.iter().map(|&id| id.into()).collect();
    ids.extend([64, 65].map(|length| format!("\"{}\"", "x".repeat(length))));
    let mut data: Vec<String> = DATA.iter().map(|&data| data.into()).collect();
    data.extend([nested(64), nested(65)]);
    let echo = vec!["true".into(), "false".into(), "\"true\"".into()];
    let keys = ["\"k\"", "\"l\"", "\"\"", "1"].map(String::from).to_vec();
    let any: Vec<String> = ANY.iter().map(|&any| any.into()).collect();

    let fitting = |name: &'static str, values: Vec<String>| {
        let value = Union::new_weighted(vec![
            (12, sample::select(values)),
            (1, sample::select(any.clone())),
        ]);
        value
            .prop_map(move |value| format!("{name}:{value}"))
            .boxed()
    };
    Union::new_weighted(vec![
        (8, fitting(r#""event""#, events.clone())),
        (1, fitting(r#""\u0065vent""#, events)),
        (4, fitting(r#""id""#, ids)),
        (6, fitting(r#""room""#, names)),
        (2, fitting(r#""echo""#, echo)),
        (1, fitting(r#""key""#, keys)),
        (4, fitting(r#""data""#, data)),
        (1, fitting(r#""from""#, any.clone())),
        (
            1,
            fitting(
                r#""x""#,
                vec![r#""\ud800""#.into(), nested(200), "1e999".into()],
            ),
        ),
    ])
    .boxed()
}
