//! The schema of the catalog. Times are Unix milliseconds.

use crate::sql::Migrations;

pub(super) const MIGRATIONS: Migrations = &[&[
    "CREATE TABLE entities (kind TEXT NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, \
     created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, PRIMARY KEY (kind, id)) STRICT, WITHOUT ROWID",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, entity_id INTEGER NOT NULL, \
     action TEXT NOT NULL, changes TEXT NOT NULL) STRICT",
    // What is to be published; `serial` is the number of the change, so that a later one is not taken for published.
    "CREATE TABLE outbox (kind TEXT NOT NULL, id INTEGER NOT NULL, serial INTEGER NOT NULL, PRIMARY KEY (kind, id)) \
     STRICT, WITHOUT ROWID",
    "CREATE TABLE idempotency_keys (key TEXT PRIMARY KEY, request TEXT NOT NULL, answer TEXT NOT NULL, \
     at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX idempotency_keys_by_time ON idempotency_keys (at)",
]];
