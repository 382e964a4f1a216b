//! A conversion, or a refused attempt at one: everything that was known, as the ledger keeps it.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::click_page::Session;
use super::id::{GoalId, PartnerId};
use super::money::{Currency, Money};
use super::rejection::Rejection;
use super::values::AdvertiserValues;

/// Whether a conversion counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    Approved,
    /// Someone has to say so first.
    Pending,
    /// It does not.
    Rejected,
}

impl Status {
    /// The name, on the wire and in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Approved, Self::Pending, Self::Rejected]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(())
    }
}

/// Whether the session of a converted click is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It was read from the click's page.
    Recorded,
    /// KV did not show the page when the postback came; it is looked for again. Who is paid stands in the transaction
    /// ID.
    Awaited,
    /// The page was looked for during a day, and never turned up.
    Missing,
}

impl SessionState {
    /// The name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Awaited => "awaited",
            Self::Missing => "missing",
        }
    }
}

impl std::str::FromStr for SessionState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Recorded, Self::Awaited, Self::Missing]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(())
    }
}

/// The click behind a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConvertedClick {
    /// The transaction ID.
    pub transaction_id: String,
    /// When it happened, to the second.
    #[serde(with = "super::rfc3339")]
    #[cfg_attr(test, schemars(with = "crate::api::openapi::Time"))]
    pub clicked_at: DateTime<Utc>,
    /// Whether its session is known.
    pub session_state: SessionState,
}

/// A conversion, or a refused attempt at one. The offer is the one of the ledger that keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conversion {
    /// The click it belongs to; `None` for a postback by partner ID.
    pub click: Option<ConvertedClick>,
    /// What was recorded of the click; of a postback by partner ID, the values it brought itself.
    pub session: Session<'static>,
    /// Who is paid.
    pub partner_id: PartnerId,
    /// The goal; `None` for the default conversion.
    pub goal_id: Option<GoalId>,
    /// Whether it counts.
    pub status: Status,
    /// The code of the refusal, if it was one.
    pub code: Option<u8>,
    /// The sale, in `sale_currency`.
    pub amount: Option<Money>,
    /// The currency of the sale, where the advertiser named one.
    pub sale_currency: Option<Currency>,
    /// What the partner earns, in `currency`.
    pub payout: Money,
    /// What the advertiser owes, in `currency`.
    pub revenue: Money,
    /// The offer's currency.
    pub currency: Currency,
    /// When the postback arrived, to the millisecond.
    #[serde(with = "super::rfc3339")]
    #[cfg_attr(test, schemars(with = "crate::api::openapi::Time"))]
    pub received_at: DateTime<Utc>,
    /// Where the postback came from.
    pub sender_ip: Option<IpAddr>,
    /// The advertiser's number for the conversion.
    pub conversion_unique_id: Option<String>,
    /// The promotion that the visitor used.
    pub promo_code: Option<String>,
    /// The advertiser's own values.
    pub advertiser_values: AdvertiserValues<'static>,
}

impl Conversion {
    /// The same as a refused attempt, which earns nobody anything.
    #[must_use]
    pub fn refused(self, why: &Rejection) -> Self {
        Self {
            status: Status::Rejected,
            code: why.code(),
            payout: Money::default(),
            revenue: Money::default(),
            ..self
        }
    }
}

/// Which other conversions of the ledger rule out a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uniqueness {
    /// Any of the same transaction and goal.
    Transaction,
    /// None.
    Unlimited,
}

/// A conversion that has passed all checks that do not need to know the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It must not repeat what its ledger has.
    InLedger(Conversion, Uniqueness),
    /// Its unique ID must be new in the whole network.
    InNetwork(Conversion, String),
}
