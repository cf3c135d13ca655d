//! A file of settings in TOML: room policies, and who may connect and use the API.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use roomcast_core::{Policies, RoomPolicy};

use super::{
    ApiKey, OriginRule,
    policy_file::{LIST, PolicyFileError, from_spanned, parse},
};

/// Contents of a file of settings: room policies, keys of the API, and origins that may connect.
///
/// ```
/// use roomcast_http::ConfigFile;
///
/// let file = ConfigFile::from_toml(r#"
/// api_keys = ["a-key", "its-successor"]
/// allow_origins = ["https://*.example.com"]
///
/// [[rooms]]
/// match = "chat:*"
/// "#)?;
/// assert_eq!((file.api_keys.len(), file.allow_origins.len()), (2, 1));
/// assert!(file.policies.of("chat:lobby").is_some());
/// # Ok::<(), roomcast_http::PolicyFileError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFile {
    /// Room policies.
    pub policies: Policies,
    /// Keys of the API, `api_keys`; default none.
    pub api_keys: Vec<ApiKey>,
    /// Browser origins that may connect, `allow_origins`; default none.
    pub allow_origins: Vec<OriginRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    api_keys: Vec<Spanned<Text>>,
    #[serde(default)]
    allow_origins: Vec<Spanned<Text>>,
    #[serde(default)]
    rooms: Vec<Spanned<RoomPolicy>>,
}

/// A text; or something else, of which no error may say what it is: it may be a secret.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Other(IgnoredAny),
}

impl ConfigFile {
    /// Reads a file in TOML.
    ///
    /// # Errors
    ///
    /// The first line that must change. It says nothing of the values in `api_keys`.
    pub fn from_toml(text: &str) -> Result<Self, PolicyFileError> {
        let wire: Wire = parse(text)?;
        Ok(Self {
            api_keys: texts(text, "api_keys", wire.api_keys)?,
            allow_origins: texts(text, "allow_origins", wire.allow_origins)?,
            policies: from_spanned(text, wire.rooms)?,
        })
    }
}

/// Reads each text of a list.
fn texts<T>(file: &str, key: &str, texts: Vec<Spanned<Text>>) -> Result<Vec<T>, PolicyFileError>
where
    T: FromStr<Err: fmt::Display>,
{
    let read = texts.into_iter().map(|text| {
        let at = text.span().start;
        let read = match text.into_inner() {
            Text::Text(text) => text.parse().map_err(|cause: T::Err| cause.to_string()),
            Text::Other(_) => Err(LIST.to_owned()),
        };
        read.map_err(|fault| PolicyFileError::new(file, Some(at), format!("`{key}`: {fault}")))
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(ConfigFile::from_toml(""), Ok(ConfigFile::default()));
    }

    #[test]
    fn a_fault_has_its_line_and_no_secret() {
        const NO_LIST: &str = "`api_keys`: it must be a list";
        const NO_KEY: &str = "`api_keys`: an API key has";
        const NO_ORIGIN: &str = "`allow_origins`: an origin is a scheme";
        for (text, line, says) in [
            ("api_keys = \"s3cret\"\n", 1, NO_LIST),
            ("\napi_keys = [\n\"good\",\n\"s3cret key\"]\n", 4, NO_KEY),
            ("api_keys = [\"good\",\n\"s3cret,s3cret2\"]\n", 2, NO_KEY),
            ("api_keys = [\"good\", 1234567]\n", 1, NO_LIST),
            ("api_keys = [\n\"good\",\n1234567]\n", 3, NO_LIST),
            ("api_keys = [\n\"good\",\n[\"s3cret\"]]\n", 3, NO_LIST),
            ("api_keys = [\n{ s3cret = \"s3cret\" }]\n", 2, NO_LIST),
            ("api_keys = [\n1979-05-27]\n", 2, NO_LIST),
            ("api_keys = 1234567\n", 1, NO_LIST),
            ("api_keys = { s3cret = 1 }\n", 1, NO_LIST),
            ("[api_keys]\ns3cret = 1\n", 1, NO_LIST),
            ("[[api_keys]]\ns3cret = 1\n", 1, NO_LIST),
            ("api_keys.s3cret = 1\n", 1, NO_LIST),
            (
                "allow_origins = \"s3cret\"\n",
                1,
                "`allow_origins`: it must be",
            ),
            ("api_keys = [\"s3cret\n", 1, ""),
            (
                "api_keys = s3cret\n",
                1,
                "`api_keys`: a text stands in quotes",
            ),
            ("api_keys = [\n\"good\",\ns3cret==\n]\n", 3, ""),
            (
                "api_keys = { s3cret = 1, s3cret = 2 }\n",
                1,
                "is there twice",
            ),
            ("api_keys = 1979-05-27\n", 1, NO_LIST),
            ("allow_origins = [\"example.com\"]\n", 1, NO_ORIGIN),
            ("api_key = [\"s3cret\"]\n", 1, "unknown field `api_key`"),
            (
                "api_keys = [\"s3cret\"]\n[[rooms]]\nmatch = \"\"\n",
                3,
                "1 to 256 bytes",
            ),
            (
                "api_keys = [\"s3cret\"]\napi_keys = []\n",
                2,
                "`api_keys` is there twice",
            ),
        ] {
            let fault = ConfigFile::from_toml(text).expect_err(text);
            assert_eq!(fault.line(), Some(line), "{text}: {fault}");
            let told = fault.to_string();
            assert!(told.contains(says), "{text}: {told}");
            assert!(
                !told.contains("s3cret") && !told.contains("1234567"),
                "{told}"
            );
        }
    }
}
