//! What the edge and the object that keeps a registry say to each other.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Holding;
use crate::tracking::id::OfferId;

/// The name of the Durable Object that keeps the registry of an ID: the first 12 bits of its SHA-256. 4,096 objects
/// take 10 GB each; at 100 bytes an ID, that is room for 400 billion.
pub fn object_name(unique_id: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(unique_id).into();
    format!(
        "unique:{:03x}",
        u16::from_be_bytes([digest[0], digest[1]]) >> 4
    )
}

/// A request to the object, in JSON; the answer is the JSON that is named here, or none if it failed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// The ID in question.
    pub unique_id: String,
    /// What is wanted.
    pub request: Request,
}

/// What is wanted of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Give the ID to this offer: [`super::Claimed`].
    Claim(OfferId),
    /// Give the ID to another offer, whose holder is fenced: [`super::Claimed`].
    Transfer {
        /// The holder so far.
        from: Holding,
        /// The offer that wants it.
        to: OfferId,
    },
    /// The holder has recorded the ID: `null`.
    Confirm(OfferId),
    /// Whether a conversion is known to have the ID: a boolean.
    Peek,
}
