//! The ledger: the conversions of one offer, in the order in which they came.
//!
//! **Invariant.** Of the conversions that are to be unique by transaction, no two have the same transaction and goal; of
//! those that were claimed by unique ID, no two have the same one. The check and the insert are one SQL statement, and
//! one ledger has one writer, so no lock is needed.
//!
//! It runs on a Durable Object's SQLite and, in tests, on rusqlite, through [`Sql`].

pub mod message;
mod record;
mod schema;
mod sessions;

pub use record::Recorded;
pub use sessions::Awaited;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::registry::Epoch;
use crate::sql::{self, Sql, SqlError, Value};
use crate::tracking::conversion::{Conversion, Uniqueness};
use crate::tracking::rejection::Rejection;
use record::COLUMNS;

/// The most refusals that are kept: enough to see why an integration fails, and no way to fill the disk.
pub const MAX_REFUSALS: i64 = 1_000;

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

/// The conversions of one offer.
#[derive(Debug)]
pub struct Ledger<S> {
    sql: S,
    first_search: TimeDelta,
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
        Ok(Self { sql, first_search })
    }

    /// Records a conversion, unless an earlier one of the same transaction and goal rules it out.
    pub fn claim(
        &self,
        conversion: Conversion,
        uniqueness: Uniqueness,
    ) -> Result<Outcome, SqlError> {
        let condition = match uniqueness {
            // ?1 is the transaction, ?2 the goal.
            Uniqueness::Transaction => {
                " WHERE NOT EXISTS (SELECT 1 FROM conversions WHERE transaction_id = ?1 AND goal_id IS ?2)"
            }
            Uniqueness::Unlimited => "",
        };
        if self.insert_conversion(&conversion, None, condition)? {
            return Ok(Outcome::Recorded);
        }
        self.refuse(&conversion.refused(&Rejection::DuplicateConversion))?;
        Ok(Outcome::Duplicate)
    }

    /// Records a conversion under its unique ID, unless there is one with it, or the ID was taken away.
    ///
    /// # Errors
    /// Also when the conversion has no unique ID.
    pub fn claim_unique(
        &self,
        conversion: Conversion,
        epoch: Epoch,
    ) -> Result<UniqueOutcome, SqlError> {
        let Some(unique_id) = conversion.conversion_unique_id.as_deref() else {
            return Err(SqlError("a unique claim without its ID".to_owned()));
        };
        // ?3 is the unique ID, ?42 the epoch.
        let condition = " WHERE NOT EXISTS (SELECT 1 FROM fences WHERE unique_id = ?3 AND epoch >= ?42) \
             ON CONFLICT DO NOTHING";
        if self.insert_conversion(&conversion, Some(epoch), condition)? {
            return Ok(UniqueOutcome::Recorded);
        }
        if self.has_unique_id(unique_id)? {
            self.refuse(&conversion.refused(&Rejection::DuplicateUniqueId))?;
            Ok(UniqueOutcome::Duplicate)
        } else {
            Ok(UniqueOutcome::Fenced)
        }
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

    /// Keeps a refusal, and drops those beyond [`MAX_REFUSALS`].
    pub fn refuse(&self, refusal: &Conversion) -> Result<(), SqlError> {
        let inserted = self.insert("refusals", &COLUMNS, record::to_row(refusal), "")?;
        if let Some(id) = inserted {
            self.sql.run(
                "DELETE FROM refusals WHERE id <= ?",
                vec![Value::Integer(id.saturating_sub(MAX_REFUSALS))],
            )?;
        }
        Ok(())
    }

    /// The newest conversions before the one with the ID `before`, newest first.
    pub fn conversions(&self, before: i64, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        self.newest("conversions", before, limit)
    }

    /// The newest refusals before the one with the ID `before`, newest first.
    pub fn refusals(&self, before: i64, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        self.newest("refusals", before, limit)
    }

    /// Whether the conversion was inserted, or the condition kept it out.
    fn insert_conversion(
        &self,
        conversion: &Conversion,
        unique_epoch: Option<Epoch>,
        condition: &str,
    ) -> Result<bool, SqlError> {
        let mut row = record::to_row(conversion);
        row.push(self.first_due(conversion).into());
        row.push(unique_epoch.into());
        let columns = [&COLUMNS[..], &["session_due_at", "unique_epoch"]].concat();
        let inserted = self.insert("conversions", &columns, row, condition)?;
        Ok(inserted.is_some())
    }

    /// The new row's ID, unless the condition kept it out.
    fn insert(
        &self,
        table: &str,
        columns: &[&str],
        row: Vec<Value>,
        condition: &str,
    ) -> Result<Option<i64>, SqlError> {
        let places: Vec<String> = (1..=row.len()).map(|n| format!("?{n}")).collect();
        let statement = format!(
            "INSERT INTO {table} ({}) SELECT {}{condition} RETURNING id",
            columns.join(", "),
            places.join(", "),
        );
        let rows = self.sql.run(&statement, row)?;
        rows.into_iter()
            .next()
            .map(|mut row| row.integer())
            .transpose()
    }

    fn newest(&self, table: &str, before: i64, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        let columns = COLUMNS.join(", ");
        self.sql
            .run(
                &format!("SELECT id, {columns} FROM {table} WHERE id < ? ORDER BY id DESC LIMIT ?"),
                vec![before.min(MAX_ID).into(), i64::from(limit).into()],
            )?
            .into_iter()
            .map(record::from_row)
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
