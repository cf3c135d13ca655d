//! An explanation of the settings of a room.

use std::fmt::Write;

use roomcast::Policies;
use roomcast_core::policy::{Right, RoomPolicy};

use super::check::line_of_table;

const RIGHTS: [Right; 4] = [Right::Join, Right::Publish, Right::Presence, Right::History];

/// Says which policy holds in a room, and which grants a user has there.
pub(super) fn explain(policies: &Policies, file: &str, room: &str, user: Option<&str>) -> String {
    let mut text = String::new();
    let place = |table, number| {
        let line = line_of_table(file, table, number);
        line.map_or_else(String::new, |line| format!(" in line {line}"))
    };
    match policies.of(room) {
        Some(policy) => {
            let before = policies
                .iter()
                .take_while(|other| !std::ptr::eq(*other, policy));
            let number = before.count() + 1;
            let _ = writeln!(
                text,
                "policy: [[rooms]] number {number}{}, match = {:?}",
                place("rooms", number),
                policy.pattern.as_str()
            );
            write_policy(&mut text, policy);
        }
        None => {
            let _ = writeln!(
                text,
                "policy: none matches: the room keeps no history, and shows nobody"
            );
        }
    }
    let who = user.map_or_else(
        || "a client without a user".to_owned(),
        |user| format!("{user:?}"),
    );
    if policies.grants().is_empty() {
        let _ = writeln!(
            text,
            "grants: the file has none: without tokens every client may do everything, with tokens what \
             its own says"
        );
        return text;
    }
    let _ = writeln!(text, "grants for {who}, beside those of a token:");
    for right in RIGHTS {
        let rule = policies.grants().rule(user, right, room);
        let rule = rule.map_or_else(
            || "no".to_owned(),
            |rule| {
                let mut rules = policies.grants().iter();
                let number = rules.position(|other| std::ptr::eq(other, rule));
                let place = place("grants", number.map_or(0, |number| number + 1));
                format!(
                    "yes, by [[grants]]{place}, rooms = {:?}",
                    rule.rooms.as_str()
                )
            },
        );
        let _ = writeln!(text, "  {}: {rule}", right.as_str());
    }
    text
}

fn write_policy(text: &mut String, policy: &RoomPolicy) {
    // Printed with the keys of the file; values that are left out are the defaults.
    if let Ok(serde_json::Value::Object(keys)) = serde_json::to_value(policy) {
        for (key, value) in keys.into_iter().filter(|(key, _)| key != "match") {
            let serde_json::Value::Object(parts) = value else {
                let _ = writeln!(text, "  {key} = {value}");
                continue;
            };
            for (part, value) in parts {
                let _ = writeln!(text, "  {key}.{part} = {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_and_the_grants_of_a_room_are_named() {
        let file = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 5\n\
            [[grants]]\nfor = \"users\"\nrooms = \"inbox:{user}\"\ncan = [\"join\"]\n";
        let policies = roomcast_http::policies_from_toml(file).expect("policies");
        let said = explain(&policies, file, "chat:7", Some("ann"));
        assert!(
            said.contains("number 1 in line 1, match = \"chat:*\"\n"),
            "{said}"
        );
        assert!(said.contains("  history.messages = 5\n"), "{said}");
        assert!(said.contains("  join: no\n"), "{said}");
        let said = explain(&policies, file, "inbox:ann", Some("ann"));
        assert!(said.starts_with("policy: none matches"), "{said}");
        let yes = "  join: yes, by [[grants]] in line 4, rooms = \"inbox:{user}\"\n  publish: no\n";
        assert!(said.contains(yes), "{said}");
        let said = explain(&policies, file, "inbox:ann", None);
        assert!(said.contains("  join: no\n"), "{said}");
    }
}
