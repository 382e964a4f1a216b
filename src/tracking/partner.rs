//! Partners (on the wire: affiliates), who send visitors.

use serde::{Deserialize, Serialize};

use super::id::PartnerId;
use super::text::Name;

/// A partner, as published to the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Its ID, `aff_id` on the wire.
    pub id: PartnerId,
    /// What the network calls it.
    pub name: Name,
    /// Its ID in the network's own systems.
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// Whether it may send visitors.
    pub status: PartnerStatus,
}

impl Partner {
    /// The key of a partner's document in KV.
    pub fn key(id: PartnerId) -> String {
        format!("partner:{id}")
    }
}

/// Whether a partner may send visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartnerStatus {
    /// It may.
    Active,
    /// Its links lead to the fallback.
    Blocked,
}
