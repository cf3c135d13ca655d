//! Faults in rules as people write them: the place, the word, and the word that was meant.

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

use serde_json::value::RawValue;

use crate::policy::pattern::{Pattern, PatternError};

/// A fault in one rule of grants. Its text continues after the position of the rule, as in
/// `grants[1]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The rule is no object.
    #[error(r#": write an object like {{"rooms":"chat:*","can":["join","publish"]}}"#)]
    Shape,
    /// A member is missing.
    #[error(" has no `{0}`")]
    Missing(&'static str),
    /// An unknown member.
    #[error(": unknown member {found:?}: {}", instead(.meant, &GrantError::MEMBERS))]
    Member {
        /// The member, at most 20 characters of it.
        found: Box<str>,
        /// The member that was meant.
        meant: Option<&'static str>,
    },
    /// The rooms are no pattern.
    #[error(".rooms: {PatternError}")]
    Rooms,
    /// The rights are no list of texts.
    #[error(r#".can: write a list like ["join","publish"]"#)]
    Can,
    /// A word that names no right.
    #[error(".can: {found:?} is no right: {}", instead(.meant, .rights))]
    Right {
        /// The word, at most 20 characters of it.
        found: Box<str>,
        /// The right that was meant.
        meant: Option<&'static str>,
        /// The names of all rights.
        rights: [&'static str; 4],
    },
}

/// Characters of a wrong word that are shown: it may be anything.
const WORD_CHARS_MAX: usize = 20;

fn instead(meant: &Option<&str>, all: &[&str]) -> String {
    match meant {
        Some(meant) => format!("write {meant:?}"),
        None => format!("write one of {}", all.join(", ")),
    }
}

impl GrantError {
    const MEMBERS: [&str; 2] = ["rooms", "can"];

    /// Finds the first fault in a list of rules, with the place of its rule; `None` when the text
    /// is no list, or has no fault that is known here. Work: the length of the text.
    pub(super) fn find(json: &str, rights: [&'static str; 4]) -> Option<(usize, Self)> {
        let rules: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let mut rules = rules.into_iter().enumerate();
        rules.find_map(|(index, rule)| Some((index, Self::of(rule.get(), rights)?)))
    }

    fn of(rule: &str, rights: [&'static str; 4]) -> Option<Self> {
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(rule) else {
            return Some(Self::Shape);
        };
        let is_strange = |name: &&String| !Self::MEMBERS.contains(&name.as_str());
        if let Some(found) = members.keys().find(is_strange) {
            let (found, meant) = word(found, &Self::MEMBERS);
            return Some(Self::Member { found, meant });
        }
        let member = |name| members.get(name).map(|json| json.get());
        let Some(rooms) = member("rooms") else {
            return Some(Self::Missing("rooms"));
        };
        if serde_json::from_str::<Pattern>(rooms).is_err() {
            return Some(Self::Rooms);
        }
        let Some(can) = member("can") else {
            return Some(Self::Missing("can"));
        };
        let Ok(words) = serde_json::from_str::<Vec<String>>(can) else {
            return Some(Self::Can);
        };
        let found = words.iter().find(|word| !rights.contains(&word.as_str()))?;
        let (found, meant) = word(found, &rights);
        Some(Self::Right {
            found,
            meant,
            rights,
        })
    }
}

/// A wrong word as shown, and the nearest of these words, if one is near.
fn word(found: &str, words: &[&'static str]) -> (Box<str>, Option<&'static str>) {
    let found: String = found.chars().take(WORD_CHARS_MAX).collect();
    let near = words.iter().map(|word| (distance(&found, word), *word));
    let near = near.filter(|(distance, word)| 3 * distance <= word.len());
    let meant = near.min().map(|(_, word)| word);
    (found.into(), meant)
}

/// The number of letters to insert, delete or change, without regard to capitals.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.bytes().enumerate() {
        let (mut diagonal, mut left) = (above, above + 1);
        row[0] = left;
        for (cell, other) in row[1..].iter_mut().zip(to.bytes()) {
            let change = diagonal + usize::from(!letter.eq_ignore_ascii_case(&other));
            diagonal = *cell;
            left = change.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: [&str; 4] = ["join", "publish", "presence", "history"];

    #[test]
    fn the_place_the_word_and_the_one_that_was_meant_are_named() {
        for (json, said) in [
            (
                r#"[{"rooms":"a","can":["join"]},{"rooms":"b","can":["join","publsh"]}]"#,
                r#"1.can: "publsh" is no right: write "publish""#,
            ),
            (
                r#"[{"rooms":"a","can":["Join"]}]"#,
                r#"0.can: "Join" is no right: write "join""#,
            ),
            (
                r#"[{"rooms":"a","can":["subscribe"]}]"#,
                r#"0.can: "subscribe" is no right: write one of join, publish, presence, history"#,
            ),
            (
                r#"[{"room":"a","can":["join"]}]"#,
                r#"0: unknown member "room": write "rooms""#,
            ),
            (
                r#"[{"rooms":"a","can":["join"],"except":"b"}]"#,
                r#"0: unknown member "except": write one of rooms, can"#,
            ),
            (r#"[{"can":[]}]"#, "0 has no `rooms`"),
            (r#"[{"rooms":"a"}]"#, "0 has no `can`"),
            (
                r#"[{"rooms":"","can":[]}]"#,
                "0.rooms: a pattern of room names has 1 to 256 bytes",
            ),
            (r#"[{"rooms":["a"],"can":[]}]"#, "0.rooms: a pattern"),
            (
                r#"[{"rooms":"a","can":"join"}]"#,
                r#"0.can: write a list like ["join""#,
            ),
            (r#"[{"rooms":"a","can":[1]}]"#, "0.can: write a list"),
            (r#"["a"]"#, "0: write an object like"),
        ] {
            let (index, fault) = GrantError::find(json, RIGHTS).expect(json);
            let told = format!("{index}{fault}");
            assert!(told.starts_with(said), "{told}");
        }
        for sound in ["{}", "7", "[]", r#"[{"rooms":"a","can":["join"]}]"#] {
            assert_eq!(GrantError::find(sound, RIGHTS), None, "{sound}");
        }
    }

    #[test]
    fn a_wrong_word_is_cut_and_escaped() {
        let json = format!(r#"[{{"rooms":"a","can":["\n{}"]}}]"#, "\u{e9}".repeat(5000));
        let (_, fault) = GrantError::find(&json, RIGHTS).expect("a fault");
        let told = format!("{fault}");
        assert!(!told.contains('\n') && told.chars().count() < 120, "{told}");
    }

    #[test]
    fn letters_that_differ_are_counted() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "join", 4),
            ("joins", "join", 1),
            ("JOIN", "join", 0),
            ("jion", "join", 2),
            ("abc", "wxyz", 4),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
