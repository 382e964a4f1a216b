//! Registries: which offer may record a `conversion_unique_id`, across the whole network and for ever.
//!
//! **Invariant.** No two conversions that were claimed by unique ID have the same one, whatever their offers.
//!
//! An ID is claimed in two places: in the registry that its hash names, which knows one *holder*, an offer; and in the
//! holder's ledger, which records the conversion. A crash can come between any two steps, so each step is one SQL
//! transaction in one object, can be repeated, and leaves a state from which every later postback can go on:
//!
//! 1. [`Registry::claim`]. An ID that nobody holds is given to the offer. The offer that holds it is let through
//!    again: a retry is not a duplicate. **Crash here**: the ID is held, and no conversion has it. A postback of the
//!    same offer goes on with 2; one of another offer is told [`Claimed::Busy`] for [`GRACE`], while the holder may be
//!    on its way, and then goes to 4.
//! 2. [`crate::ledger::Ledger::claim_unique`]. The holder's ledger records the conversion, unless it has one with the
//!    ID: of many postbacks for one offer, the ledger takes the first. **Crash here**: the conversion counts. A retry
//!    is told that it is a duplicate; another offer learns so in 4.
//! 3. [`Registry::confirm`]. The registry is told, and from now on refuses other offers by itself. It may be left
//!    undone: 4 finds it out.
//! 4. [`crate::ledger::Ledger::fence`]. Another offer wants an ID whose holder has not been heard of. The holder's
//!    ledger says that the conversion is there, and the holder is confirmed (3); or it promises never to record the ID
//!    under this *epoch* of the holding, even if a late step 2 arrives. **Crash here**: nobody can record the ID under
//!    that epoch; the next postback, of whichever offer, goes to 5.
//! 5. [`Registry::transfer`]. The ID goes to the other offer, or once more to the same, under a new epoch, and on with
//!    2. **Crash here**: as in 1.
//!
//! So an ID is recorded by its holder only, the holder changes only behind a fence, and a fence is only put up where
//! there is no conversion.

pub mod claiming;
pub mod message;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::sql::{self, Migrations, Sql, SqlError, Value};
use crate::tracking::id::OfferId;

/// How long a holder may take to record its conversion before another offer asks for it. Longer than a claim takes
/// across the world; it costs nothing but that wait if it is too short.
pub const GRACE: TimeDelta = TimeDelta::seconds(5);

const MIGRATIONS: Migrations = &[&[
    "CREATE TABLE unique_ids (unique_id TEXT PRIMARY KEY, offer_id INTEGER NOT NULL, epoch INTEGER NOT NULL, \
     confirmed INTEGER NOT NULL, held_since INTEGER NOT NULL) STRICT, WITHOUT ROWID",
]];

/// How often an ID has changed hands: a holder records under the epoch in which it was given the ID.
pub type Epoch = i64;

/// Who holds an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The offer.
    pub offer: OfferId,
    /// Since which change of hands.
    pub epoch: Epoch,
}

/// What a registry says to an offer that wants an ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// The offer holds it, and may record it under this epoch.
    Granted(Epoch),
    /// Another offer has recorded it.
    Duplicate,
    /// Another offer has just been given it: ask again in a moment.
    Busy,
    /// Another offer has been holding it for a while: its ledger knows more.
    Contested(Holding),
}

/// The unique IDs of one hash.
#[derive(Debug)]
pub struct Registry<S> {
    sql: S,
}

impl<S: Sql> Registry<S> {
    /// Opens the registry in a database, and brings its schema up to date.
    pub fn open(sql: S) -> Result<Self, SqlError> {
        sql::migrate(&sql, MIGRATIONS)?;
        Ok(Self { sql })
    }

    /// Gives the ID to the offer, if nobody holds it.
    pub fn claim(
        &self,
        unique_id: &str,
        offer: OfferId,
        now: DateTime<Utc>,
    ) -> Result<Claimed, SqlError> {
        let given = self.epoch(
            "INSERT INTO unique_ids VALUES (?, ?, 1, 0, ?) ON CONFLICT DO NOTHING RETURNING epoch",
            vec![
                unique_id.into(),
                number(offer),
                now.timestamp_millis().into(),
            ],
        )?;
        if let Some(epoch) = given {
            return Ok(Claimed::Granted(epoch));
        }
        let row = self.sql.run(
            "SELECT offer_id, epoch, confirmed, held_since FROM unique_ids WHERE unique_id = ?",
            vec![unique_id.into()],
        )?;
        let mut row = row
            .into_iter()
            .next()
            .ok_or_else(|| SqlError("a unique ID is gone".to_owned()))?;
        let holding = Holding {
            offer: row.narrow()?,
            epoch: row.integer()?,
        };
        let confirmed = row.integer()? != 0;
        let held = now.timestamp_millis().saturating_sub(row.integer()?);
        Ok(if holding.offer == offer {
            Claimed::Granted(holding.epoch)
        } else if confirmed {
            Claimed::Duplicate
        } else if held < GRACE.num_milliseconds() {
            Claimed::Busy
        } else {
            Claimed::Contested(holding)
        })
    }

    /// Gives the ID to another offer, after the holder's ledger was fenced; says what [`Self::claim`] says if somebody
    /// was faster.
    pub fn transfer(
        &self,
        unique_id: &str,
        from: Holding,
        to: OfferId,
        now: DateTime<Utc>,
    ) -> Result<Claimed, SqlError> {
        let given = self.epoch(
            "UPDATE unique_ids SET offer_id = ?, epoch = epoch + 1, held_since = ? \
             WHERE unique_id = ? AND offer_id = ? AND epoch = ? AND confirmed = 0 RETURNING epoch",
            vec![
                number(to),
                now.timestamp_millis().into(),
                unique_id.into(),
                number(from.offer),
                from.epoch.into(),
            ],
        )?;
        match given {
            Some(epoch) => Ok(Claimed::Granted(epoch)),
            None => self.claim(unique_id, to, now),
        }
    }

    /// Remembers that the holder has recorded the ID.
    pub fn confirm(&self, unique_id: &str, holder: OfferId) -> Result<(), SqlError> {
        self.sql.run(
            "UPDATE unique_ids SET confirmed = 1 WHERE unique_id = ? AND offer_id = ?",
            vec![unique_id.into(), number(holder)],
        )?;
        Ok(())
    }

    /// Whether a conversion is known to have the ID.
    pub fn is_confirmed(&self, unique_id: &str) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT 1 FROM unique_ids WHERE unique_id = ? AND confirmed = 1",
            vec![unique_id.into()],
        )?;
        Ok(!rows.is_empty())
    }

    fn epoch(&self, statement: &str, parameters: Vec<Value>) -> Result<Option<Epoch>, SqlError> {
        let rows = self.sql.run(statement, parameters)?;
        rows.into_iter()
            .next()
            .map(|mut row| row.integer())
            .transpose()
    }
}

fn number(offer: OfferId) -> Value {
    i64::from(u32::from(offer)).into()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
