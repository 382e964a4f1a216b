//! The raw log: every postback that named the offer or one of its IDs, as it came, with its answer.
//!
//! It is bounded by number and age. What anybody can make up has a small part of its own, so that nobody can push out
//! what the offer's advertiser has sent.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Ledger, MAX_ID};
use crate::sql::{Row, Sql, SqlError, Value};
use crate::tracking::received::{LoggedPostback, Received};

/// The most postbacks that are kept, and up to [`super::TRIM_EVERY`] more.
pub const MAX_POSTBACKS: i64 = 10_000;

/// The most postbacks that are kept of those that anybody can make up.
pub const MAX_FORGED: i64 = 500;

/// The most of those that are kept of one address.
pub const MAX_FORGED_OF_ADDRESS: i64 = 50;

/// How long a postback is kept.
pub const MAX_AGE: TimeDelta = TimeDelta::days(30);

const COLUMNS: &str = "id, received_at, method, target, form, sender_ip, referrer, transaction_id, genuine, accepted, answer";

/// Which part of the log to show, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// Only what named this ID.
    pub transaction_id: Option<String>,
    /// Only accepted ones, or only refused ones.
    pub accepted: Option<bool>,
    /// Only before the one with this number.
    pub before: Option<i64>,
    /// The most postbacks.
    pub limit: u32,
}

impl<S: Sql> Ledger<S> {
    /// Writes a postback into the log, under the number of the conversion or refusal that it led to.
    pub(super) fn log(
        &self,
        id: i64,
        received: &Received,
        accepted: bool,
        answer: &str,
    ) -> Result<(), SqlError> {
        self.sql.run(
            &format!("INSERT INTO postbacks ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
            vec![
                id.into(),
                received.received_at.timestamp_millis().into(),
                received.method.as_str().into(),
                received.target.as_str().into(),
                received.form.as_str().into(),
                received.sender_ip.map(|ip| ip.to_string()).into(),
                received.referrer.as_str().into(),
                received.transaction_id.as_deref().into(),
                i64::from(received.genuine).into(),
                i64::from(accepted).into(),
                answer.into(),
            ],
        )?;
        if self.has_to_trim() || !received.genuine {
            self.trim_log(received)?;
        }
        self.logged.set(self.logged.get() + 1);
        Ok(())
    }

    /// The newest postbacks.
    pub fn postbacks(&self, filter: &LogFilter) -> Result<Vec<LoggedPostback>, SqlError> {
        self.sql
            .run(
                &format!(
                    "SELECT {COLUMNS} FROM postbacks WHERE id < ?1 AND (?2 IS NULL OR transaction_id = ?2) \
                     AND (?3 IS NULL OR accepted = ?3) ORDER BY id DESC LIMIT ?4"
                ),
                vec![
                    filter.before.unwrap_or(MAX_ID).min(MAX_ID).into(),
                    filter.transaction_id.as_deref().into(),
                    filter.accepted.map(i64::from).into(),
                    i64::from(filter.limit).into(),
                ],
            )?
            .into_iter()
            .map(read)
            .collect()
    }

    /// Drops what is too old.
    pub(super) fn expire_log(&self, now: DateTime<Utc>) -> Result<(), SqlError> {
        let oldest = now.checked_sub_signed(MAX_AGE).unwrap_or(now);
        // The number of a row begins with its time.
        self.sql.run(
            "DELETE FROM postbacks WHERE id < ?",
            vec![super::first_id(oldest).into()],
        )?;
        Ok(())
    }

    fn trim_log(&self, received: &Received) -> Result<(), SqlError> {
        let bound = if received.genuine {
            MAX_POSTBACKS
        } else {
            MAX_FORGED
        };
        let genuine: Value = i64::from(received.genuine).into();
        self.sql.run(
            "DELETE FROM postbacks WHERE genuine = ?1 AND id <= \
             (SELECT id FROM postbacks WHERE genuine = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            vec![genuine, bound.into()],
        )?;
        if !received.genuine {
            self.sql.run(
                "DELETE FROM postbacks WHERE genuine = 0 AND sender_ip IS ?1 AND id <= \
                 (SELECT id FROM postbacks WHERE genuine = 0 AND sender_ip IS ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                vec![
                    received.sender_ip.map(|ip| ip.to_string()).into(),
                    MAX_FORGED_OF_ADDRESS.into(),
                ],
            )?;
        }
        Ok(())
    }
}

fn read(mut row: Row) -> Result<LoggedPostback, SqlError> {
    let id = row.integer()?;
    let received = Received {
        received_at: row.time()?,
        method: row.optional_text()?.unwrap_or_default(),
        target: row.optional_text()?.unwrap_or_default(),
        form: row.optional_text()?.unwrap_or_default(),
        sender_ip: row.optional_text()?.and_then(|ip| ip.parse().ok()),
        referrer: row.optional_text()?.unwrap_or_default(),
        transaction_id: row.optional_text()?,
        genuine: row.integer()? != 0,
    };
    Ok(LoggedPostback {
        id,
        received,
        accepted: row.integer()? != 0,
        answer: row.optional_text()?.unwrap_or_default(),
    })
}
