//! What the API shows and takes, beside the entities themselves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::catalog::Entity;
use crate::ledger::Recorded;
use crate::tracking::click_page::Session;
use crate::tracking::conversion::Status;
use crate::tracking::diagnosis::Finding;
use crate::tracking::id::{OfferId, PartnerId};
use crate::tracking::postback::Check;
use crate::tracking::received::{LoggedPostback, Received};
use crate::tracking::rfc3339;

/// A page of a list.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Page<T> {
    /// What it has.
    pub items: Vec<T>,
    /// The `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an entity shows beside its own fields.
#[cfg(test)]
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct EntityState {
    /// Whether the edge can see this state of it; until then, publishing is tried again.
    pub published: bool,
    /// When it was made.
    #[schemars(with = "super::openapi::Time")]
    pub created_at: (),
    /// When it was last changed.
    #[schemars(with = "super::openapi::Time")]
    pub updated_at: (),
}

/// The JSON of an entity, with its state.
pub fn entity(entity: &Entity) -> String {
    format!(
        r#"{},"published":{},"created_at":"{}","updated_at":"{}"}}"#,
        entity.body.strip_suffix('}').unwrap_or_default(),
        entity.published,
        rfc3339::write(entity.created_at),
        rfc3339::write(entity.updated_at),
    )
}

/// A conversion, or the refusal of one.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversionView {
    /// Its name in the API: the offer, and its number in the offer's ledger.
    pub id: String,
    /// The offer.
    pub offer_id: OfferId,
    /// Everything else; a refusal has a `code`.
    #[serde(flatten)]
    pub conversion: crate::tracking::conversion::Conversion,
}

impl ConversionView {
    /// A row of an offer's ledger.
    pub fn new(offer: OfferId, recorded: Recorded) -> Self {
        Self {
            id: ConversionId {
                offer,
                number: recorded.id,
            }
            .to_string(),
            offer_id: offer,
            conversion: recorded.conversion,
        }
    }
}

/// The name of a conversion in the API: `1-1780315200123000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversionId {
    /// The offer, whose ledger keeps it.
    pub offer: OfferId,
    /// Its number there.
    pub number: i64,
}

impl ConversionId {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        let (offer, number) = text.split_once('-')?;
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        Some(Self {
            offer: offer.parse().ok()?,
            number: number.parse().ok().filter(|_| digits)?,
        })
    }
}

impl std::fmt::Display for ConversionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.offer, self.number)
    }
}

/// A decision about a pending conversion.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What it is to be.
    pub status: DecidedStatus,
}

/// What a pending conversion can become.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DecidedStatus {
    /// It counts.
    Approved,
    /// It does not.
    Rejected,
}

impl From<DecidedStatus> for Status {
    fn from(status: DecidedStatus) -> Self {
        match status {
            DecidedStatus::Approved => Self::Approved,
            DecidedStatus::Rejected => Self::Rejected,
        }
    }
}

/// A postback of the raw log, and what is wrong with it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PostbackView {
    /// Its number in the log: later ones are higher.
    pub id: i64,
    /// What came.
    #[serde(flatten)]
    pub received: Received,
    /// Whether it was accepted.
    pub accepted: bool,
    /// The answer, word for word.
    pub answer: String,
    /// What looks wrong.
    pub findings: Vec<Finding>,
}

impl PostbackView {
    /// A row of a log.
    pub fn new(logged: LoggedPostback, findings: Vec<Finding>) -> Self {
        Self {
            id: logged.id,
            received: logged.received,
            accepted: logged.accepted,
            answer: logged.answer,
            findings,
        }
    }
}

/// What is known of a transaction ID.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Trace {
    /// The text that was asked for.
    pub transaction_id: String,
    /// Whether this network has minted it.
    pub genuine: bool,
    /// What is wrong with it, if it is not genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// The click behind a genuine one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click: Option<TracedClick>,
    /// Conversions and refusals of it, newest first.
    pub conversions: Vec<ConversionView>,
    /// The postbacks that named it, newest first, and what is wrong with them.
    pub postbacks: Vec<PostbackView>,
}

/// The click of a traced transaction.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TracedClick {
    /// The offer that was clicked.
    pub offer_id: OfferId,
    /// The partner who is paid.
    pub partner_id: PartnerId,
    /// When, to the second.
    #[serde(with = "crate::tracking::rfc3339")]
    #[cfg_attr(test, schemars(with = "super::openapi::Time"))]
    pub clicked_at: DateTime<Utc>,
    /// How long ago, for people.
    pub age: String,
    /// When a conversion does not count any more; absent if the offer is not known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "crate::tracking::rfc3339::option"
    )]
    #[cfg_attr(test, schemars(with = "Option<super::openapi::Time>"))]
    pub expires_at: Option<DateTime<Utc>>,
    /// What was recorded of it; `null` if KV does not show it (yet, or any more).
    pub session: Option<Session<'static>>,
}

/// A postback to test.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TestPostback {
    /// The URL to fire, or its path and query: `/aff_lsr?transaction_id=…`.
    #[cfg_attr(test, schemars(extend("pattern" = "^(https?://[^/]+)?/aff_(lsr|goal)(\\?.*)?$")))]
    pub url: String,
    /// The form, if it is to be a POST.
    #[serde(default)]
    pub form: String,
    /// The address it comes from; without it, from nowhere known.
    #[serde(default)]
    pub sender_ip: Option<std::net::IpAddr>,
    /// The `Referer` header.
    #[serde(default)]
    pub referrer: Option<String>,
    /// When it comes; without it, now.
    #[serde(default, with = "crate::tracking::rfc3339::option")]
    #[cfg_attr(test, schemars(with = "Option<super::openapi::Time>"))]
    pub received_at: Option<DateTime<Utc>>,
}

/// What would become of a postback.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestResult {
    /// Whether it would be accepted.
    pub accepted: bool,
    /// What the sender would be told.
    pub answer: String,
    /// The checks, in the order in which they run; the sender hears of the first that fails.
    pub checks: Vec<CheckResult>,
    /// What looks wrong.
    pub findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckResult {
    /// Which one.
    pub check: CheckName,
    /// Whether it passes.
    pub passed: bool,
    /// What the sender would be told, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The name of a check.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum CheckName {
    /// One that needs to know the offer.
    OfOffer(Check),
    /// One that does not, or that needs to know the earlier conversions.
    Other(OtherCheck),
}

/// The checks before and behind those of the offer.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OtherCheck {
    /// The transaction ID is genuine, or the offer is named.
    TransactionId,
    /// No earlier conversion rules it out.
    Duplicate,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// Always `about:blank`: the title says what the status means.
    pub r#type: &'static str,
    /// What is wrong, in few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The field or parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
