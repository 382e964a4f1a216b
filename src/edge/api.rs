//! The management API, for the network's own token only.
//!
//! - `PUT /api/v1/network`: loads a whole network, and publishes its documents
//! - `GET /api/v1/conversions?offer_id=1&limit=100&before=17`: the newest conversions and refusals of an offer, or those
//!   before the rows with an ID
//!
//! Errors are problem details (RFC 9457).

use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use worker::{Response, Result};

use super::directory;
use super::ledgers::Ledgers;
use super::request::{BodyError, Request};
use super::settings::{Misconfigured, Settings};
use super::{Unreachable, kv, log, respond};
use crate::catalog::Network;
use crate::json::JsonError;
use crate::tracking::id::OfferId;
use crate::tracking::query::Query;

/// The longest network that is read at once, in bytes.
const MAX_NETWORK_BYTES: usize = 1024 * 1024;

/// How long KV may take to publish a document.
const PUBLISH_LIMIT: Duration = Duration::from_secs(20);

/// The most rows of each kind in one answer.
const MAX_ROWS: u32 = 1_000;

/// The rows in an answer to a request that does not say how many.
const DEFAULT_ROWS: u32 = 100;

/// Why a request to the API fails.
enum ApiError {
    Unauthorized,
    Misconfigured(Misconfigured),
    NotFound,
    MethodNotAllowed(&'static str),
    InvalidParameter(&'static str, &'static str),
    InvalidNetwork(JsonError),
    TooLong,
    Unreadable,
    Unavailable,
}

pub(super) async fn answer(request: Request, settings: &Settings) -> Result<Response> {
    match route(request, settings).await {
        Ok(response) => Ok(response),
        Err(error) => problem(&error),
    }
}

async fn route(
    mut request: Request,
    settings: &Settings,
) -> std::result::Result<Response, ApiError> {
    authorize(&request, settings)?;
    match (request.path(), request.method()) {
        ("/api/v1/network", "PUT") => {
            let json = request.body(MAX_NETWORK_BYTES).await?;
            load_network(&json, settings).await
        }
        ("/api/v1/network", _) => Err(ApiError::MethodNotAllowed("PUT")),
        ("/api/v1/conversions", "GET") => conversions(request.query(), settings).await,
        ("/api/v1/conversions", _) => Err(ApiError::MethodNotAllowed("GET")),
        _ => Err(ApiError::NotFound),
    }
}

fn authorize(request: &Request, settings: &Settings) -> std::result::Result<(), ApiError> {
    let token = settings.admin_token.as_ref()?;
    let header = request.header("Authorization").unwrap_or_default();
    match header.split_once(' ') {
        Some((scheme, sent))
            if scheme.eq_ignore_ascii_case("bearer") && token.matches(sent.trim()) =>
        {
            Ok(())
        }
        _ => Err(ApiError::Unauthorized),
    }
}

/// The keys of the documents that a network was turned into.
#[derive(Serialize)]
struct Loaded<'l> {
    published: Vec<&'l str>,
}

async fn load_network(json: &str, settings: &Settings) -> std::result::Result<Response, ApiError> {
    let kv = settings.kv.as_ref()?;
    let documents = Network::parse(json)?.documents()?;
    let writes = documents
        .iter()
        .map(|document| kv::write(kv, &document.key, &document.value, None, PUBLISH_LIMIT));
    for result in join_all(writes).await {
        result.map_err(|error| {
            log::error("publish_failed", &error);
            ApiError::Unavailable
        })?;
    }
    directory::forget();
    let published: Vec<&str> = documents
        .iter()
        .map(|document| document.key.as_str())
        .collect();
    Ok(respond::json(&Loaded { published })?)
}

async fn conversions(query: &str, settings: &Settings) -> std::result::Result<Response, ApiError> {
    let query = Query::parse(query, "").map_err(|_| ApiError::TooLong)?;
    let offer: OfferId =
        query
            .get("offer_id")
            .and_then(|id| id.parse().ok())
            .ok_or(ApiError::InvalidParameter(
                "offer_id",
                "is not the ID of an offer",
            ))?;
    let limit = match query.get("limit") {
        None => DEFAULT_ROWS,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_ROWS).contains(limit))
            .ok_or(ApiError::InvalidParameter(
                "limit",
                "is not between 1 and 1000",
            ))?,
    };
    let before = match query.get("before") {
        None => i64::MAX,
        Some(id) => id
            .parse()
            .map_err(|_| ApiError::InvalidParameter("before", "is not the ID of a row"))?,
    };
    let newest = Ledgers::of(settings)?.newest(offer, before, limit).await?;
    Ok(respond::json(&newest)?)
}

fn problem(error: &ApiError) -> Result<Response> {
    let (status, title, detail) = match error {
        ApiError::Unauthorized => (
            401,
            "Unauthorized",
            "Send the header Authorization: Bearer <ADMIN_TOKEN>.".to_owned(),
        ),
        ApiError::Misconfigured(error) => (500, "Misconfigured", error.to_string()),
        ApiError::NotFound => (404, "Not found", "There is no such resource.".to_owned()),
        ApiError::MethodNotAllowed(allowed) => {
            (405, "Method not allowed", format!("Only {allowed}."))
        }
        ApiError::InvalidParameter(name, reason) => {
            (400, "Invalid parameter", format!("{name} {reason}."))
        }
        ApiError::InvalidNetwork(error) => (422, "Invalid network", error.to_string()),
        ApiError::TooLong => (
            413,
            "Too long",
            "The request is longer than it may be.".to_owned(),
        ),
        ApiError::Unreadable => (
            400,
            "Unreadable",
            "The body is not UTF-8, or broke off.".to_owned(),
        ),
        ApiError::Unavailable => (
            503,
            "Unavailable",
            "Not processed: please send it again.".to_owned(),
        ),
    };
    let response = respond::problem(status, title, detail)?;
    match error {
        ApiError::Unauthorized => response.headers().set("WWW-Authenticate", "Bearer")?,
        ApiError::MethodNotAllowed(allowed) => response.headers().set("Allow", allowed)?,
        _ => {}
    }
    Ok(response)
}

impl From<Misconfigured> for ApiError {
    fn from(error: Misconfigured) -> Self {
        Self::Misconfigured(error)
    }
}

impl From<&Misconfigured> for ApiError {
    fn from(error: &Misconfigured) -> Self {
        Self::Misconfigured(error.clone())
    }
}

impl From<worker::Error> for ApiError {
    fn from(error: worker::Error) -> Self {
        log::error("api_failed", &error);
        Self::Unavailable
    }
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::InvalidNetwork(error)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong => Self::TooLong,
            BodyError::Unreadable => Self::Unreadable,
        }
    }
}

impl From<Unreachable> for ApiError {
    fn from(_: Unreachable) -> Self {
        Self::Unavailable
    }
}
