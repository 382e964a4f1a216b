//! What the edge and the object that keeps a ledger say to each other.

use serde::{Deserialize, Serialize};

use super::ConversionFilter;
use super::counts::ClickKey;
use super::log::LogFilter;
use super::report::ReportRequest;
use crate::registry::Epoch;
use crate::tracking::conversion::{Conversion, Status, Uniqueness};
use crate::tracking::id::{GoalId, OfferId};
use crate::tracking::received::Received;

/// The name of the Durable Object that keeps an offer's ledger. The zero is the number of the shard: an offer that
/// outgrows one object gets more.
pub fn object_name(offer: OfferId) -> String {
    format!("offer:{offer}:0")
}

/// The name of the object, of the same class, whose raw log has the postbacks that can be tied to no offer.
pub const UNATTRIBUTED: &str = "unattributed";

/// A request to the object, in JSON; the answer is the JSON that is named here, or none if it failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Record a conversion: [`super::Outcome`].
    Claim {
        /// The conversion.
        conversion: Box<Conversion>,
        /// What it must not repeat.
        uniqueness: Uniqueness,
        /// The postback, for the log.
        received: Received,
    },
    /// Record a conversion under its unique ID: [`super::UniqueOutcome`].
    ClaimUnique {
        /// The conversion.
        conversion: Box<Conversion>,
        /// Under what the registry has granted the ID.
        epoch: Epoch,
        /// The postback, for the log.
        received: Received,
    },
    /// Another offer wants a unique ID that this one holds: [`super::Fenced`].
    Fence {
        /// The ID.
        unique_id: String,
        /// Under what this offer holds it.
        epoch: Epoch,
    },
    /// Keep a refusal, and log it: `null`.
    Refuse {
        /// What is kept with the conversions; nothing of a refusal without a code.
        record: Option<Box<Conversion>>,
        /// The postback.
        received: Received,
        /// What the sender was told.
        answer: String,
    },
    /// Count clicks: `null`.
    Clicks(Vec<(ClickKey, u32)>),
    /// Show conversions and refusals, newest first: a list of [`super::Recorded`].
    Conversions(ConversionFilter),
    /// Show one conversion or refusal: [`super::Recorded`] or `null`.
    Conversion(i64),
    /// Approve or reject a pending conversion: [`super::Decided`].
    Decide(i64, Status),
    /// Show the raw log, newest first: a list of [`crate::tracking::received::LoggedPostback`].
    Postbacks(LogFilter),
    /// Show the counts for a report: a list of [`super::report::ReportLine`].
    Report(ReportRequest),
    /// Whether a conversion like this would repeat one: a boolean.
    WouldRepeat {
        /// The transaction.
        transaction_id: String,
        /// The goal.
        goal: Option<GoalId>,
    },
}
