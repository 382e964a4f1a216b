//! The log: one line of JSON for each event that someone should look at. Never a secret, never a visitor's address.

use serde::Serialize;

use crate::json;

#[derive(Serialize)]
struct Line<'l> {
    level: &'l str,
    event: &'l str,
    cause: String,
}

/// Something failed; `cause` is for the people who run this, not for clients.
pub(super) fn error(event: &str, cause: &dyn std::fmt::Display) {
    let line = Line {
        level: "error",
        event,
        cause: cause.to_string(),
    };
    worker::console_error!("{}", json::write(&line));
}
