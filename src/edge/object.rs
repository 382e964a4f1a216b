//! What the Durable Objects have in common: messages in JSON, and a SQLite database.

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{Request, Response, Result, SqlStorage, SqlStorageValue, State};

use super::log;
use crate::json;
use crate::sql::{Row, Sql, SqlError, Value};

/// Reads a message, and answers with what `handle` makes of it. `handle` awaits nothing, so messages are handled one
/// after the other, and the runtime holds the answer back until what was written is durable.
pub(super) async fn answer<M: DeserializeOwned>(
    mut request: Request,
    handle: impl FnOnce(M) -> std::result::Result<String, SqlError>,
) -> Result<Response> {
    let message = json::read(&request.text().await?).map_err(|error| error.to_string());
    match message.and_then(|message| handle(message).map_err(|error| error.to_string())) {
        Ok(json) => Response::ok(json),
        Err(cause) => {
            log::error("object_failed", &cause);
            Response::error("", 500)
        }
    }
}

/// The answer to a message, from its result.
pub(super) fn reply<T: Serialize>(
    result: std::result::Result<T, SqlError>,
) -> std::result::Result<String, SqlError> {
    result.map(|reply| json::write(&reply))
}

/// An object's SQLite database.
pub(super) struct ObjectSql(SqlStorage);

impl ObjectSql {
    pub(super) fn of(state: &State) -> Self {
        Self(state.storage().sql())
    }
}

impl Sql for ObjectSql {
    fn run(
        &self,
        statement: &str,
        parameters: Vec<Value>,
    ) -> std::result::Result<Vec<Row>, SqlError> {
        let run = || -> Result<Vec<Row>> {
            let parameters = parameters
                .into_iter()
                .map(to_storage)
                .collect::<Result<Vec<_>>>()?;
            let cursor = self.0.exec(statement, parameters)?;
            cursor
                .raw()
                .map(|row| Ok(Row::new(row?.into_iter().map(from_storage).collect())))
                .collect()
        };
        run().map_err(|error| SqlError(error.to_string()))
    }
}

fn to_storage(value: Value) -> Result<SqlStorageValue> {
    Ok(match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(value) => SqlStorageValue::try_from_i64(value)?,
        Value::Text(value) => SqlStorageValue::String(value),
    })
}

/// The schemas have integers and texts only; anything else reads as null, and the record says what is wrong with that.
fn from_storage(value: SqlStorageValue) -> Value {
    match value {
        SqlStorageValue::Integer(value) => Value::Integer(value),
        SqlStorageValue::String(value) => Value::Text(value),
        SqlStorageValue::Null
        | SqlStorageValue::Boolean(_)
        | SqlStorageValue::Float(_)
        | SqlStorageValue::Blob(_) => Value::Null,
    }
}
