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

pub use record::Recorded;

use serde::{Deserialize, Serialize};

use crate::registry::Epoch;
use crate::sql::{self, Sql, SqlError, Value};
use crate::tracking::conversion::{Conversion, Uniqueness};
use crate::tracking::rejection::Rejection;
use record::COLUMNS;

/// The most refusals that are kept: enough to see why an integration fails, and no way to fill the disk.
pub const MAX_REFUSALS: i64 = 1_000;

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
}

impl<S: Sql> Ledger<S> {
    /// Opens the ledger in a database, and brings its schema up to date.
    pub fn open(sql: S) -> Result<Self, SqlError> {
        sql::migrate(&sql, schema::MIGRATIONS)?;
        Ok(Self { sql })
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
        if self
            .insert("conversions", &conversion, condition)?
            .is_some()
        {
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
        let mut row = record::to_row(&conversion);
        row.push(epoch.into());
        // ?3 is the unique ID, the last the epoch.
        let condition = format!(
            " WHERE NOT EXISTS (SELECT 1 FROM fences WHERE unique_id = ?3 AND epoch >= ?{0}) \
             ON CONFLICT DO NOTHING",
            row.len()
        );
        if self
            .insert_row("conversions", row, ", unique_epoch", &condition)?
            .is_some()
        {
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
        if let Some(id) = self.insert("refusals", refusal, "")? {
            self.sql.run(
                "DELETE FROM refusals WHERE id <= ?",
                vec![Value::Integer(id.saturating_sub(MAX_REFUSALS))],
            )?;
        }
        Ok(())
    }

    /// The newest conversions, newest first.
    pub fn conversions(&self, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        self.newest("conversions", limit)
    }

    /// The newest refusals, newest first.
    pub fn refusals(&self, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        self.newest("refusals", limit)
    }

    /// The new row's ID, unless the condition kept it out.
    fn insert(
        &self,
        table: &str,
        conversion: &Conversion,
        condition: &str,
    ) -> Result<Option<i64>, SqlError> {
        self.insert_row(table, record::to_row(conversion), "", condition)
    }

    /// The same, with values for further columns at the end of the row.
    fn insert_row(
        &self,
        table: &str,
        row: Vec<Value>,
        further_columns: &str,
        condition: &str,
    ) -> Result<Option<i64>, SqlError> {
        let columns = COLUMNS.join(", ");
        let places: Vec<String> = (1..=row.len()).map(|n| format!("?{n}")).collect();
        let places = places.join(", ");
        let statement = format!(
            "INSERT INTO {table} ({columns}{further_columns}) SELECT {places}{condition} RETURNING id"
        );
        let rows = self.sql.run(&statement, row)?;
        rows.into_iter()
            .next()
            .map(|mut row| row.integer())
            .transpose()
    }

    fn newest(&self, table: &str, limit: u32) -> Result<Vec<Recorded>, SqlError> {
        self.sql
            .run(
                &format!(
                    "SELECT id, {} FROM {table} ORDER BY id DESC LIMIT ?",
                    COLUMNS.join(", ")
                ),
                vec![Value::Integer(limit.into())],
            )?
            .into_iter()
            .map(record::from_row)
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
