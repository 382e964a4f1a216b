//! Answers. None of them can be taken for a script, kept by a cache, or changed by what a client sent.

use futures_util::TryStream;
use serde::Serialize;
use serde_json::json;
use wasm_bindgen::JsCast;
use worker::Result;
use worker::worker_sys::web_sys::ResponseInit;

use super::settings::{Misconfigured, Settings};
use crate::api::view::Problem;
use crate::json;
use crate::tracking::click::ClickRefusal;
use crate::tracking::rejection::Answer;

pub(super) use worker::worker_sys::web_sys::Response;

/// When a client may try again what could not be processed, in seconds.
const RETRY_AFTER: &str = "5";

/// Status and headers cross into JavaScript as one text, and the body as another.
fn respond(status: u16, headers: &serde_json::Value, body: Option<&str>) -> Result<Response> {
    let init = json!({ "status": status, "headers": headers });
    let init: ResponseInit = js_sys::JSON::parse(&json::write(&init))?.unchecked_into();
    Ok(Response::new_with_opt_str_and_init(body, &init)?)
}

fn body(status: u16, content_type: &str, body: &str) -> Result<Response> {
    let headers = json!({
        "Cache-Control": "no-store",
        "Content-Type": content_type,
        "X-Content-Type-Options": "nosniff",
    });
    respond(status, &headers, Some(body))
}

/// The same answer with one more header.
pub(super) fn with_header(response: Response, name: &str, value: &str) -> Result<Response> {
    response.headers().set(name, value)?;
    Ok(response)
}

pub(super) fn text(status: u16, message: &str) -> Result<Response> {
    body(status, "text/plain; charset=utf-8", message)
}

pub(super) fn json(value: &impl Serialize) -> Result<Response> {
    body(200, "application/json", &json::write(value))
}

/// JSON that is written already.
pub(super) fn json_text(status: u16, json: &str) -> Result<Response> {
    body(status, "application/json", json)
}

pub(super) fn problem(problem: &Problem) -> Result<Response> {
    body(
        problem.status,
        "application/problem+json",
        &json::write(problem),
    )
}

/// Lines of CSV, sent as they come.
pub(super) fn csv(
    lines: impl TryStream<Ok = Vec<u8>, Error = worker::Error> + 'static,
) -> Result<Response> {
    let response = worker::Response::builder()
        .with_header("Cache-Control", "no-store")?
        .with_header("Content-Type", "text/csv; charset=utf-8")?
        .with_header("X-Content-Type-Options", "nosniff")?
        .with_header(
            "Content-Disposition",
            "attachment; filename=\"conversions.csv\"",
        )?
        .from_stream(lines)?;
    Ok(response.into())
}

/// The description of the API.
pub(super) fn openapi() -> Result<Response> {
    json_text(200, include_str!("../api/openapi.json"))
}

/// A page that shows the description.
pub(super) fn api_page() -> Result<Response> {
    let response = body(
        200,
        "text/html; charset=utf-8",
        include_str!("api/page.html"),
    )?;
    with_header(
        response,
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
}

pub(super) fn redirect(url: &str) -> Result<Response> {
    let headers = json!({ "Cache-Control": "no-store", "Location": url });
    respond(302, &headers, None)
}

/// The page that a visitor sees for whom there is nowhere to go.
pub(super) fn refused_click(refusal: ClickRefusal) -> Result<Response> {
    page(refusal.status(), &refusal.to_string())
}

/// A speculative request: the browser asks again when the visitor really goes.
pub(super) fn not_yet() -> Result<Response> {
    page(503, "Nothing is shown before the link is really followed.")
}

/// Something that a click needs is out of reach for the moment.
pub(super) fn unavailable_click() -> Result<Response> {
    let response = page(503, "It will work again in a moment.")?;
    retry_later(response)
}

fn page(status: u16, reason: &str) -> Result<Response> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>This link does not work</title>\n\
         <body style=\"font-family: sans-serif; margin: 3em\">\n<h1>This link does not work</h1>\n<p>{reason}</p>\n"
    );
    let response = body(status, "text/html; charset=utf-8", &html)?;
    with_header(
        response,
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'",
    )
}

/// A postback that was processed.
pub(super) fn postback(answer: &Answer, wants_json: bool) -> Result<Response> {
    if wants_json {
        body(200, "application/json", &answer.json())
    } else {
        text(200, &answer.text())
    }
}

/// A request that could not be processed: the sender shall send it again.
pub(super) fn unavailable() -> Result<Response> {
    retry_later(text(503, "Not processed: please send it again.")?)
}

pub(super) fn retry_later(response: Response) -> Result<Response> {
    with_header(response, "Retry-After", RETRY_AFTER)
}

pub(super) fn method_not_allowed(allowed: &str) -> Result<Response> {
    with_header(text(405, &format!("Only {allowed}."))?, "Allow", allowed)
}

/// Names the setting that is missing, so that whoever deployed this knows what to do.
pub(super) fn misconfigured(error: &Misconfigured) -> Result<Response> {
    text(500, &error.to_string())
}

/// The same, for a sender who shall send again when it is mended.
pub(super) fn misconfigured_for_now(error: &Misconfigured) -> Result<Response> {
    retry_later(text(503, &error.to_string())?)
}

/// Whether the worker can serve.
pub(super) fn health(settings: &Settings) -> Result<Response> {
    match settings.fault() {
        Some(error) => misconfigured(error),
        None => text(200, concat!("tidemark ", env!("CARGO_PKG_VERSION"))),
    }
}
