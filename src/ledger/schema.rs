//! The schema, as numbered migrations. A migration that was once released never changes: a new one follows it.
//!
//! Times are Unix milliseconds (`clicked_at`, `received_at`), money is a count of ten-thousandths.

use super::sql::{Sql, SqlError, Value};

/// A refusal is a conversion that was not to be: the same columns, in a table of its own, so that the oldest can be
/// dropped by their IDs and do not stand in the way of the check for duplicates.
macro_rules! columns_1 {
    () => {
        "(id INTEGER PRIMARY KEY, transaction_id TEXT, goal_id INTEGER, clicked_at INTEGER, session TEXT, \
         country TEXT, click_ip TEXT, source TEXT, aff_sub TEXT, aff_sub2 TEXT, aff_sub3 TEXT, aff_sub4 TEXT, \
         aff_sub5 TEXT, aff_click_id TEXT, aff_unique1 TEXT, aff_unique2 TEXT, aff_unique3 TEXT, aff_unique4 TEXT, \
         aff_unique5 TEXT, partner_id INTEGER NOT NULL, status TEXT NOT NULL, code INTEGER, amount INTEGER, \
         sale_currency TEXT, payout INTEGER NOT NULL, revenue INTEGER NOT NULL, currency TEXT NOT NULL, \
         received_at INTEGER NOT NULL, sender_ip TEXT, conversion_unique_id TEXT, promo_code TEXT, adv_sub TEXT, \
         adv_sub2 TEXT, adv_sub3 TEXT, adv_sub4 TEXT, adv_sub5 TEXT, adv_unique1 TEXT, adv_unique2 TEXT, \
         adv_unique3 TEXT, adv_unique4 TEXT, adv_unique5 TEXT) STRICT"
    };
}

/// The statements of each migration; its number is its place, from 1.
const MIGRATIONS: &[&[&str]] = &[&[
    concat!("CREATE TABLE conversions ", columns_1!()),
    "CREATE INDEX conversions_by_transaction ON conversions (transaction_id, goal_id)",
    concat!("CREATE TABLE refusals ", columns_1!()),
]];

/// Runs the migrations that this database has not seen. `PRAGMA user_version` is closed in a Durable Object, so a table
/// says which they are.
pub(super) fn migrate(sql: &impl Sql) -> Result<(), SqlError> {
    sql.run(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY) STRICT",
        vec![],
    )?;
    let seen = sql
        .run("SELECT COUNT(*) FROM migrations", vec![])?
        .into_iter()
        .next()
        .map_or(Ok(0), |mut row| row.integer())?;
    for (statements, number) in MIGRATIONS.iter().zip(1..) {
        if number > seen {
            for statement in *statements {
                sql.run(statement, vec![])?;
            }
            sql.run(
                "INSERT INTO migrations (number) VALUES (?)",
                vec![Value::Integer(number)],
            )?;
        }
    }
    Ok(())
}
