//! Statements to the database of an object.

use worker::{SqlStorage, SqlStorageValue};

use crate::platform::PlatformError;

/// The database of an object.
#[derive(Debug)]
pub(super) struct Sql(pub(super) SqlStorage);

/// The values of a row, in the order in which the statement names them. After damage a value may
/// have another type than the stored one.
pub(super) type Row = Vec<SqlStorageValue>;

impl Sql {
    /// Runs a statement that changes something.
    pub(super) fn write(&self, statement: &str, values: Row) -> Result<(), PlatformError> {
        let done = self.0.exec(statement, values).map(|_| ());
        done.map_err(|fault| PlatformError::new("the storage cannot be written", fault))
    }

    /// Runs a statement that reads rows.
    pub(super) fn read(&self, statement: &str, values: Row) -> Result<Vec<Row>, PlatformError> {
        let cursor = self.0.exec(statement, values);
        let rows = cursor.and_then(|cursor| cursor.raw().collect());
        rows.map_err(|fault| PlatformError::new("the storage cannot be read", fault))
    }

    /// Runs a statement that reads one column.
    pub(super) fn read_column(&self, statement: &str, values: Row) -> Result<Row, PlatformError> {
        let rows = self.read(statement, values)?;
        Ok(rows.into_iter().flatten().collect())
    }
}

/// A number as a value.
pub(super) fn number(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

/// Returns the text of a value; `None` when it is not a text.
pub(super) fn text(value: SqlStorageValue) -> Option<String> {
    if let SqlStorageValue::String(text) = value {
        Some(text)
    } else {
        None
    }
}

/// Returns the integer of a value; `None` when it is not an integer.
pub(super) fn integer(value: &SqlStorageValue) -> Option<u64> {
    if let SqlStorageValue::Integer(number) = value {
        u64::try_from(*number).ok()
    } else {
        None
    }
}
