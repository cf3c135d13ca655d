//! The file of `--config`.

pub(super) mod check;
pub(super) mod command;
mod explain;
mod template;

use std::{fs, io, path::PathBuf, thread, time::Duration};

use roomcast::{Access, Reload};
use roomcast_http::{ConfigFile, FileSetting};
use tokio::{sync::oneshot, time::timeout};

use self::check::FileError;

/// Path of the file of `--config`, which is read at the start, and again on SIGHUP.
#[derive(Debug, Clone)]
pub(super) struct ConfigPath {
    path: PathBuf,
    /// Names of the settings that it may have.
    names: Vec<&'static str>,
}

/// Contents of the file.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    /// The part that can change while the server runs.
    pub(super) reload: Reload,
    /// The settings, which are read at the start alone.
    pub(super) settings: Vec<FileSetting>,
}

/// The timeout for a reload of the file: a file system on a network may be unreachable.
const TIME: Duration = Duration::from_secs(5);

impl ConfigPath {
    pub(super) const fn new(path: PathBuf, names: Vec<&'static str>) -> Self {
        Self { path, names }
    }

    /// The path as people read it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads the file; its keys and origins are added to those of the flags.
    ///
    /// # Errors
    ///
    /// A text of one line: the file, the line in it, the key and what to change.
    pub(super) fn read(&self, flags: &Access) -> Result<Contents, String> {
        self.parse(&self.text()?, flags)
    }

    fn text(&self) -> Result<String, String> {
        fs::read_to_string(&self.path).map_err(|fault| self.unreadable(&fault))
    }

    /// Reads the file again, on another thread and within a time limit; `None` when it is not a
    /// regular file, because a pipe can be read only once. `in_force` are the settings that the
    /// file would replace: if they have tables, an empty file is refused, since it is probably
    /// still being written.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) async fn read_again(
        &self,
        flags: &Access,
        in_force: &Reload,
    ) -> Result<Option<Contents>, String> {
        let (config, flags) = (self.clone(), flags.clone());
        let has_tables =
            !in_force.policies.is_empty() || !in_force.hooks.is_empty() || in_force.ask.is_some();
        let (done, read) = oneshot::channel();
        let read_again = move || {
            let _ = done.send(config.reread(&flags, has_tables)); // nobody waits any more
        };
        let thread = thread::Builder::new().name("roomcast-config".into());
        thread
            .spawn(read_again)
            .map_err(|fault| self.unreadable(&fault))?;
        match timeout(TIME, read).await {
            Ok(Ok(read)) => read,
            _ => Err(self.unreadable(&io::ErrorKind::TimedOut.into())),
        }
    }

    fn reread(&self, flags: &Access, has_tables: bool) -> Result<Option<Contents>, String> {
        let file = fs::metadata(&self.path).map_err(|fault| self.unreadable(&fault))?;
        if !file.is_file() {
            return Ok(None);
        }
        let text = self.text()?;
        if has_tables && text.trim().is_empty() {
            let file = self.name();
            return Err(format!(
                "the file {file} is empty, and there are policies or backends: write a comment into \
                 it to have none"
            ));
        }
        self.parse(&text, flags).map(Some)
    }

    fn unreadable(&self, fault: &io::Error) -> String {
        format!("the file {} cannot be read: {fault}", self.name())
    }

    fn parse(&self, text: &str, flags: &Access) -> Result<Contents, String> {
        let contents = self.contents(text, flags);
        contents.map_err(|error| error.of(&self.name()).to_string())
    }

    fn contents(&self, text: &str, flags: &Access) -> Result<Contents, FileError> {
        let read = ConfigFile::with_settings(text, &self.names);
        let (read, settings) = read.map_err(|fault| FileError {
            line: fault.line(),
            text: with_nearest(fault.fault().replace('\n', " "), &self.names),
        })?;
        let mut reload = Reload::default();
        reload.policies = read.policies;
        reload.api_keys = [flags.api_keys.as_slice(), &read.api_keys].concat();
        reload.allow_origins = [flags.allow_origins.as_slice(), &read.allow_origins].concat();
        (reload.hooks, reload.ask) = (read.hooks, read.ask);
        Ok(Contents { reload, settings })
    }
}

/// The smallest likeness of a suggestion: below it, any two words may be alike by chance.
const LIKENESS_MIN: f64 = 0.7;

/// The most similar of the words, if one is similar enough.
fn nearest(word: &str, words: impl Iterator<Item = String>) -> Option<String> {
    let likely = words.map(|other| {
        let likeness = strsim::normalized_damerau_levenshtein(word, &other);
        (likeness, other)
    });
    let likely = likely.filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    let nearest = likely.max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map(|(_, other)| other)
}

/// Adds a suggestion to the error about an unknown word. For a top-level key it replaces the list
/// of all known keys.
fn with_nearest(fault: String, names: &[&str]) -> String {
    let unknown = || {
        let kinds = ["unknown field `", "unknown variant `"];
        let mut rest = kinds.iter().filter_map(|kind| fault.split_once(kind));
        rest.next()?.1.split_once('`')
    };
    let Some((word, others)) = unknown() else {
        return fault;
    };
    if !others.contains("`api_keys`") {
        let known = others.split('`').skip(1).step_by(2).map(str::to_owned);
        return match nearest(word, known) {
            Some(name) => format!("{fault}: `{name}` may be meant"),
            None => fault,
        };
    }
    let tables = [
        "api_keys",
        "allow_origins",
        "rooms",
        "grants",
        "hooks",
        "ask",
    ]
    .map(str::to_owned);
    let settings = names.iter().map(|name| name.replace('-', "_"));
    match nearest(word, settings.chain(tables)) {
        Some(name) => format!("`{word}` is no setting: `{name}` may be meant"),
        None => format!("`{word}` is no setting: `roomcast config default` prints all of them"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &Path) -> Result<Reload, String> {
        let read =
            ConfigPath::new(path.into(), vec!["heartbeat-ms", "threads"]).read(&Access::default());
        read.map(|contents| contents.reload)
    }

    #[test]
    fn a_fault_in_a_file_of_policies_is_one_line_with_the_place_and_the_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rooms.toml");
        for (text, said) in [
            (
                "[[rooms]]\nmatch = \"a\"\nmtach = 1\n",
                ":3: unknown field `mtach`, expected one of `match`",
            ),
            (
                "\nheartbet_ms = 1\n",
                ":2: `heartbet_ms` is no setting: `heartbeat_ms` may be meant",
            ),
            (
                "zebra = 1\n",
                ":1: `zebra` is no setting: `roomcast config default`",
            ),
            ("threads = 1.5\n", ":1: `threads`: it must be a text"),
            ("[[rooms]]\nmatch = \"\"\n", ":2: "),
            ("[[rooms]]\nmatch = \"a\n", ":2: "),
            (
                "[[rooms]]\nmatch = \"*\"\n[[rooms]]\nmatch = \"a\"\n",
                ":3: `match = \"a\"` is never reached",
            ),
        ] {
            fs::write(&path, text).expect("written");
            let fault = read(&path).expect_err(text);
            let place = format!("{}{said}", path.display());
            assert!(fault.starts_with(&place), "{fault}");
            assert_eq!(fault.lines().count(), 1, "{fault}");
        }
        fs::write(&path, "[[rooms]]\nmatch = \"a\"\n").expect("written");
        assert_eq!(read(&path).map(|read| read.policies.iter().count()), Ok(1));
        let missing = read(&folder.path().join("missing")).expect_err("no file");
        assert!(missing.contains("missing cannot be read"), "{missing}");
    }

    #[test]
    fn unknown_words_in_tables_name_what_is_like_them() {
        let meant = |text: &str| {
            let path = ConfigPath::new("f".into(), vec!["threads"]);
            let fault = path.parse(text, &Access::default()).expect_err(text);
            let meant = fault.strip_suffix("` may be meant");
            meant.and_then(|fault| Some(fault.rsplit_once('`')?.1.to_owned()))
        };
        for (text, name) in [
            ("[[rooms]]\nmatch = \"a\"\nmtach = 1\n", "match"),
            (
                "[[grants]]\nfor = \"users\"\nrooms = \"x\"\ncan = [\"publsh\"]\n",
                "publish",
            ),
        ] {
            assert_eq!(meant(text).as_deref(), Some(name), "{text}");
        }
        let unlike = "[[rooms]]\nmatch = \"a\"\nzebra = 1\n";
        assert_eq!(meant(unlike), None, "nothing is like it");
    }

    #[test]
    fn keys_and_origins_of_the_file_come_to_those_of_the_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roomcast.toml");
        fs::write(
            &path,
            "api_keys = [\"b\"]\nallow_origins = [\"https://b.com\"]\n",
        )
        .expect("written");
        let mut flags = Access::default();
        flags.api_keys = vec!["a".parse().expect("a key")];
        flags.allow_origins = vec!["https://a.com".parse().expect("an origin")];
        let read = ConfigPath::new(path, vec![])
            .read(&flags)
            .expect("a good file");
        let read = read.reload;
        let keys = ["a", "b"].map(|key| key.parse().expect("a key"));
        assert_eq!(read.api_keys, keys);
        let origins: Vec<_> = read.allow_origins.iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["https://a.com", "https://b.com"]);
    }
}
