//! What a ledger says to a report: its counts, grouped.

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::counts::Dimension;
use crate::sql::{Row, Sql, SqlError, Value};
use crate::tracking::id::{GoalId, PartnerId};
use crate::tracking::money::Currency;

/// By what a ledger can group its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// The partner's ID.
    Partner,
    /// The goal's ID; 0 for the default conversion.
    Goal,
    /// Days since 1970, in UTC.
    Day,
    /// Hours since 1970.
    Hour,
    /// The value in the request's dimension; empty for events that have none.
    Value,
}

/// What a report wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRequest {
    /// The first hour, in hours since 1970.
    pub from_hour: i64,
    /// The hour behind the last.
    pub to_hour: i64,
    /// By what to group.
    pub groups: Vec<Group>,
    /// What [`Group::Value`] means.
    pub dimension: Dimension,
    /// Only of this partner.
    pub partner: Option<PartnerId>,
    /// Only conversions of this goal.
    pub goal: Option<GoalId>,
    /// The most lines of each kind.
    pub limit: u32,
}

/// The counts of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportLine {
    /// The values of the groups, in their order.
    pub key: Vec<String>,
    /// Clicks.
    pub clicks: i64,
    /// The conversions, currency by currency.
    pub conversions: Vec<CountedConversions>,
}

/// Conversions in one currency. Money is that of approved ones, in ten-thousandths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CountedConversions {
    pub currency: Currency,
    pub approved: i64,
    pub pending: i64,
    pub rejected: i64,
    pub payout: i64,
    pub revenue: i64,
}

impl<S: Sql> Ledger<S> {
    /// The counts that a report asks for; groups may stand in more than one line, to be added up. Clicks have no goal,
    /// so where that is a group, theirs is empty.
    pub fn report(&self, request: &ReportRequest) -> Result<Vec<ReportLine>, SqlError> {
        let mut lines = self.lines(request, request.dimension, 1)?;
        if request.dimension != Dimension::All {
            // What has no value is what is left of all events.
            lines.extend(self.lines(request, Dimension::All, 1)?);
            lines.extend(self.without_value(request)?);
        }
        Ok(lines)
    }

    /// The counts of all values, taken away from those of all events, where the value is empty.
    fn without_value(&self, request: &ReportRequest) -> Result<Vec<ReportLine>, SqlError> {
        let mut lines = self.lines(request, request.dimension, -1)?;
        if let Some(place) = request
            .groups
            .iter()
            .position(|group| *group == Group::Value)
        {
            for line in &mut lines {
                if let Some(value) = line.key.get_mut(place) {
                    value.clear();
                }
            }
        }
        Ok(lines)
    }

    fn lines(
        &self,
        request: &ReportRequest,
        dimension: Dimension,
        sign: i64,
    ) -> Result<Vec<ReportLine>, SqlError> {
        let parameters = |with_goal: bool| {
            let mut parameters: Vec<Value> = vec![
                request.from_hour.into(),
                request.to_hour.into(),
                dimension.number().into(),
                request
                    .partner
                    .map(|partner| i64::from(u32::from(partner)))
                    .into(),
                i64::from(request.limit).into(),
            ];
            if with_goal {
                parameters.push(request.goal.map(|goal| i64::from(u32::from(goal))).into());
            }
            parameters
        };
        let condition =
            "hour >= ?1 AND hour < ?2 AND dimension = ?3 AND (?4 IS NULL OR partner_id = ?4)";
        let mut lines = Vec::new();

        let key = key(&request.groups, "''");
        let clicks = format!(
            "SELECT {key}, SUM(clicks) FROM click_counts WHERE {condition} GROUP BY {} LIMIT ?5",
            places(request.groups.len().max(1))
        );
        for mut row in self.sql.run(&clicks, parameters(false))? {
            lines.push(ReportLine {
                key: read_key(&mut row, request.groups.len())?,
                clicks: sign * row.integer()?,
                conversions: vec![],
            });
        }

        let key = self::key(&request.groups, "CAST(goal_id AS TEXT)");
        let conversions = format!(
            "SELECT {key}, currency, SUM(approved), SUM(pending), SUM(rejected), SUM(payout), SUM(revenue) \
             FROM conversion_counts WHERE {condition} AND (?6 IS NULL OR goal_id = ?6) GROUP BY {} LIMIT ?5",
            places(request.groups.len().max(1) + 1)
        );
        for mut row in self.sql.run(&conversions, parameters(true))? {
            let key = read_key(&mut row, request.groups.len())?;
            let currency = row
                .optional_text()?
                .and_then(|currency| currency.parse().ok())
                .ok_or_else(|| SqlError("an unknown currency".to_owned()))?;
            let counted = CountedConversions {
                currency,
                approved: sign * row.integer()?,
                pending: sign * row.integer()?,
                rejected: sign * row.integer()?,
                payout: sign * row.integer()?,
                revenue: sign * row.integer()?,
            };
            lines.push(ReportLine {
                key,
                clicks: 0,
                conversions: vec![counted],
            });
        }
        Ok(lines)
    }
}

/// The expressions of the groups, each of them a text; without groups, one that is the same everywhere.
fn key(groups: &[Group], goal: &str) -> String {
    let expressions: Vec<&str> = groups
        .iter()
        .map(|group| match group {
            Group::Partner => "CAST(partner_id AS TEXT)",
            Group::Goal => goal,
            Group::Day => "CAST(hour / 24 AS TEXT)",
            Group::Hour => "CAST(hour AS TEXT)",
            Group::Value => "value",
        })
        .collect();
    if expressions.is_empty() {
        "''".to_owned()
    } else {
        expressions.join(", ")
    }
}

/// `1, 2, 3`: the places of columns to group by.
fn places(count: usize) -> String {
    let places: Vec<String> = (1..=count).map(|place| place.to_string()).collect();
    places.join(", ")
}

fn read_key(row: &mut Row, groups: usize) -> Result<Vec<String>, SqlError> {
    if groups == 0 {
        row.optional_text()?;
    }
    (0..groups)
        .map(|_| Ok(row.optional_text()?.unwrap_or_default()))
        .collect()
}
