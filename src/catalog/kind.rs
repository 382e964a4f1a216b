//! The kinds of things that a network configures.

use serde::{Deserialize, Serialize};

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Advertiser,
    Partner,
    Offer,
}

impl Kind {
    /// The name of one, in the database and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Advertiser => "advertiser",
            Self::Partner => "partner",
            Self::Offer => "offer",
        }
    }

    /// The fields by which a list can be filtered.
    pub fn filters(self) -> &'static [&'static str] {
        match self {
            Self::Advertiser => &["name", "ref"],
            Self::Partner => &["name", "ref", "status"],
            Self::Offer => &[
                "name",
                "ref",
                "status",
                "advertiser_id",
                "protocol",
                "private",
            ],
        }
    }

    /// The fields that only Tidemark sets: refused in what a client sends.
    pub(super) fn read_only(self) -> &'static [&'static str] {
        match self {
            Self::Advertiser => &["next_security_token"],
            Self::Partner | Self::Offer => &[],
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Advertiser, Self::Partner, Self::Offer]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}
