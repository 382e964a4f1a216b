//! Offers and the advertisers behind them. A value of these types is valid: what is not cannot be read.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::id::{AdvertiserId, GoalId, OfferId, PartnerId};
use super::money::{Currency, Rate};
use super::offer_url::{OfferUrl, PlainUrl};
use super::secret::Secret;
use super::text::Name;
use super::whitelist::{self, WhitelistEntry};

/// All that the edge needs to know of an offer: what is published under `offer:<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferDocument {
    /// The version of the document's format.
    #[serde(rename = "v")]
    pub version: DocumentVersion,
    /// The offer.
    pub offer: Offer,
    /// Its advertiser.
    pub advertiser: Advertiser,
}

/// The one format of [`OfferDocument`] that this build reads; another one is an error, never guessed at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct DocumentVersion;

impl TryFrom<u8> for DocumentVersion {
    type Error = &'static str;

    fn try_from(version: u8) -> Result<Self, Self::Error> {
        if version == 1 {
            Ok(Self)
        } else {
            Err("is not 1")
        }
    }
}

impl From<DocumentVersion> for u8 {
    fn from(_: DocumentVersion) -> Self {
        1
    }
}

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
}

/// What visitors are sent to and partners are paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, named as in the API"
)]
pub struct Offer {
    /// Its ID.
    pub id: OfferId,
    /// What the network calls it.
    pub name: Name,
    /// Its ID in the network's own systems.
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// Who pays for it.
    pub advertiser_id: AdvertiserId,
    /// Whether it takes clicks. Postbacks for earlier clicks count all the same.
    #[serde(default)]
    pub status: OfferStatus,
    /// When it stops taking clicks, whatever the status.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "super::rfc3339::option"
    )]
    #[cfg_attr(test, schemars(with = "Option<crate::api::openapi::Time>"))]
    pub expires_at: Option<DateTime<Utc>>,
    /// How conversions are reported.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where a click goes.
    pub offer_url: OfferUrl,
    /// A page that shows the offer, without a click.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<PlainUrl>,
    /// Where a click goes that the offer does not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_url: Option<PlainUrl>,
    /// How long after the click a conversion counts.
    #[serde(default)]
    pub session_hours: SessionHours,
    /// Whether one transaction may convert more than once.
    #[serde(default)]
    pub multiple_conversions: bool,
    /// Whether a `conversion_unique_id`, new in the whole network, takes the place of the check by transaction.
    #[serde(default)]
    pub unique_id: bool,
    /// From where postbacks may come; empty: from anywhere.
    #[serde(default)]
    pub whitelist: Whitelist,
    /// Whether postbacks must carry a `Referer`.
    #[serde(default)]
    pub referral_required: bool,
    /// Whether postbacks must carry the advertiser's token.
    #[serde(default)]
    pub security_token: bool,
    /// Whether conversions stay pending until someone approves them.
    #[serde(default)]
    pub approval: bool,
    /// What the partner earns.
    #[serde(default)]
    pub payout: Rate,
    /// What the advertiser owes.
    #[serde(default)]
    pub revenue: Rate,
    /// The currency of payout and revenue.
    pub currency: Currency,
    /// Whether only the partners in `partners` may run it.
    #[serde(default)]
    pub private: bool,
    /// The partners of a private offer.
    #[serde(default)]
    pub partners: Vec<PartnerId>,
    /// What else than the default conversion a visitor can do.
    #[serde(default)]
    pub goals: Goals,
    /// Links made for another version are stale; raised when the protocol changes.
    #[serde(default = "first_link_version")]
    pub link_version: u32,
}

/// The version of a link that names none.
pub const FIRST_LINK_VERSION: u32 = 1;

fn first_link_version() -> u32 {
    FIRST_LINK_VERSION
}

/// Whether an offer takes clicks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum OfferStatus {
    #[default]
    Active,
    Paused,
    Expired,
    Deleted,
}

/// How conversions of an offer are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A postback with the transaction ID.
    #[default]
    Server,
    /// A postback with the partner ID.
    ServerAffiliate,
    /// A browser pixel in a frame.
    Http,
    /// The same over TLS.
    Https,
    /// A browser pixel as an image.
    HttpImg,
    /// The same over TLS.
    HttpsImg,
}

/// How long a session lasts: 1 to 8,760 hours (a year), 720 (30 days) unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("minimum" = 1, "maximum" = 8760)))]
#[serde(try_from = "u16", into = "u16")]
pub struct SessionHours(u16);

impl SessionHours {
    const MAX: u16 = 365 * 24;

    /// The same as a span of time.
    pub fn duration(self) -> TimeDelta {
        TimeDelta::hours(i64::from(self.0))
    }
}

impl Default for SessionHours {
    fn default() -> Self {
        Self(720)
    }
}

impl TryFrom<u16> for SessionHours {
    type Error = &'static str;

    fn try_from(hours: u16) -> Result<Self, Self::Error> {
        match hours {
            1..=Self::MAX => Ok(Self(hours)),
            _ => Err("is not between 1 and 8760"),
        }
    }
}

impl From<SessionHours> for u16 {
    fn from(hours: SessionHours) -> Self {
        hours.0
    }
}

/// The whitelist of an offer: at most 100 entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "Vec<WhitelistEntry>", into = "Vec<WhitelistEntry>")]
pub struct Whitelist(Vec<WhitelistEntry>);

impl Whitelist {
    /// Whether a postback may come from `address`; an unknown address passes only where there is no list.
    pub fn admits(&self, address: Option<std::net::IpAddr>) -> bool {
        self.0.is_empty()
            || address.is_some_and(|address| self.0.iter().any(|entry| entry.contains(address)))
    }
}

impl TryFrom<Vec<WhitelistEntry>> for Whitelist {
    type Error = &'static str;

    fn try_from(entries: Vec<WhitelistEntry>) -> Result<Self, Self::Error> {
        if entries.len() > whitelist::MAX_ENTRIES {
            Err("has more than 100 entries")
        } else {
            Ok(Self(entries))
        }
    }
}

impl From<Whitelist> for Vec<WhitelistEntry> {
    fn from(whitelist: Whitelist) -> Self {
        whitelist.0
    }
}

/// Something a visitor can do on an offer besides the default conversion, with its own terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// Its ID, unique in the offer.
    pub id: GoalId,
    /// What the network calls it.
    pub name: Name,
    /// Its ID in the advertiser's systems (`goal_ref` on the wire).
    #[serde(default, rename = "ref")]
    pub reference: String,
    /// What the partner earns.
    #[serde(default)]
    pub payout: Rate,
    /// What the advertiser owes.
    #[serde(default)]
    pub revenue: Rate,
    /// Whether one transaction may reach it more than once.
    #[serde(default)]
    pub multiple_conversions: bool,
}

/// The goals of an offer: at most 100, each ID and each reference once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "Vec<Goal>", into = "Vec<Goal>")]
pub struct Goals(Vec<Goal>);

impl Goals {
    const MAX: usize = 100;

    /// The goal with this ID.
    pub fn by_id(&self, id: GoalId) -> Option<&Goal> {
        self.0.iter().find(|goal| goal.id == id)
    }

    /// The goal with this reference.
    pub fn by_reference(&self, reference: &str) -> Option<&Goal> {
        self.0.iter().find(|goal| goal.reference == reference)
    }
}

impl TryFrom<Vec<Goal>> for Goals {
    type Error = &'static str;

    fn try_from(goals: Vec<Goal>) -> Result<Self, Self::Error> {
        if goals.len() > Self::MAX {
            return Err("has more than 100 goals");
        }
        for (index, goal) in goals.iter().enumerate() {
            let same = |earlier: &Goal| {
                earlier.id == goal.id
                    || (!goal.reference.is_empty() && earlier.reference == goal.reference)
            };
            if goals[..index].iter().any(same) {
                return Err("has two goals with one id or ref");
            }
        }
        Ok(Self(goals))
    }
}

impl From<Goals> for Vec<Goal> {
    fn from(goals: Goals) -> Self {
        goals.0
    }
}

impl Offer {
    /// Whether it takes clicks at `now`.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.status == OfferStatus::Active && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a partner may run it.
    pub fn admits(&self, partner: PartnerId) -> bool {
        !self.private || self.partners.contains(&partner)
    }
}

impl OfferDocument {
    /// The key of an offer's document in KV.
    pub fn key(id: OfferId) -> String {
        format!("offer:{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document of an offer with the fewest fields, and its defaults written out.
    #[test]
    fn pins_the_document() {
        let short = r#"{
            "v": 1,
            "offer": {
                "id": 1, "name": "Shop", "advertiser_id": 1, "status": "active", "protocol": "server",
                "offer_url": "https://shop.example/?t={transaction_id}", "currency": "USD"
            },
            "advertiser": {"id": 1, "name": "Shop Inc"}
        }"#;
        let document: OfferDocument = serde_json::from_str(short).expect("document");
        let written = serde_json::to_string(&document).expect("json");
        assert_eq!(
            written,
            concat!(
                r#"{"v":1,"offer":{"id":1,"name":"Shop","ref":"","advertiser_id":1,"status":"active","#,
                r#""protocol":"server","offer_url":"https://shop.example/?t={transaction_id}","session_hours":720,"#,
                r#""multiple_conversions":false,"unique_id":false,"whitelist":[],"referral_required":false,"#,
                r#""security_token":false,"approval":false,"payout":{},"revenue":{},"currency":"USD","#,
                r#""private":false,"partners":[],"goals":[],"link_version":1},"#,
                r#""advertiser":{"id":1,"name":"Shop Inc","ref":""}}"#,
            )
        );
        assert_eq!(
            serde_json::from_str::<OfferDocument>(&written).expect("document"),
            document
        );
    }

    #[test]
    fn refuses_with_the_reason() {
        let check = |field: &str, message: &str| {
            let json = format!(
                r#"{{"id": 1, "name": "Shop", "advertiser_id": 1, "status": "active", "protocol": "server",
                    "offer_url": "https://shop.example/", "currency": "USD", {field}}}"#
            );
            let error = serde_json::from_str::<Offer>(&json).expect_err(field);
            assert!(error.to_string().contains(message), "{field}: {error}");
        };
        let goal = r#"{"id": 1, "name": "signup", "ref": "s"}"#;
        let entries = vec![r#""192.0.2.1""#; 101].join(",");
        check(r#""session_hours": 0"#, "between 1 and 8760");
        check(r#""session_hours": 8761"#, "between 1 and 8760");
        check(r#""payout": {"flat": "1.23456"}"#, "4 places");
        check(r#""payout": {"flat": 1.5}"#, "expected a string");
        check(r#""payout": {"percent": "101"}"#, "from 0 to 100");
        check(r#""whitelist": ["example.com"]"#, "is not an IP address");
        check(&format!(r#""whitelist": [{entries}]"#), "more than 100");
        check(&format!(r#""goals": [{goal}, {goal}]"#), "two goals");
        check(
            r#""fallback_url": "https://shop.example/{source}""#,
            "holds a macro",
        );
        check(
            r#""expires_at": "tomorrow""#,
            "is not a time like 2026-06-01T00:00:00Z",
        );
        check(r#""whitelst": []"#, "unknown field `whitelst`");
    }
}
