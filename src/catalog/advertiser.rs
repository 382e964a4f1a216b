//! Advertisers as the catalog keeps them.

use serde::{Deserialize, Serialize};

use crate::tracking::id::AdvertiserId;
use crate::tracking::offer;
use crate::tracking::secret::Secret;
use crate::tracking::text::Name;

/// Who pays for conversions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Advertiser {
    /// Its ID.
    pub id: AdvertiserId,
    /// What the network calls it.
    pub name: Name,
    /// Its ID in the network's own systems.
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// The applied token, which postbacks must carry where an offer asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<Secret>,
    /// A token that was made, but is not applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_security_token: Option<Secret>,
}

impl From<Advertiser> for offer::Advertiser {
    /// What the edge needs to know of it.
    fn from(advertiser: Advertiser) -> Self {
        Self {
            id: advertiser.id,
            name: advertiser.name,
            reference: advertiser.reference,
            security_token: advertiser.security_token,
        }
    }
}
