//! Copy of the keys that an issuer publishes, for an isolate that starts while the issuer cannot be
//! reached.

use roomcast_core::Timestamp;
use worker::{SqlStorage, SqlStorageValue};

use super::sql::{Sql, integer, number, text};
use crate::platform::PlatformError;

/// The table, created when keys are kept for the first time.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS published_keys (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        url TEXT NOT NULL,
        fetched_ms INTEGER NOT NULL,
        body TEXT NOT NULL
    );";

/// The copy in the storage of an object.
#[derive(Debug)]
pub(crate) struct PublishedCopy(Sql);

impl PublishedCopy {
    pub(crate) fn new(sql: SqlStorage) -> Self {
        Self(Sql(sql))
    }

    /// The text of the keys from this URL, and when they were fetched; `None` when there is none.
    pub(crate) fn load(&self, url: &str) -> Result<Option<(String, Timestamp)>, PlatformError> {
        if !self.has("published_keys")? {
            return Ok(None);
        }
        const KEYS: &str = "SELECT body, fetched_ms FROM published_keys WHERE url = ?";
        let row = self.0.read(KEYS, vec![url.into()])?.pop();
        Ok(row.and_then(|row| {
            let [body, fetched_ms]: [SqlStorageValue; 2] = row.try_into().ok()?;
            Some((text(body)?, Timestamp::from_millis(integer(&fetched_ms)?)))
        }))
    }

    /// Keeps keys, if the namespace has other state in the storage: a request for a namespace that
    /// nobody was in leaves no trace.
    pub(crate) fn save(
        &self,
        url: &str,
        body: &str,
        fetched: Timestamp,
    ) -> Result<(), PlatformError> {
        if !self.has("namespace")? {
            return Ok(());
        }
        self.0.write(SCHEMA, vec![])?;
        const SAVE: &str = "INSERT OR REPLACE INTO published_keys (only, url, fetched_ms, body)
            VALUES (0, ?, ?, ?)";
        let values = vec![url.into(), number(fetched.as_millis()), body.into()];
        self.0.write(SAVE, values)
    }

    fn has(&self, table: &str) -> Result<bool, PlatformError> {
        const TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?";
        Ok(!self.0.read(TABLE, vec![table.into()])?.is_empty())
    }
}
