//! The tables of sessions, documents and members, and their queries.

use std::str::FromStr;

use serde::Serialize;
use sqlx::{FromRow, Pool};

#[cfg(feature = "postgres")]
type Engine = sqlx::Postgres;
#[cfg(not(feature = "postgres"))]
type Engine = sqlx::Sqlite;

/// The database.
pub type Database = Pool<Engine>;

/// The schema, in SQL that both engines understand.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, username TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS document (
        id BIGINT PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL, version BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS member (
        document BIGINT NOT NULL, username TEXT NOT NULL, PRIMARY KEY (document, username));
";

/// A document as sent to clients.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Document {
    pub title: String,
    pub text: String,
    pub version: i64,
}

/// Opens the database, and creates missing tables.
pub async fn connect(url: &str) -> Result<Database, sqlx::Error> {
    let options = <Engine as sqlx::Database>::Connection::options(url)?;
    let database = Pool::connect_with(options).await?;
    sqlx::raw_sql(SCHEMA).execute(&database).await?;
    Ok(database)
}

/// The options of a connection to this engine.
trait Options {
    type Of;
    fn options(url: &str) -> Result<Self::Of, sqlx::Error>;
}

impl<C: sqlx::Connection> Options for C {
    type Of = C::Options;
    fn options(url: &str) -> Result<C::Options, sqlx::Error> {
        C::Options::from_str(url)
    }
}

pub async fn begin_session(db: &Database, id: &str, user: &str) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO session (id, username) VALUES ($1, $2)");
    insert.bind(id).bind(user).execute(db).await?;
    Ok(())
}

pub async fn end_session(db: &Database, id: &str) -> Result<(), sqlx::Error> {
    let delete = sqlx::query("DELETE FROM session WHERE id = $1");
    delete.bind(id).execute(db).await?;
    Ok(())
}

/// The user of a session.
pub async fn user_of(db: &Database, session: &str) -> Result<Option<String>, sqlx::Error> {
    let select = sqlx::query_scalar("SELECT username FROM session WHERE id = $1");
    select.bind(session).fetch_optional(db).await
}

pub async fn create(db: &Database, id: i64, title: &str) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO document (id, title, text, version) VALUES ($1, $2, '', 0)";
    sqlx::query(insert).bind(id).bind(title).execute(db).await?;
    Ok(())
}

pub async fn add_member(db: &Database, document: i64, user: &str) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO member (document, username) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let insert = sqlx::query(insert).bind(document).bind(user);
    insert.execute(db).await?;
    Ok(())
}

pub async fn remove_member(db: &Database, document: i64, user: &str) -> Result<(), sqlx::Error> {
    let delete = sqlx::query("DELETE FROM member WHERE document = $1 AND username = $2");
    delete.bind(document).bind(user).execute(db).await?;
    Ok(())
}

/// True when a user may read and write a document.
pub async fn is_member(db: &Database, document: i64, user: &str) -> Result<bool, sqlx::Error> {
    let select = "SELECT COUNT(*) FROM member WHERE document = $1 AND username = $2";
    let select = sqlx::query_scalar::<_, i64>(select);
    let count = select.bind(document).bind(user).fetch_one(db).await?;
    Ok(count > 0)
}

/// True when a session belongs to a user, who may read and write a document.
pub async fn may_open(
    db: &Database,
    session: &str,
    document: i64,
    user: &str,
) -> Result<bool, sqlx::Error> {
    let select = "SELECT COUNT(*) FROM member JOIN session USING (username) \
                  WHERE id = $1 AND document = $2 AND username = $3";
    let select = sqlx::query_scalar::<_, i64>(select);
    let select = select.bind(session).bind(document).bind(user);
    let count = select.fetch_one(db).await?;
    Ok(count > 0)
}

pub async fn read(db: &Database, document: i64) -> Result<Document, sqlx::Error> {
    let select = sqlx::query_as("SELECT title, text, version FROM document WHERE id = $1");
    select.bind(document).fetch_one(db).await
}

/// Saves a text, and returns the updated document.
pub async fn save(db: &Database, document: i64, text: &str) -> Result<Document, sqlx::Error> {
    let update = "UPDATE document SET text = $1, version = version + 1 WHERE id = $2 \
                  RETURNING title, text, version";
    let update = sqlx::query_as(update).bind(text).bind(document);
    update.fetch_one(db).await
}
