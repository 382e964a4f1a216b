//! What the Durable Objects have in common: messages in JSON, and a SQLite database.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::DurableObjectState;
use worker::{Request, Response, Result, State};

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

/// An object's SQLite database: what JavaScript has as `storage` and `storage.sql`.
pub(super) struct ObjectSql {
    storage: JsValue,
    sql: JsValue,
}

impl ObjectSql {
    pub(super) fn of(object: &JsValue) -> std::result::Result<Self, SqlError> {
        let open = || {
            let storage = js_sys::Reflect::get(object, &"storage".into())?;
            let sql = js_sys::Reflect::get(&storage, &"sql".into())?;
            Ok(Self { storage, sql })
        };
        open().map_err(sql_error)
    }

    /// Calls `sql.exec`. Parameters and rows cross between WebAssembly and JavaScript as one text each: a conversion has
    /// forty values, each of which would be a crossing.
    fn exec(
        &self,
        statement: &str,
        parameters: &[Value],
    ) -> std::result::Result<Vec<Row>, JsValue> {
        let arguments: js_sys::Array =
            js_sys::JSON::parse(&json::write(&parameters))?.dyn_into()?;
        arguments.unshift(&statement.into());
        let cursor = method(&self.sql, "exec")?.apply(&self.sql, &arguments)?;
        let raw = method(&cursor, "raw")?.call0(&cursor)?;
        let rows: js_sys::Array = method(&raw, "toArray")?.call0(&raw)?.dyn_into()?;
        if rows.length() == 0 {
            return Ok(vec![]);
        }
        let rows = String::from(js_sys::JSON::stringify(&rows)?);
        let rows: Vec<Vec<serde_json::Value>> =
            json::read(&rows).map_err(|error| JsValue::from(error.to_string()))?;
        let rows = rows
            .into_iter()
            .map(|row| Row::new(row.into_iter().map(value).collect()));
        Ok(rows.collect())
    }

    /// Calls `storage.transactionSync`, which the `worker` crate does not know. It undoes what the callback did if that
    /// throws.
    fn transaction(
        &self,
        mut callback: impl FnMut() -> std::result::Result<(), JsValue>,
    ) -> std::result::Result<(), JsValue> {
        let transaction = method(&self.storage, "transactionSync")?;
        let callback =
            ScopedClosure::<dyn FnMut() -> std::result::Result<(), JsValue>>::borrow_mut_aborting(
                &mut callback,
            );
        transaction.call1(&self.storage, callback.as_ref())?;
        Ok(())
    }
}

impl Sql for ObjectSql {
    fn run(
        &self,
        statement: &str,
        parameters: Vec<Value>,
    ) -> std::result::Result<Vec<Row>, SqlError> {
        self.exec(statement, &parameters).map_err(sql_error)
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
            (Err(error), _) => Err(sql_error(error).into()),
            (Ok(()), None) => Err(SqlError("no transaction".to_owned()).into()),
        }
    }
}

/// A method of a JavaScript object.
fn method(object: &JsValue, name: &str) -> std::result::Result<js_sys::Function, JsValue> {
    js_sys::Reflect::get(object, &name.into())?.dyn_into()
}

fn sql_error(error: JsValue) -> SqlError {
    SqlError(worker::Error::from(error).to_string())
}

/// The schemas have integers and texts only; anything else reads as null, and the record says what is wrong with that.
fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Number(number) => number.as_i64().map_or(Value::Null, Value::Integer),
        _ => Value::Null,
    }
}
