//! The edge: the only place that knows the Workers runtime. It fetches what the core asks for, calls the core, and
//! writes down what the core said; it decides nothing.
//!
//! A panic here would kill every request in flight in the isolate, so nothing here may.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

mod api;
mod at_once;
mod batches;
mod catalog_object;
mod click;
mod click_counter;
mod click_recorder;
mod directory;
mod kv;
mod ledger_object;
mod ledgers;
mod log;
mod object;
mod object_client;
mod postback;
mod rate_limit;
mod registry_object;
mod request;
mod respond;
mod runtime;
mod settings;

use worker::worker_sys::web_sys;
use worker::{Context, Env, event};

use request::Request;
use respond::Response;
use settings::Settings;

use crate::tracking::postback::Endpoint;

/// Something that is needed does not answer, or answers what cannot be read; why is in the log.
struct Unreachable;

/// Every other request from outside.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<Response> {
    let settings = Settings::of(&env);
    let request = Request::new(request);
    if let Some(endpoint) = Endpoint::at(request.path()) {
        return postback::answer(endpoint, request, &settings, &context).await;
    }
    match request.path() {
        "/aff_c" => click::answer(&request, &settings, &context).await,
        "/healthz" => respond::health(&settings),
        "/api" | "/api/" => respond::api_page(),
        path if path.starts_with("/api/") => api::answer(request, &settings).await,
        _ => respond::text(404, "Not found."),
    }
}
