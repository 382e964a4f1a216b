//! The audit trail: when what was changed, from what to what. Secrets stand in it as `…`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::Catalog;
use super::kind::Kind;
use crate::json;
use crate::sql::{Sql, SqlError};

/// The fields that hold a secret, where they are texts: an offer only says whether it asks for one.
const SECRETS: [&str; 2] = ["security_token", "next_security_token"];

/// Which part of the trail to show, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only with this ID.
    pub id: Option<u32>,
    /// Only before the entry with this number.
    pub before: Option<i64>,
    /// The most entries.
    pub limit: u32,
}

/// A part of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trail {
    /// The entries, newest first.
    pub entries: Vec<Entry>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Entry {
    /// Its number: later ones are higher.
    pub id: i64,
    /// When it was made.
    #[serde(with = "crate::tracking::rfc3339")]
    #[cfg_attr(test, schemars(with = "crate::api::openapi::Time"))]
    pub at: DateTime<Utc>,
    /// Of what kind it is that was changed.
    pub kind: Kind,
    /// The ID of what was changed.
    pub entity_id: u32,
    /// What was done.
    pub action: String,
    /// Each field that changed, with `from` and `to`; a secret shows as `…`.
    pub changes: Map<String, Json>,
}

/// The fields in which two states differ.
pub(super) fn changes(before: &Map<String, Json>, after: &Map<String, Json>) -> Map<String, Json> {
    let shown = |name: &str, value: Option<&Json>| match value {
        None | Some(Json::Null) => Json::Null,
        Some(Json::String(_)) if SECRETS.contains(&name) => Json::from("…"),
        Some(value) => value.clone(),
    };
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let change =
                json!({"from": shown(name, before.get(name)), "to": shown(name, after.get(name))});
            (name.clone(), change)
        })
        .collect()
}

impl<S: Sql> Catalog<S> {
    /// Writes an entry and gives its number.
    pub(super) fn note(
        &self,
        kind: Kind,
        id: u32,
        action: &str,
        changes: &Map<String, Json>,
        now: DateTime<Utc>,
    ) -> Result<i64, SqlError> {
        let rows = self.sql.run(
            "INSERT INTO audit (at, kind, entity_id, action, changes) VALUES (?, ?, ?, ?, ?) RETURNING id",
            vec![
                now.timestamp_millis().into(),
                kind.name().into(),
                i64::from(id).into(),
                action.into(),
                json::write(changes).into(),
            ],
        )?;
        rows.into_iter()
            .next()
            .ok_or_else(|| SqlError("no audit entry".to_owned()))?
            .integer()
    }

    /// The entries of the trail, newest first.
    pub fn audit(&self, filter: &Filter) -> Result<Trail, SqlError> {
        let rows = self.sql.run(
            "SELECT id, at, kind, entity_id, action, changes FROM audit \
             WHERE id < ?1 AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR entity_id = ?3) ORDER BY id DESC LIMIT ?4",
            vec![
                filter.before.unwrap_or(i64::from(u32::MAX)).into(),
                filter.kind.map(Kind::name).into(),
                filter.id.map(i64::from).into(),
                (i64::from(filter.limit) + 1).into(),
            ],
        )?;
        let mut entries = rows
            .into_iter()
            .map(|mut row| {
                Ok(Entry {
                    id: row.integer()?,
                    at: row.time()?,
                    kind: row
                        .optional_text()?
                        .and_then(|kind| Kind::parse(&kind))
                        .ok_or_else(|| SqlError("an unknown kind".to_owned()))?,
                    entity_id: row.narrow()?,
                    action: row.optional_text()?.unwrap_or_default(),
                    changes: row
                        .optional_text()?
                        .and_then(|changes| json::read(&changes).ok())
                        .unwrap_or_default(),
                })
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Trail { entries, has_more })
    }
}
