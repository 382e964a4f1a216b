//! Rollups: how many clicks and conversions each hour had, and what they are worth.
//!
//! A report reads these, so its cost depends on the hours and groups it shows, not on the conversions behind them.
//! Each event counts once by itself ([`Dimension::All`]), and once for each of its values by which a report can group.
//! Money is that of approved conversions.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Ledger;
use crate::sql::{Sql, SqlError, Value};
use crate::tracking::click_page::{self, Session};
use crate::tracking::conversion::{Conversion, SessionState, Status};
use crate::tracking::id::{OfferId, PartnerId};

/// The most values of one dimension that the clicks of one hour are counted by; the others count as [`OTHER`].
pub const MAX_VALUES: i64 = 1_000;

/// What stands for the values beyond [`MAX_VALUES`].
pub const OTHER: &str = "(other)";

const HOUR_MS: i64 = 3_600_000;

/// The goal of the default conversion, in the database.
const NO_GOAL: i64 = 0;

/// By what the events of a click session can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dimension {
    /// All events, whatever their values.
    All,
    Country,
    Source,
    AffSub,
    AffSub2,
    AffSub3,
    AffSub4,
    AffSub5,
}

impl Dimension {
    const OF_SESSION: [Self; 7] = [
        Self::Country,
        Self::Source,
        Self::AffSub,
        Self::AffSub2,
        Self::AffSub3,
        Self::AffSub4,
        Self::AffSub5,
    ];

    /// The number in the database.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::All => 0,
            Self::Country => 1,
            Self::Source => 2,
            Self::AffSub => 3,
            Self::AffSub2 => 4,
            Self::AffSub3 => 5,
            Self::AffSub4 => 6,
            Self::AffSub5 => 7,
        }
    }

    fn value<'s>(self, session: &'s Session<'_>) -> &'s str {
        let sub_id = |index: usize| {
            session
                .sub_ids
                .values()
                .get(index)
                .map_or("", AsRef::as_ref)
        };
        match self {
            Self::All => "",
            Self::Country => &session.country,
            // In the order of `SubIds::NAMES`.
            Self::Source => sub_id(0),
            Self::AffSub => sub_id(1),
            Self::AffSub2 => sub_id(2),
            Self::AffSub3 => sub_id(3),
            Self::AffSub4 => sub_id(4),
            Self::AffSub5 => sub_id(5),
        }
    }
}

/// The values of a session by which its events are counted.
fn values<'s>(session: &'s Session<'_>) -> impl Iterator<Item = (Dimension, &'s str)> {
    Dimension::OF_SESSION
        .into_iter()
        .map(|dimension| (dimension, dimension.value(session)))
        .filter(|(_, value)| !value.is_empty())
}

/// The hour of a time, in hours since 1970.
pub fn hour(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis().div_euclid(HOUR_MS)
}

/// What clicks are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickKey {
    /// The hour.
    pub hour: i64,
    /// The partner.
    pub partner: PartnerId,
    /// The dimension.
    pub dimension: Dimension,
    /// The value in it.
    pub value: String,
}

/// Clicks by hour, partner and dimension, and then by value.
type ClicksOfOffer = BTreeMap<(i64, PartnerId, Dimension), BTreeMap<String, u32>>;

/// The clicks of some pages, counted.
#[derive(Debug, Default)]
pub struct ClickCounts {
    of_offer: BTreeMap<OfferId, ClicksOfOffer>,
    len: usize,
}

impl ClickCounts {
    /// Counts the clicks of a page.
    pub fn add_page(&mut self, page: &str) {
        for (click, session) in click_page::clicks(page) {
            let hour = hour(click.page.time().to_utc());
            let counts = self.of_offer.entry(click.offer).or_default();
            for (dimension, value) in std::iter::once((Dimension::All, "")).chain(values(&session))
            {
                let counts = counts.entry((hour, click.partner, dimension)).or_default();
                // Most values have been seen before, and need no copy.
                if let Some(clicks) = counts.get_mut(value) {
                    *clicks += 1;
                } else {
                    counts.insert(value.to_owned(), 1);
                    self.len += 1;
                }
            }
        }
    }

    /// How many counts there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The counts of each offer.
    pub fn into_batches(self) -> impl Iterator<Item = (OfferId, Vec<(ClickKey, u32)>)> {
        self.of_offer.into_iter().map(|(offer, counts)| {
            let counts = counts
                .into_iter()
                .flat_map(|((hour, partner, dimension), counts)| {
                    counts.into_iter().map(move |(value, clicks)| {
                        let key = ClickKey {
                            hour,
                            partner,
                            dimension,
                            value,
                        };
                        (key, clicks)
                    })
                });
            (offer, counts.collect())
        })
    }
}

impl<S: Sql> Ledger<S> {
    /// Adds clicks that an isolate has counted.
    pub fn count_clicks(&self, counts: Vec<(ClickKey, u32)>) -> Result<(), SqlError> {
        self.sql.atomically(|| self.add_clicks(counts))
    }

    fn add_clicks(&self, counts: Vec<(ClickKey, u32)>) -> Result<(), SqlError> {
        let mut full = HashMap::new();
        for (mut key, clicks) in counts {
            if key.dimension != Dimension::All {
                let place = (key.hour, key.dimension);
                let known = full.get(&place).copied();
                let is_full = known.map_or_else(|| self.is_full(&key), Ok)?;
                full.insert(place, is_full);
                if is_full && !self.is_counted(&key)? {
                    OTHER.clone_into(&mut key.value);
                }
            }
            self.sql.run(
                "INSERT INTO click_counts (hour, dimension, partner_id, value, clicks) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT DO UPDATE SET clicks = clicks + excluded.clicks",
                vec![
                    key.hour.into(),
                    key.dimension.number().into(),
                    i64::from(u32::from(key.partner)).into(),
                    key.value.into(),
                    i64::from(clicks).into(),
                ],
            )?;
        }
        Ok(())
    }

    /// Whether an hour has so many values of a dimension that no more are told apart.
    fn is_full(&self, key: &ClickKey) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT COUNT(*) FROM click_counts WHERE hour = ? AND dimension = ?",
            vec![key.hour.into(), key.dimension.number().into()],
        )?;
        let values = rows
            .into_iter()
            .next()
            .map_or(Ok(0), |mut row| row.integer())?;
        Ok(values >= MAX_VALUES)
    }

    fn is_counted(&self, key: &ClickKey) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT 1 FROM click_counts WHERE hour = ? AND dimension = ? AND partner_id = ? AND value = ?",
            vec![
                key.hour.into(),
                key.dimension.number().into(),
                i64::from(u32::from(key.partner)).into(),
                key.value.as_str().into(),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    /// Counts a new conversion. The values of a session that is not known yet are counted when it is filled in.
    pub(super) fn count_conversion(&self, conversion: &Conversion) -> Result<(), SqlError> {
        let awaited = conversion
            .click
            .as_ref()
            .is_some_and(|click| click.session_state == SessionState::Awaited);
        let session = (!awaited).then_some(&conversion.session);
        let dimensions =
            std::iter::once((Dimension::All, "")).chain(session.into_iter().flat_map(values));
        self.add(conversion, dimensions, conversion.status, 1)
    }

    /// Counts the values of a session that was filled in.
    pub(super) fn count_session(&self, conversion: &Conversion) -> Result<(), SqlError> {
        self.add(
            conversion,
            values(&conversion.session),
            conversion.status,
            1,
        )
    }

    /// Counts a conversion under another status.
    pub(super) fn recount(&self, before: &Conversion, status: Status) -> Result<(), SqlError> {
        let dimensions = || std::iter::once((Dimension::All, "")).chain(values(&before.session));
        self.add(before, dimensions(), before.status, -1)?;
        self.add(before, dimensions(), status, 1)
    }

    /// Adds `times` a conversion under a status to these counts, in one statement.
    fn add<'v>(
        &self,
        conversion: &Conversion,
        dimensions: impl Iterator<Item = (Dimension, &'v str)>,
        status: Status,
        times: i64,
    ) -> Result<(), SqlError> {
        let counted = |counted: Status| Value::Integer(if status == counted { times } else { 0 });
        let worth = |count: i64| {
            Value::Integer(if status == Status::Approved {
                times * count
            } else {
                0
            })
        };
        let goal = conversion
            .goal_id
            .map_or(NO_GOAL, |goal| u32::from(goal).into());
        // What is the same in all rows stands in the first ten places.
        let mut parameters: Vec<Value> = vec![
            hour(conversion.received_at).into(),
            i64::from(u32::from(conversion.partner_id)).into(),
            goal.into(),
            conversion.currency.as_str().into(),
            counted(Status::Approved),
            counted(Status::Pending),
            counted(Status::Rejected),
            worth(conversion.payout.ten_thousandths()),
            worth(conversion.revenue.ten_thousandths()),
        ];
        let mut rows = Vec::new();
        for (dimension, value) in dimensions {
            parameters.extend([dimension.number().into(), value.into()]);
            let (dimension, value) = (parameters.len() - 1, parameters.len());
            rows.push(format!(
                "(?1, ?{dimension}, ?2, ?3, ?4, ?{value}, ?5, ?6, ?7, ?8, ?9)"
            ));
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.sql.run(
            &format!(
                "INSERT INTO conversion_counts (hour, dimension, partner_id, goal_id, currency, value, approved, pending, \
                 rejected, payout, revenue) VALUES {} ON CONFLICT DO UPDATE SET \
                 approved = approved + excluded.approved, pending = pending + excluded.pending, \
                 rejected = rejected + excluded.rejected, payout = payout + excluded.payout, \
                 revenue = revenue + excluded.revenue",
                rows.join(", ")
            ),
            parameters,
        )?;
        Ok(())
    }
}
