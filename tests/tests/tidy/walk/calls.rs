//! The functions that a function calls, as far as their names tell.

use crate::tidy::tree::Source;

/// A function of a source file.
pub(crate) struct Function<'a> {
    pub(crate) source: &'a Source,
    pub(crate) line: usize,
    /// The type that it is of; empty for a free function.
    pub(crate) owner: &'a str,
    pub(crate) name: &'a str,
    /// Lines from the attributes to the end of the signature.
    head: String,
    body: String,
}

/// Methods that types of the standard library have too: such a call is taken for theirs, unless it
/// is of `self`.
const COMMON: [&str; 29] = [
    "add",
    "any",
    "borrow",
    "borrow_mut",
    "check",
    "clear",
    "close",
    "drain",
    "end",
    "error",
    "find",
    "flush",
    "forget",
    "from",
    "get",
    "get_mut",
    "into_owned",
    "is_empty",
    "join",
    "len",
    "new",
    "push",
    "read",
    "replace",
    "set",
    "shrink_to_fit",
    "take",
    "wait",
    "write",
];

impl<'a> Function<'a> {
    /// The functions of a file, without those for tests. The file is formatted: a function ends
    /// with a brace below the first letter of its first line.
    pub(crate) fn all(source: &'a Source) -> Vec<Self> {
        let lines: Vec<&str> = source.text.lines().collect();
        let (mut functions, mut owner, mut head) = (Vec::new(), "", 0);
        for (line, text) in lines.iter().enumerate() {
            if text.starts_with("mod tests {") {
                break;
            }
            if text.starts_with("impl") {
                owner = owner_of(text);
            } else if text.starts_with('}') {
                owner = "";
            }
            let Some(name) = function(text) else {
                let code = text.trim_start();
                if !code.starts_with("#[") && !code.starts_with("//") {
                    head = line + 1;
                }
                continue;
            };
            let indent = &text[..text.len() - text.trim_start().len()];
            let end = format!("{indent}}}");
            let length = lines[line..].iter().position(|text| **text == *end);
            let all = &lines[line..=line + length.unwrap_or(0)];
            let signature = all.iter().take_while(|text| !text.ends_with('{')).count() + 1;
            let signature = signature.min(all.len());
            let without_comment = |text: &&str| text.split("//").next().unwrap_or("").to_owned();
            let body: Vec<_> = all[signature..].iter().map(without_comment).collect();
            functions.push(Self {
                source,
                line,
                owner,
                name,
                head: lines[head..line + signature].join("\n"),
                body: body.join("\n"),
            });
            head = line + 1;
        }
        functions
    }

    /// The name with that of its type.
    pub(crate) fn full_name(&self) -> String {
        match self.owner {
            "" => self.name.to_owned(),
            owner => format!("{owner}::{}", self.name),
        }
    }

    /// True for `name`, with or without the type.
    pub(crate) fn is(&self, name: &str) -> bool {
        match name.rsplit_once("::") {
            // A module is named in lower case.
            Some((owner, name)) if owner.starts_with(char::is_uppercase) => {
                self.owner == owner && self.name == name
            }
            Some((_, name)) => self.owner.is_empty() && self.name == name,
            None => self.name == name,
        }
    }

    /// True when it does nothing that a reader has to know of: it is one expression, a question
    /// that changes nothing, or marked as seldom called.
    pub(crate) fn is_plain(&self) -> bool {
        let lines = self.body.lines().filter(|line| !line.trim().is_empty());
        let asks = self.head.contains("(&self") && self.head.contains("-> bool");
        asks || self.head.contains("#[cold]") || lines.count() <= 2
    }

    /// True when its body calls that function.
    pub(crate) fn calls(&self, other: &Function<'_>) -> bool {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let krate = self.source.path.split('/').next();
        let is_visible = other.head.contains("pub fn") || other.head.contains("pub const fn");
        if krate != other.source.path.split('/').next() && !is_visible {
            return false;
        }
        let is_free = other.owner.is_empty();
        self.body.match_indices(other.name).any(|(at, name)| {
            let (before, behind) = (&self.body[..at], &self.body[at + name.len()..]);
            if before.ends_with(is_name) || !behind.starts_with(['(', ':']) {
                return false;
            }
            if let Some(path) = before.strip_suffix("::") {
                let last = path.rsplit(|c| !is_name(c)).next().unwrap_or("");
                let is_type = last.starts_with(char::is_uppercase);
                let last = if last == "Self" { self.owner } else { last };
                let is_module = is_free && other.source.path.contains(last);
                return is_type && other.owner == last || !is_type && is_module;
            }
            let Some(receiver) = before.trim_end().strip_suffix('.') else {
                return is_free;
            };
            if receiver.ends_with("self") && !receiver.ends_with(".self") {
                return other.owner == self.owner;
            }
            !is_free && !COMMON.contains(&name)
        })
    }
}

/// The type of an `impl`.
fn owner_of(line: &str) -> &str {
    let mut rest = line.trim_start_matches("impl");
    if rest.starts_with('<') {
        rest = rest.split_once("> ").map_or(rest, |(_, rest)| rest);
    }
    let of = rest.split_once(" for ").map_or(rest, |(_, of)| of).trim();
    of.split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or("")
}

/// The name of the function that begins in a line.
fn function(line: &str) -> Option<&str> {
    let code = line.trim_start();
    let (before, behind) = code.split_once("fn ")?;
    let is_word = |word: &str| word.starts_with("pub") || ["const", "async"].contains(&word);
    let is_item = before.split_whitespace().all(|word| {
        is_word(word) || word.ends_with(')') // of `pub(in path)`
    });
    let name = behind.split(['(', '<']).next()?;
    is_item.then_some(name)
}
