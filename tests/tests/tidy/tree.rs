//! The files of the repository, as texts.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

/// Source files and documents, by their path from the root of the repository.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) sources: Vec<Source>,
    /// TypeScript, JavaScript, Python, and pages.
    pub(crate) scripts: Vec<Source>,
    pub(crate) documents: Vec<Source>,
    /// All files, of any kind.
    pub(crate) paths: BTreeSet<String>,
}

/// A text file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A line that breaks a rule.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The violation, and how to mend it.
    pub(crate) fix: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.fix)
    }
}

impl Source {
    /// A violation in one of its lines, counted from 0.
    pub(crate) fn violation(&self, line: usize, fix: impl Into<String>) -> Violation {
        Violation {
            file: self.path.clone(),
            line: line + 1,
            fix: fix.into(),
        }
    }
}

/// Endings of scripts. Other JavaScript is generated, but for that of the [shim](SHIM).
const SCRIPTS: [&str; 5] = [".ts", ".tsx", ".mjs", ".py", ".html"];
const SHIM: &str = "host-worker/shim/";

/// Folders that hold nothing of the project's own writing.
const FOREIGN: [&str; 10] = [
    "target",
    ".autobahn",
    "node_modules",
    ".git",
    ".venv",
    "__pycache__",
    "dist",
    "dist-gateways",
    "proptest-regressions",
    ".wrangler",
];

fn is_script(path: &str) -> bool {
    let is_shim = path.starts_with(SHIM) && path.ends_with(".js");
    is_shim || SCRIPTS.iter().any(|ending| path.ends_with(ending))
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Self {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut tree = Self::default();
        tree.walk(&root, "");
        assert!(
            tree.sources.len() > 100 && tree.scripts.len() > 50 && tree.documents.len() > 5,
            "this is not the repository"
        );
        tree
    }

    fn walk(&mut self, folder: &Path, prefix: &str) {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry"))
            .collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                if !FOREIGN.contains(&&*name) {
                    self.walk(&entry.path(), &format!("{path}/"));
                }
            } else if path.ends_with(".rs") || path.ends_with(".md") || is_script(&path) {
                let text = fs::read_to_string(entry.path()).expect("a text");
                self.add(&path, &text);
            } else {
                self.paths.insert(path);
            }
        }
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str, text: &str) {
        self.paths.insert(path.to_owned());
        let file = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        if path.ends_with(".rs") {
            self.sources.push(file);
        } else if is_script(path) {
            self.scripts.push(file);
        } else {
            self.documents.push(file);
        }
    }

    /// True when there is a file or a folder of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty()
            || self.paths.contains(path)
            || self
                .paths
                .range(folder.clone()..)
                .next()
                .is_some_and(|file| file.starts_with(&folder))
    }
}
