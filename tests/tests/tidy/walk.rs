//! The walk of one publish, as `ARCHITECTURE.md` lists it: existing functions, not too many, and
//! everything that they call.

mod calls;

use std::collections::{BTreeMap, BTreeSet};

use self::calls::Function;
use super::tree::{Source, Tree, Violation};

const HEADING: &str = "## The way of one publish, hop by hop";

/// The line behind which files are entered once more.
const TURN_ENDS: &str = "The turn ends, in a task of its own:";

/// Functions that a publish enters at most: a longer way is to be shortened, not listed.
const FUNCTIONS_MAX: usize = 35;

/// Folders that files of the section are in.
const FOLDERS: [&str; 2] = ["host-native/src", "core/src"];

/// Files beside those of the section, which its functions call too.
const BESIDE: [&str; 9] = [
    "core/src/hub/conns.rs",
    "core/src/hub/connection.rs",
    "core/src/hub/identity.rs",
    "core/src/wire/head.rs",
    "host-native/src/connection/place.rs",
    "host-native/src/shard/fan_out/members.rs",
    "host-native/src/shard/egress/flow.rs",
    "host-native/src/shard/egress/cork.rs",
    "host-native/src/shard/turn/watch.rs",
];

/// Functions that functions of the section name and that are no part of the way, by the reason.
const OFF: [(&str, &[&str]); 6] = [
    (
        "the beginning or end of a connection, or an error",
        &[
            "Connection::note_unheard",
            "Connection::answer_close",
            "Egress::admit_bye",
            "FanOut::admit_bye",
            "Members::remove",
            "Hub::refuse",
            "Shard::ask_close",
            "Shard::enter",
            "SendQueue::enforce_limits",
            "Socket::half_close",
            "Socket::poll_unblock",
            "Socket::set_stage",
            "Socket::wake",
            "TurnWatch::longest",
            "Violation::too_big",
        ],
    ),
    (
        "something that is off, or that this message does not ask for",
        &[
            "App::apply_other",
            "App::verb",
            "Buckets::refuse",
            "Decoder::take_slow_path",
            "FanOut::send_one",
            "Hub::check_right_of",
            "Hub::note_activity",
            "Hub::publish_by_policy",
            "Place::let_through",
            "Egress::deliver_one",
            "Egress::spill",
            "Socket::flush_records",
            "Socket::write_now",
            "send::answer_publish",
        ],
    ),
    (
        "an application, which is none",
        &["App::call_hooks", "App::parts", "App::with_here"],
    ),
    (
        "bytes alone: it knows no message and no room",
        &[
            "Head::read",
            "decode::unmask",
            "head::write_from",
            "head::write_head",
            "Outbox::frame",
            "Socket::poll_read",
            "payload::scan",
            "queue::slices",
        ],
    ),
    (
        "counts, or keeps time",
        &[
            "Connection::after_read",
            "Conns::note_activity",
            "Egress::watch",
            "Shard::begin",
            "SendQueue::advance",
            "TurnWatch::enter",
            "TurnWatch::leave",
        ],
    ),
    (
        "looks something up",
        &[
            "Home::shard",
            "Line::new",
            "Message::address",
            "SendQueue::only",
            "connection::guards",
        ],
    ),
];

/// Files that the way enters twice before the turn ends, by the reason.
const TWICE: [(&str, &str); 3] = [
    (
        "host-native/src/shard/input.rs",
        "notes the batch that an input has begun",
    ),
    (
        "host-native/src/shard/hosted.rs",
        "carries out the commands of the namespace that it gave the input to",
    ),
    (
        "core/src/hub/receive.rs",
        "takes the message from the rates of its sender before it reads it",
    ),
];

/// Reports functions of the section that none of its files defines, files that do not exist or that
/// the walk [enters twice](TWICE) without a reason, and called functions that are neither in the
/// section nor [off](OFF) the walk.
pub(crate) fn publish_walk(tree: &Tree) -> Vec<Violation> {
    let page = |document: &&Source| document.path == "ARCHITECTURE.md";
    let Some(page) = tree.documents.iter().find(page) else {
        return Vec::new();
    };
    let names = names(&page.text);
    let (paths, functions): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|(_, name)| is_path(name));
    let mut violations = Vec::new();
    let count = functions
        .iter()
        .map(|(_, name)| name)
        .collect::<BTreeSet<_>>()
        .len();
    if count == 0 || count > FUNCTIONS_MAX {
        let fix = format!(
            "{HEADING:?} lists {count} functions, and at most {FUNCTIONS_MAX}: shorten the way"
        );
        violations.push(page.violation(0, fix));
    }
    let mut sources = Vec::new();
    for (line, path) in paths {
        let found = tree.sources.iter().filter(|source| is_at(source, path));
        let before = sources.len();
        sources.extend(found);
        if sources.len() == before {
            violations.push(page.violation(line, format!("no file {path}")));
        }
    }
    for &(line, name) in &functions {
        if !sources.iter().any(|source| has_function(source, name)) {
            let fix = format!("no function {name} in the files of this section");
            violations.push(page.violation(line, fix));
        }
    }
    let end = page.text.lines().position(|line| line == TURN_ENDS);
    let before_end = |line: usize| end.is_none_or(|end| line < end);
    let entered = functions.iter().filter(|(line, _)| before_end(*line));
    let entered = entered.filter_map(|&(line, name)| {
        let mut sources = sources.iter();
        let source = sources.find(|source| has_function(source, name))?;
        Some((line, &*source.path))
    });
    violations.extend(twice(entered).map(|(line, path)| {
        let fix = format!("the way enters {path} twice: shorten it, or give the reason in `TWICE`");
        page.violation(line, fix)
    }));
    let names: Vec<&str> = functions.iter().map(|(_, name)| *name).collect();
    let is_off = |called: &Function<'_>| off().any(|name| called.is(name));
    for called in called(tree, &sources, &names) {
        if !is_off(&called) {
            let fix = format!(
                "{} is on the way of a publish: list it in {HEADING:?}, or make the way shorter",
                called.full_name()
            );
            violations.push(called.source.violation(called.line, fix));
        }
    }
    violations
}

/// The files that are entered again, without those for which there is a reason.
fn twice<'a>(
    entered: impl Iterator<Item = (usize, &'a str)>,
) -> impl Iterator<Item = (usize, &'a str)> {
    let (mut last, mut all) = ("", BTreeSet::new());
    let again = entered.filter(move |&(_, path)| {
        let is_stay = std::mem::replace(&mut last, path) == path;
        !all.insert(path) && !is_stay
    });
    again.filter(|(_, path)| TWICE.iter().all(|(file, _)| file != path))
}

fn off() -> impl Iterator<Item = &'static str> {
    OFF.iter().flat_map(|(_, names)| names.iter().copied())
}

/// The functions that functions of these names call, and that have none of these names.
fn called<'a>(tree: &'a Tree, sources: &[&'a Source], names: &[&str]) -> Vec<Function<'a>> {
    let beside = tree.sources.iter();
    let beside = beside.filter(|source| BESIDE.contains(&&*source.path));
    let sources: BTreeMap<&str, &Source> = sources
        .iter()
        .copied()
        .chain(beside)
        .map(|source| (&*source.path, source))
        .collect();
    let functions = sources.into_values().flat_map(Function::all);
    let is_listed = |function: &Function<'_>| names.iter().any(|name| function.is(name));
    let (listed, others): (Vec<_>, Vec<_>) = functions.partition(is_listed);
    let is_called = |other: &Function<'_>| {
        !other.is_plain() && listed.iter().any(|function| function.calls(other))
    };
    others.into_iter().filter(is_called).collect()
}

/// The names between backticks in the numbered items of the section, with their lines.
fn names(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    let section = lines
        .skip_while(|(_, line)| *line != HEADING)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .skip_while(|(_, line)| !line.starts_with("1. "));
    let names = section.flat_map(|(number, line)| {
        let names = line.split('`').skip(1).step_by(2);
        names.map(move |name| (number, name))
    });
    // `$auth` is a word of the protocol.
    names.filter(|(_, name)| !name.starts_with('$')).collect()
}

fn is_path(name: &str) -> bool {
    name.ends_with(".rs") || name.ends_with('/')
}

fn is_at(source: &Source, path: &str) -> bool {
    FOLDERS.iter().any(|folder| {
        let below = source.path.strip_prefix(folder);
        let below = below.and_then(|below| below.strip_prefix('/'));
        below.is_some_and(|below| {
            below == path
                || path.ends_with('/') && below.starts_with(path)
                || !path.contains('/') && below.ends_with(&format!("/{path}"))
        })
    })
}

/// True when the source defines the function, on the named type if there is one.
fn has_function(source: &Source, name: &str) -> bool {
    let (owner, function) = name.rsplit_once("::").unwrap_or(("", name));
    let defines = ["(", "<"]
        .iter()
        .any(|end| source.text.contains(&format!("fn {function}{end}")));
    let is_of = |line: &str| line.starts_with("impl") && line.contains(owner);
    // A module is named in lower case.
    let is_module = owner.starts_with(char::is_lowercase);
    defines && (owner.is_empty() || is_module || source.text.lines().any(is_of))
}

/// Functions that are no part of the way need no reason either when nothing there names them.
#[test]
fn functions_off_the_way_are_called_from_it() {
    let tree = Tree::read();
    let page = tree.documents.iter();
    let page = page.filter(|document| document.path == "ARCHITECTURE.md");
    let names: Vec<_> = page.flat_map(|page| names(&page.text)).collect();
    let (paths, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|(_, name)| is_path(name));
    let is_of_way = |source: &&Source| paths.iter().any(|(_, path)| is_at(source, path));
    let sources: Vec<_> = tree.sources.iter().filter(is_of_way).collect();
    let names: Vec<_> = names.into_iter().map(|(_, name)| name).collect();
    let called = called(&tree, &sources, &names);
    let is_unused = |name: &&str| !called.iter().any(|function| function.is(name));
    let unused: Vec<_> = off().filter(is_unused).collect();
    assert!(unused.is_empty(), "{unused:?}");
}
