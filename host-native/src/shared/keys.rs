//! Keys of backends, from the sources that the settings name.

use std::{
    fs::{self, File},
    io::{self, Read},
};

use roomcast_hooks::{Key, KeySource, Keys};

/// The number of bytes that are read of a key file: many times a key, but so few that a wrong file
/// costs nothing.
const FILE_BYTES_MAX: u64 = 4096;

/// Reads keys.
///
/// # Errors
///
/// A text that names the key and the remedy, without any part of the key itself.
pub(crate) fn read(sources: &[KeySource]) -> Result<Keys, String> {
    let keys: Result<Vec<Key>, String> = sources.iter().map(read_one).collect();
    Keys::new(keys?).map_err(|fault| fault.to_string())
}

fn read_one(source: &KeySource) -> Result<Key, String> {
    let (place, text) = match source {
        KeySource::Text(text) => ("keys".to_owned(), text.to_string()),
        KeySource::Env(name) => {
            let text = std::env::var(&**name);
            let text = text.map_err(|_| format!("the variable {name} of `keys` is not set"))?;
            (format!("the variable {name} of `keys`"), text)
        }
        KeySource::File(path) => {
            let text = read_file(path)
                .map_err(|fault| format!("the file {path} of `keys` cannot be read: {fault}"))?;
            (format!("the file {path} of `keys`"), text)
        }
        _ => return Err("a key of `keys` is in no known place".to_owned()),
    };
    let first = text.lines().next().unwrap_or_default().trim();
    first.parse().map_err(|fault| format!("{place}: {fault}"))
}

/// Reads the beginning of a file.
fn read_file(path: &str) -> io::Result<String> {
    // A pipe would block its reader, and can be read only once.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_file_and_a_fault_says_nothing_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let source = format!("file:{}", path.display());
        let source: KeySource = source.parse().expect("a source");
        let fault = read(std::slice::from_ref(&source)).expect_err("no file");
        assert!(fault.contains("cannot be read"), "{fault}");
        fs::write(&path, "secret\n").expect("written");
        let fault = read(std::slice::from_ref(&source)).expect_err("no key");
        assert!(
            fault.contains("whsec_") && !fault.contains("secret"),
            "{fault}"
        );
        fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
        assert!(read(std::slice::from_ref(&source)).is_ok());
        // The file may be larger than the memory.
        let file = fs::OpenOptions::new().append(true).open(&path);
        file.and_then(|file| file.set_len(1 << 40)).expect("sparse");
        assert!(read(&[source]).is_ok());
        let folder = format!("file:{}", folder.path().display());
        let fault = read(&[folder.parse().expect("a source")]).expect_err("a folder");
        assert!(fault.contains("no regular file"), "{fault}");
        let unset = "env:ROOMCAST_TEST_KEY_THAT_IS_NOT_SET"
            .parse()
            .expect("a source");
        let fault = read(&[unset]).expect_err("not set");
        assert!(fault.contains("is not set"), "{fault}");
    }
}
