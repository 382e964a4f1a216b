//! Sessions that KV did not show when the postback came: looked for again, at growing intervals, for a day.
//!
//! Only what was recorded of the click is filled in. Money, status and what the advertiser was told stay as they are.

use chrono::{DateTime, TimeDelta, Utc};

use super::Ledger;
use super::record;
use crate::sql::{self, Sql, SqlError, Value};
use crate::tracking::click_page::Session;
use crate::tracking::conversion::{Conversion, SessionState};
use crate::tracking::values::SubIds;

/// The waits after each search that found nothing; together with the first, about a day.
const WAITS: [TimeDelta; 6] = [
    TimeDelta::minutes(3),
    TimeDelta::minutes(10),
    TimeDelta::minutes(30),
    TimeDelta::hours(2),
    TimeDelta::hours(6),
    TimeDelta::hours(15),
];

/// A conversion whose session is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The conversion.
    pub id: i64,
    /// Its click.
    pub transaction_id: String,
    searches: i64,
}

/// What is known of the next search without asking the database.
#[derive(Clone, Copy, Debug)]
pub(super) enum NextSearch {
    Unknown,
    /// When it is due, in Unix milliseconds, if one is needed. May be too early: then an alarm finds nothing to do.
    At(Option<i64>),
}

impl<S: Sql> Ledger<S> {
    /// When the first search for the session of a conversion is due, in Unix milliseconds; `None` if it needs none.
    pub(super) fn first_due(&self, conversion: &Conversion) -> Option<i64> {
        conversion
            .click
            .as_ref()
            .filter(|click| click.session_state == SessionState::Awaited)
            .and_then(|_| conversion.received_at.checked_add_signed(self.first_search))
            .map(|due| due.timestamp_millis())
    }

    /// When the next search is due.
    pub fn next_search(&self) -> Result<Option<DateTime<Utc>>, SqlError> {
        let due = match self.next_search.get() {
            NextSearch::At(due) => due,
            NextSearch::Unknown => self
                .sql
                .run(
                    "SELECT MIN(session_due_at) FROM conversions WHERE session_due_at IS NOT NULL",
                    vec![],
                )?
                .into_iter()
                .next()
                .map_or(Ok(None), |mut row| row.optional_integer())?,
        };
        self.next_search.set(NextSearch::At(due));
        due.map(sql::time).transpose()
    }

    /// Notes when a conversion that is being recorded needs its first search.
    pub(super) fn will_search_at(&self, due: i64) {
        if let NextSearch::At(next) = self.next_search.get() {
            let earlier = next.map_or(due, |next| next.min(due));
            self.next_search.set(NextSearch::At(Some(earlier)));
        }
    }

    /// The conversions whose search is due, the longest due first.
    pub fn awaited(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Awaited>, SqlError> {
        self.next_search.set(NextSearch::Unknown);
        self.sql
            .run(
                "SELECT id, transaction_id, session_searches FROM conversions WHERE session_due_at <= ? \
                 ORDER BY session_due_at LIMIT ?",
                vec![now.timestamp_millis().into(), i64::from(limit).into()],
            )?
            .into_iter()
            .map(|mut row| {
                Ok(Awaited {
                    id: row.integer()?,
                    transaction_id: row.optional_text()?.unwrap_or_default(),
                    searches: row.integer()?,
                })
            })
            .collect()
    }

    /// Fills in a session that was found.
    pub fn fill_in(&self, awaited: &Awaited, session: &Session<'_>) -> Result<(), SqlError> {
        let columns = SubIds::NAMES.map(|name| format!(", {name} = ?")).concat();
        let mut values = vec![
            SessionState::Recorded.as_str().into(),
            record::text(&session.country),
            record::text(&session.ip),
        ];
        values.extend(
            session
                .sub_ids
                .values()
                .iter()
                .map(|value| record::text(value)),
        );
        values.push(awaited.id.into());
        let statement = format!(
            "UPDATE conversions SET session_due_at = NULL, session = ?, country = ?, click_ip = ?{columns} WHERE id = ?"
        );
        self.next_search.set(NextSearch::Unknown);
        self.sql.atomically(|| {
            self.sql.run(&statement, values)?;
            match self.conversion(awaited.id)? {
                Some(recorded) => self.count_session(&recorded.conversion),
                None => Ok(()),
            }
        })
    }

    /// Puts off a search that found nothing, or gives it up after the last.
    pub fn put_off(&self, awaited: &Awaited, now: DateTime<Utc>) -> Result<(), SqlError> {
        let wait = usize::try_from(awaited.searches)
            .ok()
            .and_then(|searches| WAITS.get(searches));
        let (state, due) = match wait {
            Some(wait) => {
                let due = now.checked_add_signed(*wait).unwrap_or(now);
                (
                    SessionState::Awaited,
                    Value::Integer(due.timestamp_millis()),
                )
            }
            None => (SessionState::Missing, Value::Null),
        };
        self.next_search.set(NextSearch::Unknown);
        self.sql.run(
            "UPDATE conversions SET session_due_at = ?, session = ?, session_searches = session_searches + 1 WHERE id = ?",
            vec![due, state.as_str().into(), awaited.id.into()],
        )?;
        Ok(())
    }
}
