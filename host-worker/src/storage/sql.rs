//! Statements to the database of an object.

use serde::de::DeserializeOwned;
use worker::{SqlStorage, SqlStorageValue};

use crate::platform::Fault;

/// The database of an object.
#[derive(Debug)]
pub(super) struct Sql(pub(super) SqlStorage);

impl Sql {
    /// Runs a statement that changes something.
    pub(super) fn write(&self, statement: &str, values: Vec<SqlStorageValue>) -> Result<(), Fault> {
        let done = self.0.exec(statement, values);
        done.map(|_| ())
            .map_err(|fault| Fault::new("the storage cannot be written", fault))
    }

    /// Runs a statement that reads rows.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        statement: &str,
        values: Vec<SqlStorageValue>,
    ) -> Result<Vec<T>, Fault> {
        let rows = self.0.exec(statement, values);
        rows.and_then(|rows| rows.to_array())
            .map_err(|fault| Fault::new("the storage cannot be read", fault))
    }
}

pub(super) fn number(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
