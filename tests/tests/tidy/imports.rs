//! Imports between the files of a crate: none goes in a circle, and none goes up.
//!
//! A file imports what its `use` lines and the paths in its code name: children, siblings, parents,
//! the root of the crate. Through a re-export it imports the file that declares the name. So a
//! parent that declares its children and re-exports them is in no circle with them; a parent whose
//! own code uses what a child declares imports that child. Only items for tests do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Tree, Violation};

/// The layers of the crates, the highest first: the code maps of ARCHITECTURE.md in short. A row
/// uses itself and those below it. The root of a crate is above all.
const LAYERS: [(&str, &[&[&str]]); 2] = [
    (
        "core",
        &[
            &["ask", "explain"],
            &["router"],
            &["journal"],
            &["gateway"],
            &["verb"],
            &["hub"],
            &["outbox", "queue"],
            &["relay"],
            &["room"],
            &["policy", "identity"],
            &["wire", "time"],
        ],
    ),
    (
        "host-native",
        &[
            &["cli"],
            &["host"],
            &["http"],
            &["connection"],
            &["shard"],
            &["shared", "metrics"],
            &["namespace", "socket"],
            &["tls", "ws"],
            &["settings"],
            &["store"],
            &["clock"],
        ],
    ),
];

/// The files that each file of a crate imports, by their places in the tree.
type Edges = BTreeMap<usize, BTreeSet<usize>>;

/// The imports of each crate.
fn edges(tree: &Tree) -> Vec<(&str, Edges)> {
    let mut crates: BTreeMap<&str, Modules> = BTreeMap::new();
    for (index, source) in tree.sources.iter().enumerate() {
        if let Some((krate, path)) = module(&source.path) {
            let module = Module::read(index, &source.text);
            // `main.rs` comes behind `lib.rs`: the library is the root.
            crates
                .entry(krate)
                .or_default()
                .entry(path)
                .or_insert(module);
        }
    }
    let edges = |modules: &Modules| {
        let modules_and_paths = modules.iter();
        let edges = modules_and_paths.map(|(path, it)| (it.file, it.targets(path, modules)));
        edges.collect()
    };
    let crates = crates.iter();
    crates
        .map(|(krate, modules)| (*krate, edges(modules)))
        .collect()
}

/// The imports that go up, from a layer to one above it.
pub(crate) fn layers(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (krate, edges) in edges(tree) {
        let Some((_, layers)) = LAYERS.iter().find(|(name, _)| *name == krate) else {
            continue;
        };
        let layer = |file: usize| {
            let (_, path) = module(&tree.sources[file].path)?;
            let name = path.first()?;
            let is_test = path.iter().any(|name| name == "tests");
            let layer = layers.iter().position(|layer| layer.contains(&&**name));
            layer.filter(|_| !is_test)
        };
        for (&file, targets) in &edges {
            let above = |other: &&usize| layer(**other) < layer(file);
            for other in targets.iter().filter(above) {
                let fix = format!(
                    "imports {}, which is in a layer above: move what both need down, or hand it over",
                    tree.sources[*other].path
                );
                violations.push(tree.sources[file].violation(0, fix));
            }
        }
    }
    violations
}

/// The files that import each other in a circle: one violation for each file that is in one.
pub(crate) fn circles(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (_, edges) in edges(tree) {
        for &file in edges.keys() {
            let reached = reach(&edges, file);
            if reached.contains(&file) {
                let ring = reached
                    .iter()
                    .filter(|&&other| reach(&edges, other).contains(&file));
                let names: Vec<_> = ring.map(|&other| &*tree.sources[other].path).collect();
                let fix = format!("imports in a circle with {}", names.join(", "));
                violations.push(tree.sources[file].violation(0, fix));
            }
        }
    }
    violations
}

/// The modules of a crate, by their paths.
type Modules = BTreeMap<Vec<String>, Module>;

/// The crate of a file, and the path of its module.
fn module(file: &str) -> Option<(&str, Vec<String>)> {
    let (mut krate, mut module) = file.split_once("/src/")?;
    if let Some((name, path)) = module
        .strip_prefix("bin/")
        .and_then(|program| program.split_once('/'))
    {
        // A program in a folder is a crate of its own.
        krate = &file[..krate.len() + "/src/bin/".len() + name.len()];
        module = path;
    }
    let names = module.trim_end_matches(".rs").split('/');
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    if matches!(
        names.last().map(|name| &**name),
        Some("mod" | "lib" | "main")
    ) {
        names.pop();
    }
    Some((krate, names))
}

/// The imports of a file.
struct Module {
    /// The place of the file in the tree.
    file: usize,
    imports: Vec<Import>,
    exports: Vec<Import>,
}

/// A path of a file's code.
#[derive(Clone, PartialEq)]
struct Import {
    /// The modules inside of the file around the path.
    scope: Vec<String>,
    path: Vec<String>,
    /// The name that the file gives to the last part of the path.
    name: String,
}

impl Module {
    fn read(file: usize, text: &str) -> Self {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        for (scope, code) in scopes(text) {
            let (uses, code) = split_uses(&code);
            let words: BTreeSet<&str> = code.split(|c| !is_name(c)).collect();
            for (is_public, tree) in &uses {
                let mut paths = Vec::new();
                expand("", tree, &mut paths);
                for import in paths.iter().map(|path| Import::new(&scope, path)) {
                    if !is_public || words.contains(&*import.name) {
                        imports.push(import.clone());
                    }
                    if *is_public {
                        exports.push(import);
                    }
                }
            }
            imports.extend(inline_paths(&code).map(|path| Import::new(&scope, path)));
        }
        Self {
            file,
            imports,
            exports,
        }
    }

    /// The other files of the crate that the imports lead to.
    fn targets(&self, path: &[String], modules: &Modules) -> BTreeSet<usize> {
        let imports = self.imports.iter();
        let files = imports.filter_map(|import| import.resolve(path, modules));
        files.filter(|file| *file != self.file).collect()
    }
}

impl Import {
    fn new(scope: &[String], path: &str) -> Self {
        let (path, renamed) = path.split_once(" as ").unwrap_or((path, ""));
        let mut path: Vec<_> = path
            .split("::")
            .map(|name| name.trim().to_owned())
            .collect();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = match renamed.trim() {
            "" => path.last().cloned().unwrap_or_default(),
            renamed => renamed.to_owned(),
        };
        Self {
            scope: scope.to_vec(),
            path,
            name,
        }
    }

    /// The file of the crate that declares the name; `None` for another crate's.
    fn resolve(&self, from: &[String], modules: &Modules) -> Option<usize> {
        let is_module = |path: &[String]| modules.keys().any(|module| module.starts_with(path));
        let mut names = self.path.iter().peekable();
        let mut path = [from, &self.scope].concat();
        match &***names.peek()? {
            "crate" => path.clear(),
            "self" | "super" => {}
            child if is_module(&[&path[..], &[child.to_owned()]].concat()) => {}
            _ => return None,
        }
        names.next_if(|name| ["crate", "self"].contains(&&***name));
        while names.next_if(|name| *name == "super").is_some() {
            path.pop();
        }
        while let Some(name) = names.peek() {
            path.push((*name).clone());
            if !is_module(&path) {
                path.pop();
                break;
            }
            names.next();
        }
        // What stands in a module of the file stands in the file.
        while !path.is_empty() && !modules.contains_key(&path) {
            path.pop();
        }
        let module = modules.get(&path)?;
        let name = names.next();
        let exports = module.exports.iter();
        let mut exports = exports.filter(|export| Some(&export.name) == name && *export != self);
        match exports.next() {
            Some(export) => export.resolve(&path, modules),
            None => Some(module.file),
        }
    }
}

/// The code of a file without comments and items for tests, by the modules inside of the file.
///
/// It is formatted: an item ends with a brace below the first letter of its first line.
fn scopes(text: &str) -> BTreeMap<Vec<String>, String> {
    let mut scopes: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut lines = text.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with("//")
    });
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let indent = indent_of(line);
        if code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test,") {
            let mut rest = lines
                .by_ref()
                .skip_while(|line| line.trim_start().starts_with("#["));
            let first = rest.next().unwrap_or_default();
            if !first.ends_with([';', '}', ',']) {
                rest.find(|line| line.trim_start().starts_with('}') && indent_of(line) <= indent);
            }
            continue;
        }
        if code.starts_with('}') && open.last().is_some_and(|(column, _)| *column == indent) {
            open.pop();
        }
        let scope = open.iter().map(|(_, name)| name.clone()).collect();
        let scope = scopes.entry(scope).or_default();
        scope.push_str(code.split(" // ").next().unwrap_or_default());
        scope.push('\n');
        if let Some(name) = without_visibility(code)
            .strip_prefix("mod ")
            .and_then(|name| name.strip_suffix(" {"))
        {
            open.push((indent, name.to_owned()));
        }
    }
    scopes
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The line of an item without its `pub`.
fn without_visibility(line: &str) -> &str {
    let item = line.strip_prefix("pub").unwrap_or(line);
    let item = item
        .strip_prefix('(')
        .and_then(|item| item.split_once(')'))
        .map_or(item, |(_, item)| item);
    item.trim_start()
}

/// The trees of the `use` lines, each with whether it is a re-export, and the rest of the code.
fn split_uses(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some(tree) = without_visibility(line).strip_prefix("use ") else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.ends_with(';') {
            let Some(line) = lines.next() else { break };
            tree.push_str(line);
        }
        uses.push((
            line.starts_with("pub"),
            tree.trim_end_matches(';').to_owned(),
        ));
    }
    (uses, rest)
}

/// The paths in code that begin at the root, the parent or the module itself.
fn inline_paths(code: &str) -> impl Iterator<Item = &str> {
    let starts = ["crate::", "super::", "self::"]
        .into_iter()
        .flat_map(|start| code.match_indices(start));
    starts.filter_map(|(at, _)| {
        let before = &code[..at];
        let is_whole = !before.ends_with(|c| is_name(c) || c == ':');
        let is_visibility = before.ends_with("(in ");
        let path = code[at..].split(|c| !is_name(c) && c != ':').next()?;
        (is_whole && !is_visibility).then(|| path.trim_end_matches(':'))
    })
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The paths of a `use` tree: `{}` written out.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        if !tree.is_empty() {
            paths.push(format!("{prefix}{tree}"));
        }
        return;
    };
    // The group is the last thing of a path: its brace ends it.
    let inner = tree[open + 1..].trim_end();
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let prefix = format!("{prefix}{}", tree[..open].trim());
    let (mut depth, mut from) = (0_usize, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                expand(&prefix, &inner[from..at], paths);
                from = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inner[from..], paths);
}

fn reach(edges: &BTreeMap<usize, BTreeSet<usize>>, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for &next in edges.get(&file).into_iter().flatten() {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
