//! Words that a stranger has to guess.

use std::collections::BTreeSet;

use super::tree::{Source, Violation};

/// Words of names and of documentation, and the field's words for them.
const ANYWHERE: [(&str, &str); 24] = [
    ("abroad", "remote"),
    ("attendance", "presence notices"),
    ("denial", "rejection or refusal"),
    ("departed", "ended"),
    ("desk", "NamespaceContext, ApiHost or Harness"),
    ("ebb", "trim"),
    ("ebbed", "trimmed"),
    ("farewell", "rejection or refusal"),
    ("formerly", "previous connections"),
    ("give_back", "load history"),
    ("knock", "upgrade request"),
    ("knocks", "upgrade requests"),
    ("ledger", "pending replies"),
    ("look_at", "tick"),
    ("noted_down", "logged"),
    ("parked", "pending read"),
    ("pulse", "heartbeat"),
    ("rarities", "durable commands"),
    ("rarity", "durable command"),
    ("shelf", "histories"),
    ("shelves", "histories"),
    ("told_of_users", "notify_presence"),
    ("turn_away", "refuse_rate"),
    ("written_down", "serialized or logged"),
];

/// Words that are plain English in a sentence, and say too little in a name.
const NAMES: [(&str, &str); 16] = [
    ("arrive", "joined"),
    ("depart", "left"),
    ("life", "the incarnation of a room, or the store's header"),
    ("lives", "histories opened"),
    ("noted", "logged"),
    ("odd", "slow path"),
    ("park", "pending read"),
    ("pays", "check_rate"),
    ("places", "permits"),
    ("rare", "durable command"),
    ("recall", "load history"),
    ("seat", "slot"),
    ("seats", "slots"),
    ("settle", "the thing that it does"),
    ("standing", "unassigned"),
    ("watches", "wants_membership"),
];

/// Words that are good names of values and of functions, and riddles as names of types.
const TYPES: [(&str, &str); 8] = [
    ("Fault", "an XError, Panic or Violation"),
    ("Heard", "Activity"),
    ("Life", "an incarnation or a header"),
    ("Parked", "PendingRead"),
    ("Refused", "Rejection or Refusal"),
    ("Run", "Serve or Batch"),
    ("Shown", "presence meta"),
    ("Works", "Tasks"),
];

/// Names of more words are the sentences of tests, and plain English may stand in them.
const NAME_WORDS_MAX: usize = 4;

/// Odd words in names and in documentation.
///
/// Other words are too common to be looked for: sentences, variables and the standard library say
/// *keep*, *heard*, *away*, *place*, *run*, *shown*, *works*, *written*, *refused* and *fault*.
/// *Rejection* and *refusal* are the field's words.
pub(crate) fn words(source: &Source) -> Vec<Violation> {
    if source.path.starts_with("tests/tests/tidy/") {
        return Vec::new();
    }
    let padded = |words: &'static [(&str, &str)]| -> Vec<_> {
        let words = words.iter();
        words.map(|word| (format!("_{}_", word.0), word)).collect()
    };
    let (anywhere, in_names) = (padded(&ANYWHERE), padded(&NAMES));
    let (mut violations, mut above) = (Vec::new(), "");
    for (number, line) in source.text.lines().enumerate() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        // Texts are the contract with clients.
        let code: String = code.split('"').step_by(2).collect();
        let names: BTreeSet<&str> = code.split(|c: char| !is_name(c)).collect();
        let snakes = names.iter().map(|name| snake_case(name));
        let snakes: String = snakes
            .filter(|name| name.matches('_').count() <= NAME_WORDS_MAX + 1)
            .collect();
        let sentence = comment.strip_prefix(['/', '!']);
        let told = sentence.map(|sentence| in_lines(above, sentence));
        above = sentence.unwrap_or_default();
        let is_fault =
            |word: &str| word == "Fault" && names.iter().any(|name| name.ends_with(word));
        let types = TYPES.iter();
        let types = types.filter(|(word, _)| names.contains(word) || is_fault(word));
        let odd = anywhere.iter().chain(&in_names);
        let odd = odd.filter(|(padded, _)| snakes.contains(padded));
        let found: BTreeSet<_> = types
            .chain(odd.map(|(_, word)| *word))
            .chain(told.into_iter().flatten())
            .collect();
        violations.extend(found.into_iter().map(|word| fix(source, number, word)));
    }
    violations
}

/// The odd words of a sentence.
fn in_sentence(sentence: &str) -> Vec<&'static (&'static str, &'static str)> {
    let sentence = format!(
        "_{}_",
        sentence.to_lowercase().replace(|c| !is_name(c), "_")
    );
    let is_in = |(word, _): &&(&str, &str)| {
        sentence.contains(word) && sentence.contains(&format!("_{word}_"))
    };
    ANYWHERE.iter().filter(is_in).collect()
}

/// The odd words of a line of a comment, with phrases that begin in the line above.
pub(super) fn in_lines(above: &str, line: &str) -> Vec<&'static (&'static str, &'static str)> {
    let (before, mut found) = (in_sentence(above), in_sentence(line));
    let across = in_sentence(&format!("{} {}", above.trim(), line.trim())).into_iter();
    found.extend(across.filter(|word| !before.contains(word)));
    found
}

pub(super) fn fix(source: &Source, number: usize, (word, field): &(&str, &str)) -> Violation {
    source.violation(number, format!("the word {word:?}: the field says {field}"))
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The words of a name, each between underscores.
fn snake_case(name: &str) -> String {
    let mut snake = String::from("_");
    let mut is_capital = true;
    for letter in name.chars() {
        if letter.is_uppercase() && !is_capital {
            snake.push('_');
        }
        is_capital = letter.is_uppercase();
        snake.extend(letter.to_lowercase());
    }
    snake.push('_');
    snake
}
