//! The parameters of queries: each of a type, each by its name, and no others.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::report::GroupBy;
use crate::catalog::kind::Kind;
use crate::catalog::list::Sort;
use crate::tracking::conversion::Status;
use crate::tracking::id::{AdvertiserId, GoalId, OfferId, PartnerId};
use crate::tracking::query;

/// A parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}: {reason}")]
pub struct InvalidParameter {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidParameter {
    /// A parameter that is wrong for this reason.
    pub fn new(name: &str, reason: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}

/// A value that a parameter can have.
pub trait Parameter: Sized {
    /// Reads it; the error says what it is not.
    fn read(text: &str) -> Result<Self, String>;

    /// Its JSON schema.
    #[cfg(test)]
    fn schema() -> serde_json::Value;
}

/// The name of a parameter: that of the field, unless another one is given.
macro_rules! name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $name:literal) => {
        $name
    };
}

macro_rules! query {
    ($(#[$doc:meta])* $query:ident { $($(#[$field_doc:meta])* $field:ident $(= $name:literal)?: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $query {
            $($(#[$field_doc])* pub $field: Option<$type>,)*
        }

        impl $query {
            /// Reads a query.
            ///
            /// # Errors
            /// The first parameter that is unknown, stands twice or cannot be read.
            pub fn parse(query: &str) -> Result<Self, InvalidParameter> {
                let mut found = Self::default();
                for (name, value) in pairs(query)? {
                    match name.as_str() {
                        $(name!($field $($name)?) => read(&mut found.$field, &name, &value)?,)*
                        _ => return Err(InvalidParameter::new(&name, "there is no such parameter")),
                    }
                }
                Ok(found)
            }

            /// Names, descriptions and schemas.
            #[cfg(test)]
            pub fn parameters() -> Vec<(&'static str, String, serde_json::Value)> {
                vec![$((name!($field $($name)?), doc(&[$(stringify!($field_doc)),*]), <$type as Parameter>::schema()),)*]
            }
        }
    };
}

query!(
    /// Of lists of advertisers, partners and offers.
    ListQuery {
        /// The most entities of one page.
        limit: Limit,
        /// `next` of the page before.
        cursor: u32,
        /// By what to sort; with `-` in front, the last come first.
        sort: SortBy,
        /// Only with this name.
        name: String,
        /// Only with this `ref`.
        reference = "ref": String,
        /// Only of this status.
        status: String,
        /// Only of this advertiser.
        advertiser_id: AdvertiserId,
        /// Only of this protocol.
        protocol: String,
        /// Only private ones, or only others.
        private: bool,
    }
);

query!(
    /// Of postback URLs.
    PostbackUrlQuery {
        /// The URL of a goal.
        goal_id: GoalId,
    }
);

query!(
    /// Of the raw logs.
    PostbacksQuery {
        /// The most postbacks of one page.
        limit: Limit,
        /// `next` of the page before.
        cursor: i64,
        /// Only what named this transaction ID, as it was sent.
        transaction_id: String,
        /// Only accepted ones, or only refused ones.
        accepted: bool,
    }
);

query!(
    /// Of the list of conversions.
    ConversionsQuery {
        /// The most conversions of one page.
        limit: Limit,
        /// `next` of the page before.
        cursor: String,
        /// Only of this offer.
        offer_id: OfferId,
        /// Only of this advertiser's offers.
        advertiser_id: AdvertiserId,
        /// Only of this partner.
        partner_id: PartnerId,
        /// Only of this status.
        status: Status,
        /// Only refusals with this code.
        code: u8,
        /// Only of this transaction.
        transaction_id: String,
        /// Only what came then or later.
        from: DateTime<Utc>,
        /// Only what came before.
        to: DateTime<Utc>,
    }
);

query!(
    /// Of reports.
    ReportQuery {
        /// By what to group, separated by commas; only one of country, source and the sub IDs.
        group_by: GroupBy,
        /// From when, rounded down to the hour; without it, 30 days before `to`.
        from: DateTime<Utc>,
        /// To when, rounded up to the hour; without it, now.
        to: DateTime<Utc>,
        /// Only of this offer.
        offer_id: OfferId,
        /// Only of this advertiser's offers.
        advertiser_id: AdvertiserId,
        /// Only of this partner.
        partner_id: PartnerId,
        /// Only conversions of this goal.
        goal_id: GoalId,
    }
);

query!(
    /// Of the audit trail.
    AuditQuery {
        /// The most entries of one page.
        limit: Limit,
        /// `next` of the page before.
        cursor: i64,
        /// Only of this kind.
        kind: Kind,
        /// Only with this ID.
        entity_id: u32,
    }
);

impl ListQuery {
    /// The filters of a kind that were set.
    ///
    /// # Errors
    /// When a filter was set that this kind does not have.
    pub fn filters(&self, kind: Kind) -> Result<Vec<(String, String)>, InvalidParameter> {
        let set = [
            ("name", self.name.clone()),
            ("ref", self.reference.clone()),
            ("status", self.status.clone()),
            ("advertiser_id", self.advertiser_id.map(|id| id.to_string())),
            ("protocol", self.protocol.clone()),
            ("private", self.private.map(|private| private.to_string())),
        ];
        let mut filters = Vec::new();
        for (name, value) in set {
            if let Some(value) = value {
                if !kind.filters().contains(&name) {
                    return Err(InvalidParameter::new(name, "there is no such parameter"));
                }
                filters.push((name.to_owned(), value));
            }
        }
        Ok(filters)
    }
}

/// Reads the query of an operation that takes no parameters.
///
/// # Errors
/// When there is one.
pub fn none(query: &str) -> Result<(), InvalidParameter> {
    match pairs(query)?.first() {
        Some((name, _)) => Err(InvalidParameter::new(name, "there is no such parameter")),
        None => Ok(()),
    }
}

/// The decoded pairs of a query.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, InvalidParameter> {
    let pairs = query::pairs(query)
        .map_err(|_| InvalidParameter::new("", "the query is longer than 8 KB"))?;
    Ok(pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect())
}

fn read<T: Parameter>(
    place: &mut Option<T>,
    name: &str,
    value: &str,
) -> Result<(), InvalidParameter> {
    if place.is_some() {
        return Err(InvalidParameter::new(name, "stands twice"));
    }
    *place = Some(T::read(value).map_err(|reason| InvalidParameter::new(name, reason))?);
    Ok(())
}

/// How many rows a page has: 1 to 1,000, 100 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub u32);

impl Limit {
    const MAX: u32 = 1_000;
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

impl Parameter for Limit {
    fn read(text: &str) -> Result<Self, String> {
        match digits(text).unwrap_or_default() {
            limit @ 1..=Self::MAX => Ok(Self(limit)),
            _ => Err(format!("is not between 1 and {}", Self::MAX)),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "integer", "minimum": 1, "maximum": Self::MAX, "default": Self::default().0})
    }
}

/// By what a list is sorted, and whether the last come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortBy(pub Sort, pub bool);

impl SortBy {
    const NAMES: [(&'static str, Self); 6] = [
        ("id", Self(Sort::Id, false)),
        ("-id", Self(Sort::Id, true)),
        ("name", Self(Sort::Name, false)),
        ("-name", Self(Sort::Name, true)),
        ("updated_at", Self(Sort::UpdatedAt, false)),
        ("-updated_at", Self(Sort::UpdatedAt, true)),
    ];
}

impl Default for SortBy {
    fn default() -> Self {
        Self(Sort::Id, false)
    }
}

impl Parameter for SortBy {
    fn read(text: &str) -> Result<Self, String> {
        choose(text, &Self::NAMES)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": Self::NAMES.map(|(name, _)| name), "default": "id"})
    }
}

/// The choice with this name.
pub(super) fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let names = || {
        choices
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, choice)| *choice)
        .ok_or_else(|| format!("is none of {}", names()))
}

/// Decimal digits, and nothing else.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl Parameter for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "string"})
    }
}

impl Parameter for bool {
    fn read(text: &str) -> Result<Self, String> {
        choose(text, &[("true", true), ("false", false)])
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "boolean"})
    }
}

impl Parameter for DateTime<Utc> {
    fn read(text: &str) -> Result<Self, String> {
        DateTime::parse_from_rfc3339(text)
            .map(|time| time.to_utc())
            .map_err(|_| "is not a time like 2026-06-01T00:00:00Z".to_owned())
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"type": "string", "format": "date-time"})
    }
}

impl Parameter for Status {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|()| "is none of approved, pending, rejected".to_owned())
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": ["approved", "pending", "rejected"]})
    }
}

impl Parameter for Kind {
    fn read(text: &str) -> Result<Self, String> {
        choose(
            text,
            &[
                ("advertiser", Self::Advertiser),
                ("partner", Self::Partner),
                ("offer", Self::Offer),
            ],
        )
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({"enum": ["advertiser", "partner", "offer"]})
    }
}

macro_rules! number {
    ($($type:ty: $max:expr),+) => {
        $(impl Parameter for $type {
            fn read(text: &str) -> Result<Self, String> {
                digits(text)
                    .filter(|number| (0..=$max).contains(number))
                    .ok_or_else(|| format!("is not a number up to {}", $max))
            }

            #[cfg(test)]
            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "integer", "minimum": 0, "maximum": $max})
            }
        })+
    };
}

// SQL integers pass through a JavaScript number.
number!(u8: u8::MAX, u32: u32::MAX, i64: (1_i64 << 53) - 1);

macro_rules! id {
    ($($type:ty),+) => {
        $(impl Parameter for $type {
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: crate::tracking::id::IdError| error.to_string())
            }

            #[cfg(test)]
            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "integer", "minimum": 1, "maximum": Self::MAX})
            }
        })+
    };
}

id!(AdvertiserId, GoalId, OfferId, PartnerId);

/// The text of a doc comment, from `doc = " text"`.
#[cfg(test)]
fn doc(lines: &[&str]) -> String {
    let lines = lines.iter().filter_map(|line| line.split('"').nth(1));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_known_and_nothing_else() {
        let query = AuditQuery::parse("limit=5&kind=offer").expect("query");
        assert_eq!(
            (query.limit, query.kind, query.entity_id),
            (Some(Limit(5)), Some(Kind::Offer), None)
        );
        let check = |query: &str, expected: &str| {
            let error = AuditQuery::parse(query).expect_err(query).to_string();
            assert_eq!(error, expected);
        };
        check("limit=0", "limit: is not between 1 and 1000");
        check("limit=+5", "limit: is not between 1 and 1000");
        check("limit=", "limit: is not between 1 and 1000");
        check("kind=x", "kind: is none of advertiser, partner, offer");
        check("limit=1&limit=2", "limit: stands twice");
        check("x=1", "x: there is no such parameter");
        assert_eq!(
            AuditQuery::parameters()[0].1,
            "The most entries of one page."
        );
    }
}
