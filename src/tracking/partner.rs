//! Partners (on the wire: affiliates), who send visitors.

use serde::{Deserialize, Serialize};

use super::id::PartnerId;
use super::text::Name;

/// A partner, as published to the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    #[serde(default)]
    pub status: PartnerStatus,
}

impl Partner {
    /// The key of a partner's document in KV.
    pub fn key(id: PartnerId) -> String {
        format!("partner:{id}")
    }
}

/// Whether a partner may send visitors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PartnerStatus {
    /// It may.
    #[default]
    Active,
    /// Its links lead to the fallback.
    Blocked,
}
