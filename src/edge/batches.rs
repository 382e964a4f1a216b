//! Sends messages to ledgers, those of one moment together; [`crate::ledger::batches`] says which.
//!
//! Each who waits has a promise of his own, which another request settles. The runtime goes on with him in his own
//! context (the compatibility flag `handle_cross_request_promise_resolution`), which a waker of Rust would not.

use std::cell::RefCell;
use std::time::Duration;

use js_sys::futures::JsFuture;
use js_sys::{Array, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::object_client::{self, ObjectNamespace, text};
use super::runtime;
use crate::ledger::batches::{Batch, Lines, MAX_GATHERING, Place};
use crate::ledger::message::object_name;
use crate::tracking::id::OfferId;

#[wasm_bindgen]
extern "C" {
    /// What `Promise.withResolvers` gives.
    #[derive(Clone, Debug)]
    type Waiter;
    #[wasm_bindgen(js_namespace = Promise, js_name = withResolvers)]
    fn waiter() -> Waiter;
    #[wasm_bindgen(method, getter)]
    fn promise(this: &Waiter) -> Promise;
    #[wasm_bindgen(method)]
    fn resolve(this: &Waiter, value: &JsValue);
}

/// How long one who waits is patient: longer than a batch gathers and its call may take.
const PATIENCE: Duration = Duration::from_secs(12);

thread_local! {
    static LINES: RefCell<Lines<Waiter>> = RefCell::default();
}

/// Sends a message to an offer's ledger, and gives the answer. Others may depend on this request then, so it is to be
/// awaited in the background, where a client who hangs up does not end it.
pub(super) async fn send(
    ledgers: &ObjectNamespace,
    offer: OfferId,
    message: String,
) -> Result<String, String> {
    let place = LINES.with_borrow_mut(|lines| lines.place(offer, message, runtime::now(), waiter));
    match place {
        Place::Free(message) => {
            let answers = call(ledgers, offer, &Array::of1(&message.into())).await;
            text(&answers?.get(0))
        }
        Place::Opened(batch, turn) => {
            let gathered = MAX_GATHERING.to_std().unwrap_or_default();
            // When nobody gives the turn, it is taken.
            let _ = runtime::within(gathered, JsFuture::from(turn.promise())).await;
            send_batch(ledgers, offer, &batch).await
        }
        Place::Joined(answer) => {
            match runtime::within(PATIENCE, JsFuture::from(answer.promise())).await {
                Some(Ok(answer)) => text(&answer),
                _ => Err("the batch did not go".to_owned()),
            }
        }
    }
}

/// Makes the call for a batch, and gives the answer to the first of its messages.
async fn send_batch(
    ledgers: &ObjectNamespace,
    offer: OfferId,
    batch: &Batch<Waiter>,
) -> Result<String, String> {
    let waiting = LINES.with_borrow_mut(|lines| lines.close(offer, batch, runtime::now()));
    let (messages, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    let messages = messages.into_iter().map(JsValue::from).collect();
    let answers = call(ledgers, offer, &messages).await;
    for (index, waiter) in (0..).zip(&waiting).skip(1) {
        let answer = answers
            .as_ref()
            .map_or(JsValue::UNDEFINED, |answers| answers.get(index));
        waiter.resolve(&answer);
    }
    text(&answers?.get(0))
}

/// Makes a call, and lets the next one go when it is back.
async fn call(
    ledgers: &ObjectNamespace,
    offer: OfferId,
    messages: &Array,
) -> Result<Array, String> {
    let answers = object_client::send_all(ledgers, &object_name(offer), messages).await;
    if let Some(next) = LINES.with_borrow_mut(|lines| lines.back(offer)) {
        next.resolve(&JsValue::UNDEFINED);
    }
    answers
}
