//! Requests that need no waiting, for `entry.js`: one call, and texts in a buffer that both sides know.

use std::cell::RefCell;

use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::Context;

use super::settings::Settings;
use super::{click, postback};

/// Room for a URL with a query of 8 KB, and for the longest redirect; longer ones go the general way.
const BUFFER_BYTES: usize = 16 * 1024;

thread_local! {
    /// What the last call was given or has answered. Between calls, JavaScript reads and writes it.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
}

/// The memory of this module.
#[wasm_bindgen]
pub fn linear_memory() -> JsValue {
    wasm_bindgen::memory()
}

/// Where the buffer begins in [`linear_memory`].
#[wasm_bindgen]
pub fn buffer() -> usize {
    BUFFER.with_borrow_mut(|buffer| buffer.as_mut_ptr().expose_provenance())
}

/// How long the buffer is.
#[wasm_bindgen]
pub fn buffer_bytes() -> usize {
    BUFFER_BYTES
}

/// Answers a click, if it can be answered without waiting. The buffer begins with `length` bytes: the visitor's address,
/// his country (both empty if this is no visit) and the URL, line by line. Afterwards it begins with the URL to redirect
/// to, whose length is given; 0 if the general way has to be gone. Only a visit (a `GET`) is recorded.
#[wasm_bindgen]
pub fn click(length: usize, is_visit: bool, env: &JsValue, context: JsValue) -> usize {
    answer(length, |text| {
        let (ip, text) = text.split_once('\n')?;
        let (country, url) = text.split_once('\n')?;
        let settings = Settings::of(env.unchecked_ref());
        let context = Context::new(context.unchecked_into());
        click::answer_at_once(url, is_visit, ip, country, &settings, &context)
    })
}

/// Answers a postback that has to be refused, if that needs no waiting. The buffer begins with `length` bytes: the
/// sender's address and the URL, line by line. Afterwards it begins with the body of the answer, whose length is given;
/// 0 if the general way has to be gone.
#[wasm_bindgen]
pub fn refuse(length: usize, env: &JsValue) -> usize {
    answer(length, |text| {
        let (ip, url) = text.split_once('\n')?;
        let settings = Settings::of(env.unchecked_ref());
        postback::refuse_at_once(url, ip, &settings).filter(|body| body.is_ascii())
    })
}

/// Answers the text in the buffer with another.
fn answer(length: usize, respond: impl FnOnce(&str) -> Option<String>) -> usize {
    let answer = BUFFER.with_borrow(|buffer| {
        let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
        respond(text)
    });
    answer
        .and_then(|answer| {
            BUFFER.with_borrow_mut(|buffer| {
                buffer
                    .get_mut(..answer.len())?
                    .copy_from_slice(answer.as_bytes());
                Some(answer.len())
            })
        })
        .unwrap_or_default()
}
