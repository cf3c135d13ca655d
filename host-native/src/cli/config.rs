//! The file of `--config`.

use std::path::PathBuf;

use roomcast::{Access, Reload};
use roomcast_http::ConfigFile;

/// Where the file of `--config` is. It is read at the start, and again on SIGHUP.
#[derive(Debug)]
pub(super) struct ConfigPath(PathBuf);

impl ConfigPath {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The path as people read it.
    pub(super) fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// Reads the file; its keys and origins are added to those of the flags.
    ///
    /// # Errors
    ///
    /// One line: the file, the line in it, the key and what to change.
    pub(super) fn read(&self, flags: &Access) -> Result<Reload, String> {
        let file = self.name();
        let text = std::fs::read_to_string(&self.0)
            .map_err(|fault| format!("the file {file} cannot be read: {fault}"))?;
        let read = ConfigFile::from_toml(&text).map_err(|fault| {
            let line = fault.line().map(|line| format!(":{line}"));
            let fault = fault.fault().replace('\n', " ");
            format!("{file}{}: {fault}", line.unwrap_or_default())
        })?;
        let mut reload = Reload::default();
        reload.policies = read.policies;
        reload.api_keys = [flags.api_keys.as_slice(), &read.api_keys].concat();
        reload.allow_origins = [flags.allow_origins.as_slice(), &read.allow_origins].concat();
        Ok(reload)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(path: &Path) -> Result<Reload, String> {
        ConfigPath::new(path.into()).read(&Access::default())
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
            ("[[rooms]]\nmatch = \"\"\n", ":2: "),
            ("[[rooms]]\nmatch = \"a\n", ":2: "),
            (
                "[[rooms]]\nmatch = \"*\"\n[[rooms]]\nmatch = \"a\"\n",
                ":3: `match = \"a\"` is never reached",
            ),
        ] {
            std::fs::write(&path, text).expect("written");
            let fault = read(&path).expect_err(text);
            let place = format!("{}{said}", path.display());
            assert!(fault.starts_with(&place), "{fault}");
            assert_eq!(fault.lines().count(), 1, "{fault}");
        }
        std::fs::write(&path, "[[rooms]]\nmatch = \"a\"\n").expect("written");
        assert_eq!(read(&path).map(|read| read.policies.iter().count()), Ok(1));
        let missing = read(&folder.path().join("missing")).expect_err("no file");
        assert!(missing.contains("missing cannot be read"), "{missing}");
    }

    #[test]
    fn keys_and_origins_of_the_file_come_to_those_of_the_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roomcast.toml");
        std::fs::write(
            &path,
            "api_keys = [\"b\"]\nallow_origins = [\"https://b.com\"]\n",
        )
        .expect("written");
        let mut flags = Access::default();
        flags.api_keys = vec!["a".parse().expect("a key")];
        flags.allow_origins = vec!["https://a.com".parse().expect("an origin")];
        let read = ConfigPath::new(path).read(&flags).expect("a good file");
        let keys = ["a", "b"].map(|key| key.parse().expect("a key"));
        assert_eq!(read.api_keys, keys);
        let origins: Vec<_> = read.allow_origins.iter().map(ToString::to_string).collect();
        assert_eq!(origins, ["https://a.com", "https://b.com"]);
    }
}
