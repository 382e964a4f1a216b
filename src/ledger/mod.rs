//! The ledger: the conversions of one offer, in the order in which they came.
//!
//! **Invariant.** Of the conversions that are to be unique by transaction, no two have the same transaction and goal.
//! The check and the insert are one SQL statement, and one ledger has one writer, so no lock is needed.
//!
//! It runs on a Durable Object's SQLite and, in tests, on rusqlite, through [`Sql`].

pub mod message;
mod record;
mod schema;
mod sql;

pub use record::Recorded;
pub use sql::{Row, Sql, SqlError, Value};

use serde::{Deserialize, Serialize};

use crate::tracking::conversion::{Claim, Conversion, Status, Uniqueness};
use crate::tracking::money::Money;
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

/// The conversions of one offer.
#[derive(Debug)]
pub struct Ledger<S> {
    sql: S,
}

impl<S: Sql> Ledger<S> {
    /// Opens the ledger in a database, and brings its schema up to date.
    pub fn open(sql: S) -> Result<Self, SqlError> {
        schema::migrate(&sql)?;
        Ok(Self { sql })
    }

    /// Records a conversion, unless an earlier one rules it out.
    pub fn claim(&self, claim: Claim) -> Result<Outcome, SqlError> {
        let condition = match claim.uniqueness {
            // ?1 is the transaction, ?2 the goal.
            Uniqueness::Transaction => {
                " WHERE NOT EXISTS (SELECT 1 FROM conversions WHERE transaction_id = ?1 AND goal_id IS ?2)"
            }
            Uniqueness::Unlimited => "",
        };
        if self
            .insert("conversions", &claim.conversion, condition)?
            .is_some()
        {
            return Ok(Outcome::Recorded);
        }
        self.refuse(&Conversion {
            status: Status::Rejected,
            code: Rejection::DuplicateConversion.code(),
            payout: Money::default(),
            revenue: Money::default(),
            ..claim.conversion
        })?;
        Ok(Outcome::Duplicate)
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
        let places: Vec<String> = (1..=COLUMNS.len()).map(|n| format!("?{n}")).collect();
        let rows = self.sql.run(
            &format!(
                "INSERT INTO {table} ({}) SELECT {}{condition} RETURNING id",
                COLUMNS.join(", "),
                places.join(", "),
            ),
            record::to_row(conversion),
        )?;
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
mod tests;
