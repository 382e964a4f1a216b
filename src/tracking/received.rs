//! A postback as it came: what the raw log keeps.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

/// What stands in the log in place of a secret.
pub const MASK: &str = "***";

/// The most characters of a header that are kept.
const MAX_HEADER_CHARS: usize = 1_000;

/// A postback as it came, with secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Received {
    /// When it came.
    #[serde(with = "super::rfc3339")]
    #[cfg_attr(test, schemars(with = "crate::api::openapi::Time"))]
    pub received_at: DateTime<Utc>,
    /// The HTTP method.
    pub method: String,
    /// The path, and the query as it was encoded.
    pub target: String,
    /// The form of a POST, as it was encoded.
    pub form: String,
    /// The address it came from.
    pub sender_ip: Option<IpAddr>,
    /// The `Referer` header; empty where there was none.
    pub referrer: String,
    /// The transaction ID that it named, as it was sent: at most [`MAX_ID_CHARS`] characters.
    pub transaction_id: Option<String>,
    /// Whether this ID is of this network, or the postback needs none. What anybody can make up is kept apart from
    /// what only those can send who were given an ID.
    pub genuine: bool,
}

/// The most characters of a transaction ID that are kept: more than twice as many as one has.
pub const MAX_ID_CHARS: usize = 64;

impl Received {
    /// The query, as it was encoded.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// A query or form without the values of its secrets, everything else as it was encoded.
pub fn masked(query: &str) -> String {
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let decoded = form_urlencoded::parse(name.as_bytes()).next();
            match decoded {
                Some((decoded, _))
                    if decoded == "security_token" && pair.len() > name.len() + 1 =>
                {
                    format!("{name}={MASK}")
                }
                _ => pair.to_owned(),
            }
        })
        .collect();
    pairs.join("&")
}

/// A header, at most [`MAX_HEADER_CHARS`] characters of it.
pub fn header(value: Option<&str>) -> String {
    value
        .unwrap_or_default()
        .chars()
        .take(MAX_HEADER_CHARS)
        .collect()
}

/// A postback and its answer, as the log keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedPostback {
    /// Its number in the log: later ones are higher. An accepted one has the number of its conversion.
    pub id: i64,
    /// What came.
    pub received: Received,
    /// Whether it was accepted.
    pub accepted: bool,
    /// The answer, word for word.
    pub answer: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_tokens_and_nothing_else() {
        let check = |query: &str, expected: &str| assert_eq!(masked(query), expected);
        check("", "");
        check(
            "a=1&security_token=x%20y&b=%zz",
            "a=1&security_token=***&b=%zz",
        );
        check(
            "security%5Ftoken=x&security_token=",
            "security%5Ftoken=***&security_token=",
        );
        check("security_token&=&&token=x", "security_token&=&&token=x");
    }
}
