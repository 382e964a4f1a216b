//! The Durable Object that keeps the ledger of one offer.
//!
//! It takes one [`Message`] at a time, and awaits nothing between the read that decides and the write that records, so
//! it needs no lock. Its answer leaves only when the write is durable: the runtime's output gate holds it back.

use std::cell::RefCell;

use worker::{
    DurableObject, Env, Request, Response, Result, SqlStorage, SqlStorageValue, State,
    durable_object,
};

use super::log;
use crate::json;
use crate::ledger::message::{Message, Newest};
use crate::ledger::{self, Row, Sql, SqlError, Value};

/// The object; `ledger` is opened by the first message, because a constructor that failed would fail for ever.
#[durable_object(fetch)]
pub struct Ledger {
    state: State,
    ledger: RefCell<Option<ledger::Ledger<ObjectSql>>>,
}

impl DurableObject for Ledger {
    fn new(state: State, _env: Env) -> Self {
        Self {
            state,
            ledger: RefCell::new(None),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = json::read(&request.text().await?);
        let answer = match message {
            Ok(message) => self.answer(message).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(json) => Response::ok(json),
            Err(cause) => {
                log::error("ledger_failed", &cause);
                Response::error("", 500)
            }
        }
    }
}

impl Ledger {
    fn answer(&self, message: Message) -> std::result::Result<String, SqlError> {
        let mut opened = self.ledger.borrow_mut();
        let ledger = match &mut *opened {
            Some(ledger) => ledger,
            closed => {
                let sql = ObjectSql(self.state.storage().sql());
                closed.insert(ledger::Ledger::open(sql)?)
            }
        };
        Ok(match message {
            Message::Claim(claim) => json::write(&ledger.claim(*claim)?),
            Message::Refuse(refusal) => json::write(&ledger.refuse(&refusal)?),
            Message::Newest { limit } => json::write(&Newest {
                conversions: ledger.conversions(limit)?,
                refusals: ledger.refusals(limit)?,
            }),
        })
    }
}

/// The object's SQLite database.
struct ObjectSql(SqlStorage);

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

/// The schema has integers and texts only; anything else reads as null, and the record says what is wrong with that.
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
