//! Circles of imports between the files of a crate, found by their `use` lines.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Fault, Tree};

/// The files that import each other in a circle: one fault for each file that is in one.
pub(crate) fn circles(tree: &Tree) -> Vec<Fault> {
    let mut crates: BTreeMap<&str, BTreeMap<Vec<&str>, usize>> = BTreeMap::new();
    for (index, source) in tree.sources.iter().enumerate() {
        if let Some((krate, module)) = source.path.split_once("/src/") {
            crates
                .entry(krate)
                .or_default()
                .insert(module_path(module), index);
        }
    }
    let mut faults = Vec::new();
    for modules in crates.values() {
        let edges: BTreeMap<usize, BTreeSet<usize>> = modules
            .iter()
            .map(|(path, &index)| {
                let text = &tree.sources[index].text;
                let targets = imports(text)
                    .into_iter()
                    .filter_map(|import| resolve(path, &import, modules))
                    // A folder's own file declares what is in it.
                    .filter(|&target| target != index)
                    .collect();
                (index, targets)
            })
            .collect();
        for &file in edges.keys() {
            let reached = reach(&edges, file);
            if reached.contains(&file) {
                let ring = reached
                    .iter()
                    .filter(|&&other| reach(&edges, other).contains(&file));
                let names: Vec<_> = ring.map(|&other| &*tree.sources[other].path).collect();
                let fix = format!("imports in a circle with {}", names.join(", "));
                faults.push(tree.sources[file].fault(0, fix));
            }
        }
    }
    faults
}

fn module_path(file: &str) -> Vec<&str> {
    let path = file.trim_end_matches(".rs");
    let mut names: Vec<_> = path.split('/').collect();
    if matches!(names.last(), Some(&("mod" | "lib" | "main"))) {
        names.pop();
    }
    names
}

/// The paths that the `use` lines of a file name, outside of its tests: `{}` written out.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut paths = Vec::new();
    let mut rest = &*code;
    while let Some(start) = rest.find("use ") {
        let statement = &rest[start + 4..];
        let Some(end) = statement.find(';') else {
            break;
        };
        expand("", &statement[..end], &mut paths);
        rest = &statement[end..];
    }
    paths
}

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

/// The file of the crate that an import leads to; `None` for another crate's.
fn resolve(from: &[&str], import: &str, modules: &BTreeMap<Vec<&str>, usize>) -> Option<usize> {
    let mut names = import.split("::").map(str::trim).peekable();
    let mut path: Vec<&str> = match *names.peek()? {
        "crate" => {
            names.next();
            Vec::new()
        }
        "self" => {
            names.next();
            from.to_vec()
        }
        "super" => {
            let mut path = from.to_vec();
            while names.next_if_eq(&"super").is_some() {
                path.pop();
            }
            path
        }
        _ => return None,
    };
    // The longest part of the path that is a module; of the crate's root nothing is said.
    for name in names {
        let mut deeper = path.clone();
        deeper.push(name.split_whitespace().next().unwrap_or_default());
        if !modules.keys().any(|module| module.starts_with(&deeper)) {
            break;
        }
        path = deeper;
    }
    let is_parent = from.starts_with(&path);
    (!path.is_empty() && !is_parent)
        .then(|| modules.get(&path).copied())
        .flatten()
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
