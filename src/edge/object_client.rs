//! Speaks to Durable Objects: JSON messages there, and as many back.

use std::time::Duration;

use js_sys::Array;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use super::{Unreachable, log, runtime};
use crate::json;

#[wasm_bindgen(wasm_bindgen_futures = worker::wasm_bindgen_futures)]
extern "C" {
    /// The objects of one class.
    #[derive(Clone)]
    pub type ObjectNamespace;
    #[wasm_bindgen(method, catch, js_name = getByName)]
    fn get_by_name(this: &ObjectNamespace, name: &str) -> Result<Stub, JsValue>;

    type Stub;
    /// Calls the method of `objects.js`.
    #[wasm_bindgen(method, catch)]
    async fn handle(this: &Stub, messages: &Array) -> Result<JsValue, JsValue>;
}

/// How long an object may take. What was given up may have happened all the same; sent again, it is found out.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Sends a message to the object with this name.
pub(super) async fn send<T: DeserializeOwned>(
    objects: &ObjectNamespace,
    name: &str,
    message: &impl Serialize,
) -> Result<T, Unreachable> {
    let messages = Array::of1(&json::write(message).into());
    let answers = send_all(objects, name, &messages).await;
    read(name, answers.and_then(|answers| text(&answers.get(0))))
}

/// Sends messages that are written already, in one call, and gives what [`text`] reads in their order.
pub(super) async fn send_all(
    objects: &ObjectNamespace,
    name: &str,
    messages: &Array,
) -> Result<Array, String> {
    let cause = |error| worker::Error::from(error).to_string();
    // After a deploy or a crash of the object, only a new stub reaches it.
    let stub = objects.get_by_name(name).map_err(cause)?;
    match runtime::within(TIME_LIMIT, stub.handle(messages)).await {
        Some(answers) => Ok(answers.map_err(cause)?.unchecked_into()),
        None => Err("no answer".to_owned()),
    }
}

/// The text of an answer.
pub(super) fn text(answer: &JsValue) -> Result<String, String> {
    // The object has logged why it has none.
    answer.as_string().ok_or_else(|| "it failed".to_owned())
}

/// Reads an answer of the object with this name; why there is none is logged.
pub(super) fn read<T: DeserializeOwned>(
    name: &str,
    answer: Result<String, String>,
) -> Result<T, Unreachable> {
    answer
        .and_then(|json| json::read(&json).map_err(|error| error.to_string()))
        .map_err(|cause| {
            log::error("object_unreachable", &format!("{name}: {cause}"));
            Unreachable
        })
}
