//! A file of settings in TOML: room policies, and who may connect and use the API.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use toml::Spanned;

use roomcast_core::{Policies, RoomPolicy};

use super::{
    ApiKey, OriginRule,
    policy_file::{PolicyFileError, from_spanned, parse},
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
    api_keys: Option<Spanned<List>>,
    allow_origins: Option<Spanned<List>>,
    #[serde(default)]
    rooms: Vec<Spanned<RoomPolicy>>,
}

/// Texts with their places in the file; or something else, of which no error may say what it is: it
/// may be a secret.
struct List(Option<Vec<Spanned<Text>>>);

struct Text(Option<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Anything)
            .map(|(texts, _)| Self(texts))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Anything)
            .map(|(_, text)| Self(text))
    }
}

/// Takes any value, and keeps a list or a text.
struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = (Option<Vec<Spanned<Text>>>, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHAPE)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((None, Some(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok((None, None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element()? {
            texts.push(text);
        }
        Ok((Some(texts), None))
    }
}

const SHAPE: &str = "it must be a list of texts, in quotes and brackets, separated by commas";

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
fn texts<T>(file: &str, key: &str, list: Option<Spanned<List>>) -> Result<Vec<T>, PolicyFileError>
where
    T: FromStr<Err: fmt::Display>,
{
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let at = list.span().start;
    let fault = |at, fault: &dyn fmt::Display| {
        PolicyFileError::new(file, Some(at), format!("`{key}`: {fault}"))
    };
    let List(Some(texts)) = list.into_inner() else {
        return Err(fault(at, &SHAPE));
    };
    let mut read = Vec::with_capacity(texts.len());
    for text in texts {
        let at = text.span().start;
        let Text(Some(text)) = text.into_inner() else {
            return Err(fault(at, &SHAPE));
        };
        read.push(
            text.parse()
                .map_err(|cause: T::Err| fault(at, &cause.to_string()))?,
        );
    }
    Ok(read)
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
        for (text, line, says) in [
            (
                "api_keys = \"s3cret\"\n",
                1,
                "`api_keys`: it must be a list",
            ),
            (
                "\napi_keys = [\n\"good\",\n\"s3cret key\"]\n",
                4,
                "`api_keys`: an API key has",
            ),
            (
                "api_keys = [\"good\",\n\"s3cret,s3cret2\"]\n",
                2,
                "`api_keys`: an API key has",
            ),
            (
                "api_keys = [\"good\", 1234567]\n",
                1,
                "`api_keys`: it must be a list",
            ),
            ("api_keys = 1234567\n", 1, "`api_keys`: it must be a list"),
            (
                "api_keys = { s3cret = 1 }\n",
                1,
                "`api_keys`: it must be a list",
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
            (
                "api_keys = 1979-05-27\n",
                1,
                "`api_keys`: it must be a list",
            ),
            (
                "allow_origins = [\"example.com\"]\n",
                1,
                "`allow_origins`: an origin is a scheme",
            ),
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
