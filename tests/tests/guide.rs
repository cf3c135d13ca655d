//! Features of other systems, with the stories and tests that show them here, and the guide to
//! coming from these systems.

use std::{collections::BTreeSet, fs, path::Path};

use crate::applications::APPLICATIONS;

const GUIDE: &str = include_str!("../../docs/compare.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Features of other systems, and the stories (files in `tests/traces`) and tests that show each.
///
/// A story of a session comes from the other system's own example.
static FEATURES: [(&str, &str, &[&str]); 28] = [
    (
        "nest-rs",
        "client.join and leave, idempotent; a room lives while it has a member; a disconnect leaves all rooms",
        &[
            "chat/nest_rs_join_and_leave_are_idempotent",
            "rows/nest_rs_a_room_lives_while_it_has_a_member",
            "rows/nest_rs_join_is_idempotent",
            "rows/nest_rs_leave_is_idempotent",
            "rows/nest_rs_disconnect_drops_membership_at_once",
        ],
    ),
    (
        "nest-rs",
        "a gateway mounts itself on the existing transport: same port, same TLS",
        &[
            "tests/tests/traces.rs: on_the_service_in_axum",
            "tests/tests/mounted/streams.rs: tls_of_the_application_carries_whole_sessions",
        ],
    ),
    (
        "nest-rs",
        "emit to this connection",
        &["rows/nest_rs_emit_reaches_this_connection"],
    ),
    (
        "nest-rs",
        "to(room), the sender included, membership not required, counted",
        &[
            "rows/nest_rs_a_room_includes_the_sender",
            "rows/nest_rs_sending_to_a_room_needs_no_membership",
        ],
    ),
    (
        "nest-rs",
        "broadcast to every connection, this one included",
        &[
            "chat/nest_rs_the_session",
            "tests/tests/sessions.rs: npm_ws_talks_in_the_chat",
            "rows/nest_rs_broadcast_reaches_everybody_this_one_included",
            "rows/nest_rs_everybody_but_this_one",
        ],
    ),
    (
        "nest-rs",
        "broadcast of an earlier page: everybody else in the rooms of this one",
        &[
            "rows/nest_rs_others_in_my_rooms",
            "rows/nest_rs_my_rooms_with_this_one",
        ],
    ),
    (
        "nest-rs",
        "the registry from outside a handler",
        &[
            "tests/tests/sessions.rs: npm_ws_talks_in_the_chat",
            "host-native/tests/gateways/handle.rs: every_verb_from_a_task",
            "rows/nest_rs_pushes_from_outside_a_handler",
        ],
    ),
    (
        "nest-rs",
        "an unserializable value is an error; a closed connection is not counted",
        &[
            "rows/nest_rs_a_value_that_cannot_be_sent_is_an_error",
            "rows/nest_rs_who_is_closed_is_not_counted",
        ],
    ),
    (
        "nest-rs",
        r#"the envelope {"event","data"}; the return value is the reply"#,
        &[
            "chat/nest_rs_the_session",
            "rows/nest_rs_a_return_value_is_a_reply",
            "rows/nest_rs_no_value_is_no_reply",
            "rows/nest_rs_another_event_and_several_replies",
        ],
    ),
    (
        "nest-rs",
        "lifecycle hooks",
        &["chat/nest_rs_the_session", "rows/nest_rs_lifecycle_hooks"],
    ),
    (
        "nest-rs",
        "payloads typed and validated",
        &[
            "rows/nest_rs_payloads_are_typed",
            "rows/nest_rs_payloads_are_validated",
        ],
    ),
    (
        "nest-rs",
        "guards at the upgrade and per message",
        &[
            "rows/nest_rs_guards_at_the_upgrade",
            "rows/nest_rs_guards_before_messages",
        ],
    ),
    (
        "nest-rs",
        "several gateways in one namespace",
        &["rows/nest_rs_several_gateways_serve_one_namespace"],
    ),
    (
        "nest-rs",
        "namespaces, a registry for each",
        &[
            "rows/nest_rs_namespaces_have_registries_of_their_own",
            "tests/tests/edge_gateways/applications.rs: namespaces_share_nothing",
        ],
    ),
    (
        "nest-rs",
        "scheduled push",
        &[
            "heartbeat/nest_rs_a_schedule_pushes_to_all",
            "tests/tests/sessions.rs: npm_ws_hears_the_heartbeat",
            "rows/nest_rs_a_schedule_pushes",
        ],
    ),
    (
        "nest-rs",
        "push from queues and routes",
        &[
            "notify/nest_rs_pushes_from_routes_and_queues",
            "tests/tests/sessions.rs: npm_ws_talks_in_the_chat",
        ],
    ),
    (
        "nest-rs",
        "a start-up line that says what was mounted",
        &["tests/tests/sessions.rs: python_websockets_talks_in_the_chat"],
    ),
    (
        "toni",
        "join_room, leave_room, remove_client, broadcast_to_room by id",
        &[
            "rows/toni_join_and_leave_by_id",
            "rows/toni_remove_client",
            "rows/toni_broadcast_to_room",
        ],
    ),
    (
        "toni",
        "get_room_members, get_client_rooms, room_count",
        &[
            "rows/toni_get_room_members",
            "rows/toni_get_client_rooms",
            "rows/toni_room_count",
        ],
    ),
    (
        "toni",
        "raw gateways, without an envelope",
        &[
            "raw/toni_text_without_envelopes",
            "raw/toni_binary_is_ignored",
            "tests/tests/sessions.rs: python_websockets_talks_without_envelopes",
        ],
    ),
    (
        "toni",
        "disconnect reasons",
        &[
            "raw/toni_disconnect_ends_membership",
            "rows/toni_disconnect_reasons",
            "tests/tests/rows.rs: the_raw_example_knows_why_a_connection_ended",
        ],
    ),
    (
        "toni",
        "every connection by its id",
        &["rows/toni_every_connection_by_its_id"],
    ),
    (
        "moost",
        "event and path with parameters; join() is the path of the message",
        &[
            "rooms/moost_the_session",
            "tests/tests/sessions.rs: npm_ws_goes_to_rooms_by_path",
            "rows/moost_event_and_path_with_parameters",
            "rows/moost_join_defaults_to_the_path",
        ],
    ),
    (
        "moost",
        "a room without the sender",
        &[
            "rooms/moost_the_session",
            "rows/moost_a_room_without_the_sender",
            "rows/moost_a_room_with_the_sender",
        ],
    ),
    (
        "moost",
        "excludeSelf: false; room: other",
        &[
            "rooms/moost_options_of_a_broadcast",
            "rows/moost_another_room",
        ],
    ),
    (
        "moost",
        "a request id, exactly one reply",
        &[
            "rooms/moost_the_session",
            "rows/moost_a_request_id_gets_exactly_one_reply",
        ],
    ),
    (
        "moost",
        "an error reply with a code",
        &["rows/moost_an_error_reply_has_a_code"],
    ),
    (
        "moost",
        "rooms(), connections(), roomConnections(room), getConnection(id), close()",
        &[
            "rows/moost_rooms",
            "rows/moost_connections",
            "rows/moost_room_connections",
            "rows/moost_close",
        ],
    ),
];

/// Stories and tests of all features.
fn shown() -> impl Iterator<Item = &'static str> {
    FEATURES
        .iter()
        .flat_map(|(_, _, names)| names.iter().copied())
}

#[test]
fn every_story_of_another_system_shows_a_feature() {
    let told: BTreeSet<_> = shown().collect();
    let mut missing = Vec::new();
    for application in &APPLICATIONS {
        for trace in application.traces() {
            let mut systems = ["nest_rs_", "toni_", "moost_"].iter();
            let is_theirs = systems.any(|system| trace.name().starts_with(system));
            let name = format!("{}/{}", application.name, trace.name());
            if is_theirs && !told.contains(&*name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "in no row of `FEATURES`: {missing:?}");
}

#[test]
fn what_shows_each_thing_exists() {
    let mut shown_by = 0;
    for name in shown() {
        if let Some((file, test)) = name.split_once(": ") {
            let source = fs::read_to_string(Path::new(ROOT).join(file)).expect(name);
            assert!(source.contains(&format!("fn {test}()")), "{name}");
        } else {
            let path = Path::new(ROOT).join(format!("tests/traces/{name}.trace"));
            assert!(path.exists(), "{name}");
        }
        shown_by += 1;
    }
    assert!(shown_by > 40, "{shown_by}");
}

/// Lines that are neither empty nor a comment: an example is taken in at one look.
#[test]
fn an_example_has_at_most_60_lines_of_code() {
    for example in ["chat", "heartbeat", "notify", "raw", "rooms"] {
        let path = format!("{ROOT}/core/examples/gateways/{example}.rs");
        let text = fs::read_to_string(&path).expect(&path);
        let lines = text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        let count = code.count();
        assert!(count <= 60, "{example}: {count}");
    }
}

#[test]
fn no_link_of_the_guide_is_dead() {
    let links = GUIDE.split("](").skip(1);
    for link in links.filter_map(|rest| rest.split(')').next()) {
        if let Some(anchor) = link.strip_prefix('#') {
            let has = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -".contains(*c));
                line.starts_with('#') && kept.collect::<String>().replace(' ', "-") == anchor
            };
            assert!(GUIDE.lines().any(has), "#{anchor}");
        } else if !link.starts_with("http") {
            let path = link.split('#').next().unwrap_or_default();
            let path = Path::new(ROOT).join("docs").join(path);
            assert!(path.exists(), "{}", path.display());
        }
    }
}
