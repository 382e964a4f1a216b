//! What the Durable Objects have in common: messages in JSON, and a SQLite database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use js_sys::Promise;
use js_sys::futures::spawn_local;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::ScopedClosure;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{log, runtime};
use crate::json;
use crate::sql::{Row, Sql, SqlError, Value};

#[wasm_bindgen]
extern "C" {
    /// What the runtime gives an object.
    pub type ObjectState;
    #[wasm_bindgen(method, getter)]
    fn storage(this: &ObjectState) -> Storage;

    type Storage;
    #[wasm_bindgen(method, getter, catch)]
    fn sql(this: &Storage) -> Result<SqlStorage, JsValue>;
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(this: &Storage, callback: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &Storage, unix_ms: f64) -> Result<Promise, JsValue>;

    type SqlStorage;
    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &SqlStorage, statement: &str, parameters: &JsValue) -> Result<Cursor, JsValue>;

    type Cursor;
    #[wasm_bindgen(method, catch)]
    fn raw(this: &Cursor) -> Result<RawCursor, JsValue>;

    type RawCursor;
    #[wasm_bindgen(method, catch, js_name = toArray)]
    fn to_array(this: &RawCursor) -> Result<js_sys::Array, JsValue>;
}

/// Reads a message, and gives what `handle` makes of it; nothing if it fails, with the cause in the log. `handle` awaits
/// nothing, so messages are handled one after the other, and the runtime holds the answer back until what was written is
/// durable.
pub(super) fn answer<M: DeserializeOwned>(
    message: &str,
    handle: impl FnOnce(M) -> Result<String, SqlError>,
) -> Option<String> {
    logged(read(message).and_then(handle))
}

/// The message in a text.
pub(super) fn read<M: DeserializeOwned>(message: &str) -> Result<M, SqlError> {
    json::read(message).map_err(|error| SqlError(error.to_string()))
}

/// The answer of an object; nothing, with the cause in the log, if there is none.
pub(super) fn logged(answer: Result<String, SqlError>) -> Option<String> {
    answer
        .inspect_err(|cause| log::error("object_failed", cause))
        .ok()
}

/// The answer to a message, from its result.
pub(super) fn reply<T: Serialize>(result: Result<T, SqlError>) -> Result<String, SqlError> {
    result.map(|reply| json::write(&reply))
}

/// Sets an object's alarm; what is due already is due in a moment. The runtime makes it durable together with what was
/// written before in the same turn; if it fails, that is logged later.
pub(super) fn set_alarm(object: &ObjectState, at: DateTime<Utc>) {
    // In an alarm, the next must be ahead.
    let at = at.max(runtime::after(Duration::from_millis(1)));
    #[expect(clippy::cast_precision_loss, reason = "milliseconds, far under 2^53")]
    let set = object.storage().set_alarm(at.timestamp_millis() as f64);
    spawn_local(async {
        let set = match set {
            Ok(set) => set.await,
            Err(error) => Err(error),
        };
        if let Err(error) = set {
            log::error("alarm_not_set", &worker::Error::from(error));
        }
    });
}

/// An object's SQLite database.
pub(super) struct ObjectSql {
    storage: Storage,
    sql: SqlStorage,
}

impl ObjectSql {
    pub(super) fn of(object: &ObjectState) -> Result<Self, SqlError> {
        let storage = object.storage();
        let sql = storage.sql().map_err(sql_error)?;
        Ok(Self { storage, sql })
    }

    /// Parameters and rows cross between WebAssembly and JavaScript as one text each: a conversion has forty values, each
    /// of which would be a crossing.
    fn exec(&self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>, JsValue> {
        let parameters = js_sys::JSON::parse(&json::write(&parameters))?;
        let rows = self.sql.exec(statement, &parameters)?.raw()?.to_array()?;
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

    /// Undoes what the callback did if it fails.
    fn transaction(
        &self,
        mut callback: impl FnMut() -> Result<(), JsValue>,
    ) -> Result<(), JsValue> {
        let callback =
            ScopedClosure::<dyn FnMut() -> Result<(), JsValue>>::borrow_mut_aborting(&mut callback);
        self.storage.transaction_sync(callback.as_ref())?;
        Ok(())
    }
}

impl Sql for ObjectSql {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        self.exec(statement, &parameters).map_err(sql_error)
    }

    fn atomically<T, E: From<SqlError>>(
        &self,
        action: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
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
