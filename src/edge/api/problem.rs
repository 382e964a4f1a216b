//! Errors of the API, as problem details.

use worker::Result;

use super::super::request::BodyError;
use super::super::respond::{self, Response};
use super::super::settings::Misconfigured;
use super::super::{Unreachable, log};
use crate::api::params::InvalidParameter;
use crate::api::view::Problem;
use crate::catalog::Refusal;
use crate::json::JsonError;

/// Why a request to the API fails.
pub(super) enum ApiError {
    Unauthorized,
    Misconfigured(Misconfigured),
    NotFound(String),
    MethodNotAllowed(String),
    InvalidParameter(InvalidParameter),
    InvalidBody { field: String, reason: String },
    InvalidHeader(&'static str, &'static str),
    Conflict(String),
    VersionMismatch(String),
    TooLong,
    Unreadable,
    Unavailable,
}

impl ApiError {
    pub(super) fn response(self) -> Result<Response> {
        let (status, title, detail) = match &self {
            Self::Unauthorized => (
                401,
                "Unauthorized",
                "Send the header Authorization: Bearer <ADMIN_TOKEN>.".to_owned(),
            ),
            Self::Misconfigured(error) => (500, "Misconfigured", error.to_string()),
            Self::NotFound(detail) => (404, "Not found", detail.clone()),
            Self::MethodNotAllowed(allowed) => {
                (405, "Method not allowed", format!("Only {allowed}."))
            }
            Self::InvalidParameter(error) => (400, "Invalid parameter", error.to_string()),
            Self::InvalidHeader(name, reason) => {
                (400, "Invalid header", format!("{name}: {reason}"))
            }
            Self::InvalidBody { field, reason } if field.is_empty() => {
                (422, "Invalid body", reason.clone())
            }
            Self::InvalidBody { field, reason } => {
                (422, "Invalid body", format!("{field}: {reason}"))
            }
            Self::Conflict(detail) => (409, "Conflict", detail.clone()),
            Self::VersionMismatch(detail) => (412, "Precondition failed", detail.clone()),
            Self::TooLong => (
                413,
                "Too long",
                "The body is longer than 256 KB.".to_owned(),
            ),
            Self::Unreadable => (
                400,
                "Unreadable",
                "The body is not UTF-8, or broke off.".to_owned(),
            ),
            Self::Unavailable => (
                503,
                "Unavailable",
                "Not processed: please send it again.".to_owned(),
            ),
        };
        let (field, reason) = match &self {
            Self::InvalidParameter(error) => (Some(error.name.clone()), Some(error.reason.clone())),
            Self::InvalidBody { field, reason } => (Some(field.clone()), Some(reason.clone())),
            _ => (None, None),
        };
        let response = respond::problem(&Problem {
            r#type: "about:blank",
            title,
            status,
            detail,
            field,
            reason,
        })?;
        match &self {
            Self::Unauthorized => respond::with_header(response, "WWW-Authenticate", "Bearer"),
            Self::MethodNotAllowed(allowed) => respond::with_header(response, "Allow", allowed),
            Self::Unavailable => respond::retry_later(response),
            _ => Ok(response),
        }
    }
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

impl From<InvalidParameter> for ApiError {
    fn from(error: InvalidParameter) -> Self {
        Self::InvalidParameter(error)
    }
}

impl From<JsonError> for ApiError {
    fn from(JsonError { field, reason }: JsonError) -> Self {
        Self::InvalidBody { field, reason }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotFound(..) => Self::NotFound(detail),
            Refusal::Exists(..) => Self::Conflict(detail),
            Refusal::VersionMismatch(_) => Self::VersionMismatch(detail),
            Refusal::KeyReused => {
                Self::InvalidHeader("Idempotency-Key", "was used for another request")
            }
            Refusal::Invalid { field, reason } => Self::InvalidBody { field, reason },
            Refusal::Failed(cause) => {
                log::error("catalog_failed", &cause);
                Self::Unavailable
            }
        }
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
