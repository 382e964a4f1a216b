//! What the Durable Objects have in common: messages in JSON, and a SQLite database.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::DurableObjectState;
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
    let message = json::read(&request.text().await?).map_err(|error| SqlError(error.to_string()));
    respond(message.and_then(handle))
}

/// The answer of an object, or a 500 with the cause in the log.
pub(super) fn respond(answer: std::result::Result<String, SqlError>) -> Result<Response> {
    match answer {
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

/// What the runtime gives an object; `object` is the same as JavaScript has it, which is more than `State` shows.
pub(super) fn state(object: &JsValue) -> State {
    State::from(object.clone().unchecked_into::<DurableObjectState>())
}

/// An object's SQLite database.
pub(super) struct ObjectSql {
    sql: SqlStorage,
    object: JsValue,
}

impl ObjectSql {
    pub(super) fn of(object: &JsValue) -> Self {
        Self {
            sql: state(object).storage().sql(),
            object: object.clone(),
        }
    }

    /// Calls `storage.transactionSync`, which the `worker` crate does not know. It undoes what the callback did if that
    /// throws.
    fn transaction(
        &self,
        mut callback: impl FnMut() -> std::result::Result<(), JsValue>,
    ) -> std::result::Result<(), JsValue> {
        let storage = js_sys::Reflect::get(&self.object, &"storage".into())?;
        let transaction: js_sys::Function =
            js_sys::Reflect::get(&storage, &"transactionSync".into())?.dyn_into()?;
        let callback =
            ScopedClosure::<dyn FnMut() -> std::result::Result<(), JsValue>>::borrow_mut_aborting(
                &mut callback,
            );
        transaction.call1(&storage, callback.as_ref())?;
        Ok(())
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
            let cursor = self.sql.exec(statement, parameters)?;
            cursor
                .raw()
                .map(|row| Ok(Row::new(row?.into_iter().map(from_storage).collect())))
                .collect()
        };
        run().map_err(|error| SqlError(error.to_string()))
    }

    fn atomically<T, E: From<SqlError>>(
        &self,
        action: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut action = Some(action);
        let mut result = None;
        let transaction = self.transaction(|| {
            result = action.take().map(|action| action());
            match result {
                Some(Ok(_)) => Ok(()),
                _ => Err("undo".into()),
            }
        });
        match (transaction, result) {
            (Ok(()), Some(result)) | (Err(_), Some(result @ Err(_))) => result,
            (Err(error), _) => Err(SqlError(format!("{error:?}")).into()),
            (Ok(()), None) => Err(SqlError("no transaction".to_owned()).into()),
        }
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
