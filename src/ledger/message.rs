//! What the edge and the object that keeps a ledger say to each other.

use serde::{Deserialize, Serialize};

use super::Recorded;
use crate::registry::Epoch;
use crate::tracking::conversion::{Conversion, Uniqueness};
use crate::tracking::id::OfferId;

/// The name of the Durable Object that keeps an offer's ledger. The zero is the number of the shard: an offer that
/// outgrows one object gets more.
pub fn object_name(offer: OfferId) -> String {
    format!("offer:{offer}:0")
}

/// A request to the object, as the body of a POST to any path; the answer is 200 with the JSON that is named here, or
/// 500.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Record a conversion: [`super::Outcome`].
    Claim {
        /// The conversion.
        conversion: Box<Conversion>,
        /// What it must not repeat.
        uniqueness: Uniqueness,
    },
    /// Record a conversion under its unique ID: [`super::UniqueOutcome`].
    ClaimUnique {
        /// The conversion.
        conversion: Box<Conversion>,
        /// Under what the registry has granted the ID.
        epoch: Epoch,
    },
    /// Another offer wants a unique ID that this one holds: [`super::Fenced`].
    Fence {
        /// The ID.
        unique_id: String,
        /// Under what this offer holds it.
        epoch: Epoch,
    },
    /// Keep a refusal: `null`.
    Refuse(Box<Conversion>),
    /// Show the newest rows: [`Newest`].
    Newest {
        /// Only what came before the rows with this ID.
        before: i64,
        /// The most of each kind.
        limit: u32,
    },
}

/// The newest rows of a ledger, newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Newest {
    /// The conversions.
    pub conversions: Vec<Recorded>,
    /// The refusals.
    pub refusals: Vec<Recorded>,
}
