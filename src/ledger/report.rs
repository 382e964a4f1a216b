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

impl ReportLine {
    /// The same to be taken away from the events whose value, at `place` in the key, is empty.
    fn taken_away(&self, place: Option<usize>) -> Self {
        let mut key = self.key.clone();
        if let Some(value) = place.and_then(|place| key.get_mut(place)) {
            value.clear();
        }
        let taken = |counted: &CountedConversions| CountedConversions {
            currency: counted.currency,
            approved: -counted.approved,
            pending: -counted.pending,
            rejected: -counted.rejected,
            payout: -counted.payout,
            revenue: -counted.revenue,
        };
        Self {
            key,
            clicks: -self.clicks,
            conversions: self.conversions.iter().map(taken).collect(),
        }
    }
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
        let mut lines = self.lines(request, request.dimension)?;
        if request.dimension != Dimension::All {
            // What has no value is what is left of all events.
            let place = request
                .groups
                .iter()
                .position(|group| *group == Group::Value);
            let taken: Vec<ReportLine> = lines.iter().map(|line| line.taken_away(place)).collect();
            lines.extend(self.lines(request, Dimension::All)?);
            lines.extend(taken);
        }
        Ok(lines)
    }

    fn lines(
        &self,
        request: &ReportRequest,
        dimension: Dimension,
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
                clicks: row.integer()?,
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
                approved: row.integer()?,
                pending: row.integer()?,
                rejected: row.integer()?,
                payout: row.integer()?,
                revenue: row.integer()?,
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
