//! Requests of clients to rooms that keep histories and show their members.

use proptest::{
    collection, option,
    prelude::{BoxedStrategy, Just, Strategy},
    sample,
    strategy::Union,
};

use crate::{Actor, op::json_string};

const METAS: &[&str] = &[
    "null",
    r#"{"name":"Ann"}"#,
    "[1, 2]",
    r#""a text that is too long""#,
];

/// A strategy for a verb of such a room: a join with a position or meta, or a request for members
/// or history.
pub(super) fn text(
    actors: &[Actor],
    rooms: &[Box<str>],
    users: &[Box<str>],
    one_namespace: bool,
) -> BoxedStrategy<String> {
    // In another namespace, another client may have the same connection id.
    let actors = if one_namespace { actors } else { &[] };
    let ops = vec![
        (6, since(actors, rooms)),
        (3, meta(rooms)),
        (3, history(rooms)),
        (3, members(rooms, users)),
    ];
    Union::new_weighted(ops).boxed()
}

/// A strategy for a publish under a key, which may have been sent on an earlier connection.
pub(super) fn retry(
    actors: &[Actor],
    rooms: &[Box<str>],
    one_namespace: bool,
) -> BoxedStrategy<String> {
    let named = if one_namespace { 0..=2 } else { 0..=0 };
    let was = (sample::select(actors.to_vec()), 1_u32..=2);
    let parts = (
        sample::select(rooms.to_vec()),
        sample::select(&["k1", "k1", "k2"][..]),
        collection::vec(was, named),
        sample::select(&["1", "1", "1", "2"][..]),
    );
    let text = parts.prop_map(|(room, key, named, data)| {
        let named = named.iter();
        let named = named.map(|(actor, number)| format!(r#""<{actor} {number}>""#));
        let (room, named) = (json_string(&room), named.collect::<Vec<_>>().join(","));
        format!(
            r#"{{"event":"said","id":7,"room":{room},"key":"{key}","conn":[{named}],"data":{data}}}"#
        )
    });
    text.boxed()
}

fn since(actors: &[Actor], rooms: &[Box<str>]) -> BoxedStrategy<String> {
    let was = match actors {
        [] => Just(None).boxed(),
        actors => option::of((sample::select(actors.to_vec()), 1_u32..=3)).boxed(),
    };
    let parts = (
        sample::select(rooms.to_vec()),
        // Usually the epoch that the room has at first.
        sample::select(&[1_u32, 1, 1, 1, 2, 3, 0][..]),
        0_u64..6,
        was,
        option::weighted(0.3, sample::select(METAS)),
    );
    let text = parts.prop_map(|(room, number, offset, was, meta)| {
        let epoch = match number {
            0 => "foreign".into(),
            number => format!("<epoch {number} of {room}>"),
        };
        let was = was.map_or(String::new(), |(actor, number)| {
            format!(r#","conn":"<{actor} {number}>""#)
        });
        let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
        let room = json_string(&room);
        format!(
            r#"{{"event":"$join","id":1,"room":{room},"data":{{"since":{{"epoch":"{epoch}","offset":{offset}{was}}}{meta}}}}}"#
        )
    });
    text.boxed()
}

fn meta(rooms: &[Box<str>]) -> BoxedStrategy<String> {
    let parts = (sample::select(rooms.to_vec()), sample::select(METAS));
    let text = parts.prop_map(|(room, meta)| {
        let room = json_string(&room);
        format!(r#"{{"event":"$join","room":{room},"data":{{"meta":{meta}}}}}"#)
    });
    text.boxed()
}

fn history(rooms: &[Box<str>]) -> BoxedStrategy<String> {
    let offset = || option::of(0_u64..8);
    let limit = option::of(sample::select(&[1_u64, 2, 3, 100, 0][..]));
    let parts = (sample::select(rooms.to_vec()), offset(), offset(), limit);
    let text = parts.prop_map(|(room, after, before, limit)| {
        let data = [("after", after), ("before", before), ("limit", limit)];
        verb("$history", &room, &numbers(&data))
    });
    text.boxed()
}

fn members(rooms: &[Box<str>], users: &[Box<str>]) -> BoxedStrategy<String> {
    let mut cursors: Vec<_> = users.iter().map(|user| format!("u{user}")).collect();
    // The last but one is after all possible guests; the last is not a cursor.
    cursors.extend(["u", "c9007199254740991", "x"].map(String::from));
    let limit = option::of(sample::select(&[1_u64, 2, 100, 0][..]));
    let parts = (
        sample::select(rooms.to_vec()),
        option::of(sample::select(cursors)),
        limit,
    );
    let text = parts.prop_map(|(room, after, limit)| {
        let mut data = numbers(&[("limit", limit)]);
        data.extend(after.map(|after| format!(r#""after":{}"#, json_string(&after))));
        verb("$members", &room, &data)
    });
    text.boxed()
}

fn numbers(members: &[(&str, Option<u64>)]) -> Vec<String> {
    let set = members.iter();
    set.filter_map(|(name, value)| Some(format!(r#""{name}":{}"#, (*value)?)))
        .collect()
}

fn verb(event: &str, room: &str, data: &[String]) -> String {
    let (room, data) = (json_string(room), data.join(","));
    format!(r#"{{"event":"{event}","id":2,"room":{room},"data":{{{data}}}}}"#)
}
