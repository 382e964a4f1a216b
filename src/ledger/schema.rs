//! The schema of a ledger.
//!
//! Times are Unix milliseconds (`clicked_at`, `received_at`), money is a count of ten-thousandths.

use crate::sql::Migrations;

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

pub(super) const MIGRATIONS: Migrations = &[
    &[
        concat!("CREATE TABLE conversions ", columns_1!()),
        "CREATE INDEX conversions_by_transaction ON conversions (transaction_id, goal_id)",
        concat!("CREATE TABLE refusals ", columns_1!()),
        // What a unique ID was recorded under; null where it is only a value that came along.
        "ALTER TABLE conversions ADD COLUMN unique_epoch INTEGER",
        "CREATE UNIQUE INDEX conversions_by_unique_id ON conversions (conversion_unique_id) \
     WHERE unique_epoch IS NOT NULL",
        // When the session of a click is looked for again, and how often it was; null where it is not.
        "ALTER TABLE conversions ADD COLUMN session_due_at INTEGER",
        "ALTER TABLE conversions ADD COLUMN session_searches INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX conversions_by_session_due ON conversions (session_due_at) WHERE session_due_at IS NOT NULL",
        "CREATE TABLE fences (unique_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ],
    &[
        // The raw log.
        "CREATE TABLE postbacks (id INTEGER PRIMARY KEY, received_at INTEGER NOT NULL, method TEXT NOT NULL, \
     target TEXT NOT NULL, form TEXT NOT NULL, sender_ip TEXT, referrer TEXT NOT NULL, transaction_id TEXT, \
     genuine INTEGER NOT NULL, accepted INTEGER NOT NULL, answer TEXT NOT NULL) STRICT",
        "CREATE INDEX forged_postbacks ON postbacks (id) WHERE genuine = 0",
        // Rollups.
        "CREATE TABLE click_counts (hour INTEGER NOT NULL, dimension INTEGER NOT NULL, partner_id INTEGER NOT NULL, \
     value TEXT NOT NULL, clicks INTEGER NOT NULL, PRIMARY KEY (hour, dimension, partner_id, value)) \
     STRICT, WITHOUT ROWID",
        "CREATE TABLE conversion_counts (hour INTEGER NOT NULL, dimension INTEGER NOT NULL, partner_id INTEGER NOT NULL, \
     goal_id INTEGER NOT NULL, currency TEXT NOT NULL, value TEXT NOT NULL, approved INTEGER NOT NULL, \
     pending INTEGER NOT NULL, rejected INTEGER NOT NULL, payout INTEGER NOT NULL, revenue INTEGER NOT NULL, \
     PRIMARY KEY (hour, dimension, partner_id, goal_id, currency, value)) STRICT, WITHOUT ROWID",
    ],
];
