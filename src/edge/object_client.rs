//! Speaks to Durable Objects: one JSON message there, one back.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

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
    async fn handle(this: &Stub, message: &str) -> Result<JsValue, JsValue>;
}

/// How long an object may take. What was given up may have happened all the same; sent again, it is found out.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Sends a message to the object with this name.
pub(super) async fn send<T: DeserializeOwned>(
    objects: &ObjectNamespace,
    name: &str,
    message: &impl Serialize,
) -> Result<T, Unreachable> {
    let json = json::write(message);
    runtime::within(TIME_LIMIT, exchange(objects, name, &json))
        .await
        .unwrap_or_else(|| Err("no answer".to_owned()))
        .and_then(|json| json::read(&json).map_err(|error| error.to_string()))
        .map_err(|cause| {
            log::error("object_unreachable", &format!("{name}: {cause}"));
            Unreachable
        })
}

async fn exchange(objects: &ObjectNamespace, name: &str, json: &str) -> Result<String, String> {
    // After a deploy or a crash of the object, only a new stub reaches it.
    let answer = match objects.get_by_name(name) {
        Ok(stub) => stub.handle(json).await,
        Err(error) => Err(error),
    };
    match answer {
        // The object has logged why it has none.
        Ok(answer) => answer.as_string().ok_or_else(|| "it failed".to_owned()),
        Err(error) => Err(worker::Error::from(error).to_string()),
    }
}
