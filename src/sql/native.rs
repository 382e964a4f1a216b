//! [`Sql`] on rusqlite, for tests.

use std::cell::Cell;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value as SqliteValue};
use sha2::{Digest, Sha256};

use super::{Row, Sql, SqlError, Value};

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(match self {
            Self::Null => SqliteValue::Null,
            Self::Integer(value) => SqliteValue::Integer(*value),
            Self::Text(value) => SqliteValue::Text(value.clone()),
        }))
    }
}

impl Sql for &Connection {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let run = || {
            let mut statement = self.prepare_cached(statement)?;
            let columns = statement.column_count();
            let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| {
                    row.get(column).map(|value| match value {
                        SqliteValue::Integer(value) => Value::Integer(value),
                        SqliteValue::Text(value) => Value::Text(value),
                        _ => Value::Null,
                    })
                });
                found.push(Row::new(values.collect::<Result<_, _>>()?));
            }
            Ok(found)
        };
        run().map_err(|error: rusqlite::Error| SqlError(error.to_string()))
    }

    fn atomically<T, E: From<SqlError>>(
        &self,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let execute = |statement: &str| {
            self.execute_batch(statement)
                .map_err(|error| SqlError(error.to_string()))
        };
        execute("SAVEPOINT turn")?;
        let result = action();
        if result.is_err() {
            execute("ROLLBACK TO turn")?;
        }
        execute("RELEASE turn")?;
        result
    }
}

/// A database that fails at one statement, and works before and after it.
pub(crate) struct Failing<'d> {
    pub(crate) database: &'d Connection,
    /// How many statements work before the one that fails.
    pub(crate) statements_left: &'d Cell<u32>,
}

impl Sql for Failing<'_> {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let left = self.statements_left.get();
        self.statements_left.set(left.wrapping_sub(1));
        if left == 0 {
            return Err(SqlError("cut off".to_owned()));
        }
        self.database.run(statement, parameters)
    }

    fn atomically<T, E: From<SqlError>>(
        &self,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.database.atomically(action)
    }
}

/// An empty database in memory.
pub(crate) fn database() -> Connection {
    Connection::open_in_memory().expect("a database")
}

/// A number that changes when the schema does.
pub(crate) fn schema_digest(database: &Connection) -> u64 {
    let schema: Vec<String> = database
        .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("the schema");
    let digest: [u8; 32] = Sha256::digest(schema.join(";")).into();
    u64::from_be_bytes(digest[..8].try_into().expect("8 bytes"))
}

/// The bytes that a database takes.
pub(crate) fn size(database: &Connection) -> i64 {
    let pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    database
        .query_row(pages, [], |row| row.get(0))
        .expect("a size")
}
