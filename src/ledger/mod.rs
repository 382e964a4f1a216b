//! The ledger: the conversions of one offer, in the order in which they came.
//!
//! **Invariant.** Of the conversions that are to be unique by transaction, no two have the same transaction and goal; of
//! those that were claimed by unique ID, no two have the same one. The check and the insert are one SQL statement, and
//! one ledger has one writer, so no lock is needed. A conversion, its counts for reports and its postback in the raw log
//! are one SQL transaction.
//!
//! It runs on a Durable Object's SQLite and, in tests, on rusqlite, through [`Sql`].

pub mod batches;
pub mod counts;
pub mod log;
pub mod message;
mod record;
pub mod report;
mod schema;
mod sessions;

pub use record::Recorded;
pub use sessions::Awaited;

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::registry::Epoch;
use crate::sql::{self, Sql, SqlError, Value};
use crate::tracking::conversion::{Conversion, Status, Uniqueness};
use crate::tracking::id::{GoalId, PartnerId};
use crate::tracking::received::Received;
use crate::tracking::rejection::{Answer, Rejection};
use record::COLUMNS;
use sessions::NextSearch;

/// The most refusals that are kept, and up to [`TRIM_EVERY`] more: enough to see why an integration fails, and no way to
/// fill the disk.
pub const MAX_REFUSALS: i64 = 1_000;

/// The log and the refusals are cut back to their bounds after so many postbacks, and at the first.
const TRIM_EVERY: u64 = 64;

/// How long a refusal is kept at the most; older ones go when the ledger is opened.
pub const MAX_REFUSAL_AGE: TimeDelta = TimeDelta::days(90);

/// IDs pass through a JavaScript number: they stay under 2^53.
const MAX_ID: i64 = (1 << 53) - 1;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is recorded as a conversion.
    Recorded,
    /// An earlier conversion rules it out; it is kept as a refusal.
    Duplicate,
}

/// What became of a claim by unique ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueOutcome {
    /// It is recorded as a conversion.
    Recorded,
    /// A conversion of this offer has the ID; the claim is kept as a refusal.
    Duplicate,
    /// The ID was taken from this offer; see [`crate::registry`].
    Fenced,
}

/// What a ledger knows of a unique ID that another offer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fenced {
    /// A conversion has it.
    Recorded,
    /// No conversion has it, and none will under the epoch in question.
    Free,
}

/// What became of a decision about a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// It has the status now, or had it before.
    Done(Box<Recorded>),
    /// It is not pending.
    NotPending(Status),
    /// There is no such conversion.
    Unknown,
}

/// Which conversions and refusals to show, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionFilter {
    /// Only of this partner.
    pub partner: Option<PartnerId>,
    /// Only of this status.
    pub status: Option<Status>,
    /// Only refusals with this code.
    pub code: Option<u8>,
    /// Only of this transaction.
    pub transaction_id: Option<String>,
    /// Only those with this number or a later one.
    pub from: Option<i64>,
    /// Only those with an earlier number.
    pub before: Option<i64>,
    /// The most rows.
    pub limit: u32,
}

/// The smallest number of what came at a time. Numbers rise with time, across ledgers too: they begin with the
/// millisecond.
pub fn first_id(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
        .saturating_mul(IDS_PER_MS)
        .clamp(0, MAX_ID)
}

/// How many numbers a millisecond has; they stay under 2^53 until the year 2255.
const IDS_PER_MS: i64 = 1_000;

/// The conversions of one offer.
#[derive(Debug)]
pub struct Ledger<S> {
    sql: S,
    first_search: TimeDelta,
    /// The last number that was given.
    last_id: Cell<i64>,
    next_search: Cell<NextSearch>,
    /// How many postbacks were logged since the ledger was opened.
    logged: Cell<u64>,
}

impl<S: Sql> Ledger<S> {
    /// Opens the ledger in a database, brings its schema up to date and drops what is too old. A session that KV did not
    /// show is looked for again `first_search` after the postback.
    pub fn open(sql: S, first_search: TimeDelta, now: DateTime<Utc>) -> Result<Self, SqlError> {
        sql::migrate(&sql, schema::MIGRATIONS)?;
        let oldest = now.checked_sub_signed(MAX_REFUSAL_AGE).unwrap_or(now);
        sql.run(
            "DELETE FROM refusals WHERE received_at < ?",
            vec![oldest.timestamp_millis().into()],
        )?;
        let last_id = sql
            .run(
                "SELECT MAX(COALESCE((SELECT MAX(id) FROM conversions), 0), COALESCE((SELECT MAX(id) FROM refusals), 0), \
                 COALESCE((SELECT MAX(id) FROM postbacks), 0))",
                vec![],
            )?
            .into_iter()
            .next()
            .map_or(Ok(0), |mut row| row.integer())?;
        let ledger = Self {
            sql,
            first_search,
            last_id: Cell::new(last_id),
            next_search: Cell::new(NextSearch::Unknown),
            logged: Cell::new(0),
        };
        ledger.expire_log(now)?;
        Ok(ledger)
    }

    fn has_to_trim(&self) -> bool {
        self.logged.get().is_multiple_of(TRIM_EVERY)
    }

    /// The next number for a conversion, a refusal or a logged postback.
    fn next_id(&self, time: DateTime<Utc>) -> i64 {
        let id = first_id(time).max(self.last_id.get().saturating_add(1));
        self.last_id.set(id);
        id
    }

    /// Records a conversion, unless an earlier one of the same transaction and goal rules it out.
    pub fn claim(
        &self,
        conversion: Conversion,
        uniqueness: Uniqueness,
        received: &Received,
    ) -> Result<Outcome, SqlError> {
        let condition = match uniqueness {
            // ?1 is the transaction, ?2 the goal.
            Uniqueness::Transaction => {
                " WHERE NOT EXISTS (SELECT 1 FROM conversions WHERE transaction_id = ?1 AND goal_id IS ?2)"
            }
            Uniqueness::Unlimited => "",
        };
        self.sql.atomically(|| {
            if self.record(&conversion, None, condition, received)? {
                return Ok(Outcome::Recorded);
            }
            self.refuse_as(&Rejection::DuplicateConversion, conversion, received)?;
            Ok(Outcome::Duplicate)
        })
    }

    /// Records a conversion under its unique ID, unless there is one with it, or the ID was taken away.
    ///
    /// # Errors
    /// Also when the conversion has no unique ID.
    pub fn claim_unique(
        &self,
        conversion: Conversion,
        epoch: Epoch,
        received: &Received,
    ) -> Result<UniqueOutcome, SqlError> {
        let Some(unique_id) = conversion.conversion_unique_id.clone() else {
            return Err(SqlError("a unique claim without its ID".to_owned()));
        };
        // ?3 is the unique ID, ?42 the epoch.
        let condition = " WHERE NOT EXISTS (SELECT 1 FROM fences WHERE unique_id = ?3 AND epoch >= ?42) \
             ON CONFLICT DO NOTHING";
        self.sql.atomically(|| {
            if self.record(&conversion, Some(epoch), condition, received)? {
                return Ok(UniqueOutcome::Recorded);
            }
            if self.has_unique_id(&unique_id)? {
                self.refuse_as(&Rejection::DuplicateUniqueId, conversion, received)?;
                Ok(UniqueOutcome::Duplicate)
            } else {
                Ok(UniqueOutcome::Fenced)
            }
        })
    }

    /// Sees to it that this unique ID is not recorded here under `epoch` or an earlier one, unless it is already.
    pub fn fence(&self, unique_id: &str, epoch: Epoch) -> Result<Fenced, SqlError> {
        if self.has_unique_id(unique_id)? {
            return Ok(Fenced::Recorded);
        }
        self.sql.run(
            "INSERT INTO fences VALUES (?, ?) ON CONFLICT DO UPDATE SET epoch = MAX(epoch, excluded.epoch)",
            vec![unique_id.into(), epoch.into()],
        )?;
        Ok(Fenced::Free)
    }

    fn has_unique_id(&self, unique_id: &str) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT 1 FROM conversions WHERE conversion_unique_id = ? AND unique_epoch IS NOT NULL",
            vec![unique_id.into()],
        )?;
        Ok(!rows.is_empty())
    }

    /// Logs a refused postback with its answer, and keeps the refusal where there is a record of it.
    pub fn refuse(
        &self,
        record: Option<&Conversion>,
        received: &Received,
        answer: &str,
    ) -> Result<(), SqlError> {
        let id = self.next_id(received.received_at);
        if let Some(refusal) = record {
            self.insert("refusals", &COLUMNS, record::to_row(refusal), id, "")?;
            if self.has_to_trim() {
                self.sql.run(
                    "DELETE FROM refusals WHERE id <= (SELECT id FROM refusals ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    vec![MAX_REFUSALS.into()],
                )?;
            }
        }
        self.log(id, received, false, answer)
    }

    fn refuse_as(
        &self,
        why: &Rejection,
        conversion: Conversion,
        received: &Received,
    ) -> Result<(), SqlError> {
        let answer = Answer::Refused(why.clone()).text();
        self.refuse(Some(&conversion.refused(why)), received, &answer)
    }

    /// Whether the transaction (and goal) has converted.
    pub fn has_converted(
        &self,
        transaction_id: &str,
        goal: Option<GoalId>,
    ) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT 1 FROM conversions WHERE transaction_id = ? AND goal_id IS ? LIMIT 1",
            vec![
                transaction_id.into(),
                goal.map(|goal| i64::from(u32::from(goal))).into(),
            ],
        )?;
        Ok(!rows.is_empty())
    }

    /// Conversions and refusals, newest first.
    pub fn conversions(&self, filter: &ConversionFilter) -> Result<Vec<Recorded>, SqlError> {
        let columns = COLUMNS.join(", ");
        let condition = "id < ?1 AND id >= ?2 AND (?3 IS NULL OR partner_id = ?3) AND (?4 IS NULL OR status = ?4) \
             AND (?5 IS NULL OR code = ?5) AND (?6 IS NULL OR transaction_id = ?6)";
        let select = |table: &str| {
            format!(
                "SELECT * FROM (SELECT id, {columns} FROM {table} WHERE {condition} ORDER BY id DESC LIMIT ?7)"
            )
        };
        let statement = format!(
            "{} UNION ALL {} ORDER BY id DESC LIMIT ?7",
            select("conversions"),
            select("refusals")
        );
        self.sql
            .run(
                &statement,
                vec![
                    filter.before.unwrap_or(MAX_ID).min(MAX_ID).into(),
                    filter.from.unwrap_or(0).into(),
                    filter
                        .partner
                        .map(|partner| i64::from(u32::from(partner)))
                        .into(),
                    filter.status.map(Status::as_str).into(),
                    filter.code.map(i64::from).into(),
                    filter.transaction_id.as_deref().into(),
                    i64::from(filter.limit).into(),
                ],
            )?
            .into_iter()
            .map(record::from_row)
            .collect()
    }

    /// The conversion or refusal with a number.
    pub fn conversion(&self, id: i64) -> Result<Option<Recorded>, SqlError> {
        let filter = ConversionFilter {
            from: Some(id),
            before: Some(id.saturating_add(1)),
            limit: 1,
            ..ConversionFilter::default()
        };
        Ok(self.conversions(&filter)?.into_iter().next())
    }

    /// Gives a pending conversion another status.
    pub fn decide(&self, id: i64, status: Status) -> Result<Decided, SqlError> {
        let Some(mut recorded) = self
            .conversion(id)?
            .filter(|recorded| recorded.conversion.code.is_none())
        else {
            return Ok(Decided::Unknown);
        };
        let before = recorded.conversion.status;
        if before == status {
            return Ok(Decided::Done(Box::new(recorded)));
        }
        if before != Status::Pending {
            return Ok(Decided::NotPending(before));
        }
        self.sql.atomically(|| {
            self.sql.run(
                "UPDATE conversions SET status = ? WHERE id = ?",
                vec![status.as_str().into(), id.into()],
            )?;
            self.recount(&recorded.conversion, status)
        })?;
        recorded.conversion.status = status;
        Ok(Decided::Done(Box::new(recorded)))
    }

    /// Whether the conversion was recorded, or the condition kept it out.
    fn record(
        &self,
        conversion: &Conversion,
        unique_epoch: Option<Epoch>,
        condition: &str,
        received: &Received,
    ) -> Result<bool, SqlError> {
        let due = self.first_due(conversion);
        let mut row = record::to_row(conversion);
        row.push(due.into());
        row.push(unique_epoch.into());
        let columns = [&COLUMNS[..], &["session_due_at", "unique_epoch"]].concat();
        let id = self.next_id(received.received_at);
        let recorded = self.insert("conversions", &columns, row, id, condition)?;
        if recorded {
            if let Some(due) = due {
                self.will_search_at(due);
            }
            self.count_conversion(conversion)?;
            self.log(id, received, true, &Answer::Accepted.text())?;
        }
        Ok(recorded)
    }

    /// Whether the row was inserted, or the condition kept it out. The places of the columns in the condition are those
    /// in `columns`; the ID has the last.
    fn insert(
        &self,
        table: &str,
        columns: &[&str],
        mut row: Vec<Value>,
        id: i64,
        condition: &str,
    ) -> Result<bool, SqlError> {
        row.push(id.into());
        let places: Vec<String> = (1..=row.len()).map(|n| format!("?{n}")).collect();
        let statement = format!(
            "INSERT INTO {table} ({}, id) SELECT {}{condition} RETURNING id",
            columns.join(", "),
            places.join(", "),
        );
        Ok(!self.sql.run(&statement, row)?.is_empty())
    }
}

#[cfg(test)]
pub(crate) mod tests;
