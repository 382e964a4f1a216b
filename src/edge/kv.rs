//! Workers KV, with bounds on how long it may take.

use std::time::Duration;

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::runtime;

#[wasm_bindgen(wasm_bindgen_futures = worker::wasm_bindgen_futures)]
extern "C" {
    /// A namespace of Workers KV. The `worker` crate has one too; it looks its methods up by name, and makes its options
    /// with serde at every call.
    #[derive(Clone)]
    pub type KvNamespace;
    #[wasm_bindgen(method, catch)]
    async fn get(this: &KvNamespace, key: &str, options: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn put(
        this: &KvNamespace,
        key: &str,
        value: &str,
        options: &JsValue,
    ) -> Result<JsValue, JsValue>;
}

thread_local! {
    /// A data centre remembers what it has read for half a minute, a miss too: the least that KV allows.
    static READ_OPTIONS: JsValue = options("cacheTtl", 30.0);
}

/// An object with one number.
fn options(name: &str, value: f64) -> JsValue {
    let options = js_sys::Object::new();
    // Only a frozen object or a proxy would refuse it.
    let _ = js_sys::Reflect::set(&options, &name.into(), &value.into());
    options.into()
}

/// Reads a value. The error says what went wrong, and with which key.
pub(super) async fn read(
    kv: &KvNamespace,
    key: &str,
    time_limit: Duration,
) -> Result<Option<String>, String> {
    let options = READ_OPTIONS.with(Clone::clone);
    match runtime::within(time_limit, kv.get(key, &options)).await {
        Some(Ok(value)) => Ok(value.as_string()),
        Some(Err(error)) => Err(format!("{key}: {}", worker::Error::from(error))),
        None => Err(format!("{key}: no answer")),
    }
}

/// Writes a value, which goes at `expires` in Unix seconds, if that is set.
pub(super) async fn write(
    kv: &KvNamespace,
    key: &str,
    value: &str,
    expires: Option<u32>,
    time_limit: Duration,
) -> Result<(), String> {
    let options = expires.map_or(JsValue::UNDEFINED, |expires| {
        options("expiration", expires.into())
    });
    match runtime::within(time_limit, kv.put(key, value, &options)).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!("{key}: {}", worker::Error::from(error))),
        None => Err(format!("{key}: no answer")),
    }
}
