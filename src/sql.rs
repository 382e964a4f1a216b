//! The little of SQL that the objects need, so that the same statements run in a Durable Object's SQLite
//! and, in tests, on rusqlite.

use chrono::{DateTime, Utc};
use serde::Serialize;
use thiserror::Error;

/// A value in a row or a parameter. Integers stay under 2^53: in a Durable Object they pass through a JavaScript number.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the types of SQLite")]
pub enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// The database failed, or a row is not what the schema promises. For the log, never for a client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("SQL: {0}")]
pub struct SqlError(pub String);

/// A SQLite database with one writer.
pub trait Sql {
    /// Runs one statement to its end and gives its rows. The effects of all statements between two awaits become
    /// durable together.
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, SqlError>;

    /// Runs statements of which either all have an effect, or none: where `action` fails, what it did is undone.
    fn atomically<T, E: From<SqlError>>(
        &self,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>;
}

/// A row, read from left to right.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

impl Row {
    /// A row with these values.
    pub fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next value, an integer.
    pub fn integer(&mut self) -> Result<i64, SqlError> {
        match self.0.next() {
            Some(Value::Integer(value)) => Ok(value),
            other => Err(SqlError(format!("expected an integer, found {other:?}"))),
        }
    }

    /// The next value, a text or null.
    pub fn optional_text(&mut self) -> Result<Option<String>, SqlError> {
        match self.0.next() {
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            other => Err(SqlError(format!("expected a text, found {other:?}"))),
        }
    }

    /// The next value, an integer or null.
    pub fn optional_integer(&mut self) -> Result<Option<i64>, SqlError> {
        match self.0.next() {
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(Value::Null) => Ok(None),
            other => Err(SqlError(format!("expected an integer, found {other:?}"))),
        }
    }
}

impl Row {
    /// The next value, a number that is at most 32 bits wide, of a type that may be narrower.
    pub fn narrow<T: TryFrom<u32>>(&mut self) -> Result<T, SqlError> {
        narrow(self.integer()?)
    }

    /// The next value, a time in Unix milliseconds.
    pub fn time(&mut self) -> Result<DateTime<Utc>, SqlError> {
        time(self.integer()?)
    }
}

/// A number that is at most 32 bits wide.
pub fn narrow<T: TryFrom<u32>>(value: i64) -> Result<T, SqlError> {
    u32::try_from(value)
        .ok()
        .and_then(|value| value.try_into().ok())
        .ok_or_else(|| SqlError(format!("unexpected integer {value}")))
}

/// A time in Unix milliseconds.
pub fn time(milliseconds: i64) -> Result<DateTime<Utc>, SqlError> {
    DateTime::from_timestamp_millis(milliseconds)
        .ok_or_else(|| SqlError(format!("unexpected time {milliseconds}")))
}

/// The statements of numbered migrations; the number of one is its place, from 1. One that was once released never
/// changes: a new one follows it.
pub type Migrations = &'static [&'static [&'static str]];

/// Runs the migrations that this database has not seen. `PRAGMA user_version` is closed in a Durable Object, so a table
/// says which they are.
pub fn migrate(sql: &impl Sql, migrations: Migrations) -> Result<(), SqlError> {
    sql.run(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT",
        vec![],
    )?;
    let seen = sql
        .run("SELECT COUNT(*) FROM migrations", vec![])?
        .into_iter()
        .next()
        .map_or(Ok(0), |mut row| row.integer())?;
    for (statements, number) in migrations.iter().zip(1..) {
        if number > seen {
            for statement in *statements {
                sql.run(statement, vec![])?;
            }
            sql.run(
                "INSERT INTO migrations (number) VALUES (?)",
                vec![Value::Integer(number)],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod native;
