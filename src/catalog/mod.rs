//! The catalog: what a network configures, the source of truth for advertisers, partners and offers.
//!
//! Each change is judged as a whole, so that an offer that is saved can be clicked. In one turn, which becomes durable
//! as one, it is stored, noted in the audit trail, and put into the outbox. From there the object publishes
//! self-contained documents to KV, and tries again until KV has taken them; a change of an advertiser publishes its
//! offers. A document is made when it is published, so the last state is the one that gets out.
//!
//! It runs on a Durable Object's SQLite and, in tests, on rusqlite, through [`Sql`].

pub mod advertiser;
pub mod audit;
pub mod copies;
pub mod kind;
pub mod list;
pub mod message;
mod schema;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use thiserror::Error;

use crate::json::{self, JsonError};
use crate::sql::{self, Row, Sql, SqlError};
use crate::tracking::id::AdvertiserId;
use crate::tracking::offer::{DocumentVersion, Offer, OfferDocument};
use crate::tracking::partner::Partner;
use advertiser::Advertiser;
use kind::Kind;
use message::{Action, Write, Written};

/// How long the answer to a request with an `Idempotency-Key` is remembered.
const IDEMPOTENCY_AGE: TimeDelta = TimeDelta::hours(24);

/// The columns of an [`Entity`].
const COLUMNS: &str = "kind, id, version, body, created_at, updated_at, \
    CASE WHEN kind = 'advertiser' THEN EXISTS (SELECT 1 FROM outbox JOIN entities AS offers USING (kind, id) \
    WHERE outbox.kind = 'offer' AND json_extract(offers.body, '$.advertiser_id') = entities.id) \
    ELSE EXISTS (SELECT 1 FROM outbox WHERE outbox.kind = entities.kind AND outbox.id = entities.id) END";

/// An advertiser, a partner or an offer, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// What it is.
    pub kind: Kind,
    /// Its ID, among those of its kind.
    pub id: u32,
    /// Raised by each change.
    pub version: i64,
    /// Its fields: a JSON object.
    pub body: String,
    /// When it was made.
    #[serde(with = "crate::tracking::rfc3339")]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[serde(with = "crate::tracking::rfc3339")]
    pub updated_at: DateTime<Utc>,
    /// Whether the edge can see this state of it.
    pub published: bool,
}

/// Why the catalog does not do what it is told.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no such thing.
    #[error("There is no {} {}.", .0.name(), .1)]
    NotFound(Kind, u32),
    /// A new one has the ID of another.
    #[error("There is a {} {} already.", .0.name(), .1)]
    Exists(Kind, u32),
    /// It was changed since the client has read it.
    #[error("It was changed meanwhile: its version is {0}.")]
    VersionMismatch(i64),
    /// The key was used for another request.
    #[error("This Idempotency-Key was used for another request.")]
    KeyReused,
    /// A field is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which one.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed; what went wrong is for the log.
    #[error("Not processed: please send it again.")]
    Failed(String),
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self::Invalid {
            field: error.field,
            reason: error.reason,
        }
    }
}

fn invalid(field: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

/// A document in KV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its key.
    pub key: String,
    /// Its JSON.
    pub value: String,
}

/// Something that is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpublished {
    kind: Kind,
    id: u32,
    serial: i64,
}

/// Everything that a network has configured.
#[derive(Debug)]
pub struct Catalog<S> {
    sql: S,
}

impl<S: Sql> Catalog<S> {
    /// Opens the catalog in a database, and brings its schema up to date.
    pub fn open(sql: S) -> Result<Self, SqlError> {
        sql::migrate(&sql, schema::MIGRATIONS)?;
        Ok(Self { sql })
    }

    /// Does what a client asks for, unless it was done before under the same key.
    pub fn write(&self, write: Write, now: DateTime<Utc>) -> Result<Written, Refusal> {
        self.sql.atomically(|| self.write_once(write, now))
    }

    fn write_once(&self, write: Write, now: DateTime<Utc>) -> Result<Written, Refusal> {
        if let Some(idempotency) = &write.idempotency
            && let Some(entity) = self.recall(idempotency, now)?
        {
            return Ok(Written {
                entity,
                repeated: true,
            });
        }
        let if_match = write.if_match.as_deref();
        let entity = match write.action {
            Action::Create(kind, json) => self.create(kind, &json, now),
            Action::Change(kind, id, patch) => {
                self.change(kind, id, if_match, now, "change", |fields| {
                    let patch: Map<String, Json> = json::read(&patch)?;
                    refuse_read_only(kind, &patch)?;
                    merge(fields, patch);
                    Ok(())
                })
            }
            Action::SetNextToken(id, token) => {
                let id = id.into();
                self.change(Kind::Advertiser, id, if_match, now, "token", |fields| {
                    fields.insert("next_security_token".to_owned(), token.into());
                    Ok(())
                })
            }
            Action::ApplyToken(id) => {
                let id = id.into();
                self.change(
                    Kind::Advertiser,
                    id,
                    if_match,
                    now,
                    "apply_token",
                    |fields| {
                        let token = fields.remove("next_security_token").ok_or_else(|| {
                            invalid("next_security_token", "there is none: make one first")
                        })?;
                        fields.insert("security_token".to_owned(), token);
                        Ok(())
                    },
                )
            }
            Action::Approve(offer, partner, approved) => {
                self.get(Kind::Partner, partner.into())?;
                let action = if approved { "approve" } else { "refuse" };
                let partner = Json::from(u32::from(partner));
                self.change(Kind::Offer, offer.into(), if_match, now, action, |fields| {
                    if let Some(Json::Array(partners)) = fields.get_mut("partners") {
                        partners.retain(|other| *other != partner);
                        if approved {
                            partners.push(partner);
                        }
                    }
                    Ok(())
                })
            }
        }?;
        if let Some(idempotency) = &write.idempotency {
            self.sql.run(
                "INSERT INTO idempotency_keys VALUES (?, ?, ?, ?)",
                vec![
                    idempotency.key.as_str().into(),
                    idempotency.request.as_str().into(),
                    json::write(&entity).into(),
                    now.timestamp_millis().into(),
                ],
            )?;
        }
        Ok(Written {
            entity,
            repeated: false,
        })
    }

    /// One entity.
    pub fn get(&self, kind: Kind, id: u32) -> Result<Entity, Refusal> {
        self.find(kind, id)?.ok_or(Refusal::NotFound(kind, id))
    }

    fn find(&self, kind: Kind, id: u32) -> Result<Option<Entity>, SqlError> {
        let rows = self.sql.run(
            &format!("SELECT {COLUMNS} FROM entities WHERE kind = ? AND id = ?"),
            vec![kind.name().into(), i64::from(id).into()],
        )?;
        rows.into_iter().next().map(Entity::from_row).transpose()
    }

    /// The IDs of the offers of an advertiser, or of all.
    pub fn offers(&self, advertiser: Option<AdvertiserId>) -> Result<Vec<u32>, SqlError> {
        self.sql
            .run(
                "SELECT id FROM entities WHERE kind = 'offer' \
                 AND (?1 IS NULL OR json_extract(body, '$.advertiser_id') = ?1)",
                vec![advertiser.map(|id| i64::from(u32::from(id))).into()],
            )?
            .into_iter()
            .map(|mut row| row.narrow())
            .collect()
    }

    /// What is to be published, the longest waiting first.
    pub fn outbox(&self, limit: u32) -> Result<Vec<Unpublished>, SqlError> {
        self.sql
            .run(
                "SELECT kind, id, serial FROM outbox ORDER BY serial LIMIT ?",
                vec![i64::from(limit).into()],
            )?
            .into_iter()
            .map(|mut row| {
                Ok(Unpublished {
                    kind: read_kind(&mut row)?,
                    id: row.narrow()?,
                    serial: row.integer()?,
                })
            })
            .collect()
    }

    /// The document of something in the outbox, as it is now.
    pub fn document(&self, unpublished: Unpublished) -> Result<Document, Refusal> {
        let Unpublished { kind, id, .. } = unpublished;
        Ok(match kind {
            // The edge reads advertisers in the documents of their offers.
            Kind::Advertiser => return Err(Refusal::NotFound(kind, id)),
            Kind::Partner => {
                let partner: Partner = json::read(&self.get(kind, id)?.body)?;
                Document {
                    key: Partner::key(partner.id),
                    value: json::write(&partner),
                }
            }
            Kind::Offer => {
                let document = self.offer_document(id)?;
                Document {
                    key: OfferDocument::key(document.offer.id),
                    value: json::write(&document),
                }
            }
        })
    }

    /// An offer with its advertiser, as the edge will see it.
    pub fn offer_document(&self, id: u32) -> Result<OfferDocument, Refusal> {
        let offer: Offer = json::read(&self.get(Kind::Offer, id)?.body)?;
        let advertiser = self.get(Kind::Advertiser, offer.advertiser_id.into())?;
        let advertiser: Advertiser = json::read(&advertiser.body)?;
        Ok(OfferDocument {
            version: DocumentVersion,
            offer,
            advertiser: advertiser.into(),
        })
    }

    /// KV has taken the document; a change that came meanwhile keeps its place in the outbox.
    pub fn published(&self, unpublished: Unpublished) -> Result<(), SqlError> {
        self.sql.run(
            "DELETE FROM outbox WHERE kind = ? AND id = ? AND serial = ?",
            vec![
                unpublished.kind.name().into(),
                i64::from(unpublished.id).into(),
                unpublished.serial.into(),
            ],
        )?;
        Ok(())
    }

    fn create(&self, kind: Kind, json: &str, now: DateTime<Utc>) -> Result<Entity, Refusal> {
        let mut fields: Map<String, Json> = json::read(json)?;
        refuse_read_only(kind, &fields)?;
        if !fields.contains_key("id") {
            let rows = self.sql.run(
                "SELECT COALESCE(MAX(id), 0) + 1 FROM entities WHERE kind = ?",
                vec![kind.name().into()],
            )?;
            let next = rows
                .into_iter()
                .next()
                .map_or(Ok(1), |mut row| row.integer())?;
            fields.insert("id".to_owned(), next.into());
        }
        let (id, body) = self.judge(kind, &json::write(&fields))?;
        if self.find(kind, id)?.is_some() {
            return Err(Refusal::Exists(kind, id));
        }
        let time = now.timestamp_millis();
        self.sql.run(
            "INSERT INTO entities VALUES (?, ?, 1, ?, ?, ?)",
            vec![
                kind.name().into(),
                i64::from(id).into(),
                body.as_str().into(),
                time.into(),
                time.into(),
            ],
        )?;
        self.changed(kind, id, "create", &Map::new(), &body, now)
    }

    fn change(
        &self,
        kind: Kind,
        id: u32,
        if_match: Option<&[i64]>,
        now: DateTime<Utc>,
        action: &str,
        edit: impl FnOnce(&mut Map<String, Json>) -> Result<(), Refusal>,
    ) -> Result<Entity, Refusal> {
        let entity = self.get(kind, id)?;
        if if_match.is_some_and(|seen| !seen.contains(&entity.version)) {
            return Err(Refusal::VersionMismatch(entity.version));
        }
        let before: Map<String, Json> = json::read(&entity.body)?;
        let mut after = before.clone();
        edit(&mut after)?;
        if after.get("id") != before.get("id") {
            return Err(invalid("id", "cannot be changed"));
        }
        if kind == Kind::Offer {
            raise_link_version(&before, &mut after)?;
        }
        let (_, body) = self.judge(kind, &json::write(&after))?;
        if body == entity.body {
            return Ok(entity);
        }
        self.sql.run(
            "UPDATE entities SET version = version + 1, body = ?, updated_at = ? WHERE kind = ? AND id = ?",
            vec![
                body.as_str().into(),
                now.timestamp_millis().into(),
                kind.name().into(),
                i64::from(id).into(),
            ],
        )?;
        self.changed(kind, id, action, &before, &body, now)
    }

    /// Notes a change that was stored, and puts what it concerns into the outbox.
    fn changed(
        &self,
        kind: Kind,
        id: u32,
        action: &str,
        before: &Map<String, Json>,
        body: &str,
        now: DateTime<Utc>,
    ) -> Result<Entity, Refusal> {
        let changes = audit::changes(before, &json::read(body)?);
        let serial = self.note(kind, id, action, &changes, now)?;
        let concerned = match kind {
            Kind::Advertiser => "kind = 'offer' AND json_extract(body, '$.advertiser_id') = ?2",
            Kind::Partner => "kind = 'partner' AND id = ?2",
            Kind::Offer => "kind = 'offer' AND id = ?2",
        };
        self.sql.run(
            &format!(
                "INSERT INTO outbox SELECT kind, id, ?1 FROM entities WHERE {concerned} \
                 ON CONFLICT DO UPDATE SET serial = excluded.serial"
            ),
            vec![serial.into(), i64::from(id).into()],
        )?;
        self.get(kind, id)
    }

    /// Judges an entity, and gives its ID and its JSON with all defaults written out.
    fn judge(&self, kind: Kind, json: &str) -> Result<(u32, String), Refusal> {
        match kind {
            Kind::Advertiser => {
                let advertiser: Advertiser = json::read(json)?;
                if advertiser.security_token.is_none() && self.needs_token(advertiser.id)? {
                    return Err(invalid("security_token", "an offer asks for it"));
                }
                Ok((advertiser.id.into(), json::write(&advertiser)))
            }
            Kind::Partner => {
                let partner: Partner = json::read(json)?;
                Ok((partner.id.into(), json::write(&partner)))
            }
            Kind::Offer => {
                let offer: Offer = json::read(json)?;
                let advertiser = self
                    .find(Kind::Advertiser, offer.advertiser_id.into())?
                    .ok_or_else(|| invalid("advertiser_id", "there is no such advertiser"))?;
                let advertiser: Advertiser = json::read(&advertiser.body)?;
                if offer.security_token && advertiser.security_token.is_none() {
                    return Err(invalid(
                        "security_token",
                        "the advertiser has no applied token",
                    ));
                }
                for (index, partner) in offer.partners.iter().enumerate() {
                    if self.find(Kind::Partner, (*partner).into())?.is_none() {
                        return Err(invalid(
                            &format!("partners[{index}]"),
                            "there is no such partner",
                        ));
                    }
                }
                Ok((offer.id.into(), json::write(&offer)))
            }
        }
    }

    /// Whether an offer of this advertiser asks for its token.
    fn needs_token(&self, advertiser: AdvertiserId) -> Result<bool, SqlError> {
        let rows = self.sql.run(
            "SELECT 1 FROM entities WHERE kind = 'offer' AND json_extract(body, '$.advertiser_id') = ? \
             AND json_extract(body, '$.security_token') LIMIT 1",
            vec![i64::from(u32::from(advertiser)).into()],
        )?;
        Ok(!rows.is_empty())
    }

    /// The answer that was given under a key; forgets those that are too old.
    fn recall(
        &self,
        idempotency: &message::Idempotency,
        now: DateTime<Utc>,
    ) -> Result<Option<Entity>, Refusal> {
        let oldest = now.checked_sub_signed(IDEMPOTENCY_AGE).unwrap_or(now);
        self.sql.run(
            "DELETE FROM idempotency_keys WHERE at < ?",
            vec![oldest.timestamp_millis().into()],
        )?;
        let rows = self.sql.run(
            "SELECT request, answer FROM idempotency_keys WHERE key = ?",
            vec![idempotency.key.as_str().into()],
        )?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        if row.optional_text()?.as_ref() != Some(&idempotency.request) {
            return Err(Refusal::KeyReused);
        }
        Ok(Some(json::read(&row.optional_text()?.unwrap_or_default())?))
    }
}

impl Entity {
    fn from_row(mut row: Row) -> Result<Self, SqlError> {
        Ok(Self {
            kind: read_kind(&mut row)?,
            id: row.narrow()?,
            version: row.integer()?,
            body: row.optional_text()?.unwrap_or_default(),
            created_at: row.time()?,
            updated_at: row.time()?,
            published: row.integer()? == 0,
        })
    }
}

fn read_kind(row: &mut Row) -> Result<Kind, SqlError> {
    row.optional_text()?
        .and_then(|kind| Kind::parse(&kind))
        .ok_or_else(|| SqlError("an unknown kind".to_owned()))
}

fn refuse_read_only(kind: Kind, fields: &Map<String, Json>) -> Result<(), Refusal> {
    match kind
        .read_only()
        .iter()
        .find(|name| fields.contains_key(**name))
    {
        Some(name) => Err(invalid(name, "cannot be set")),
        None => Ok(()),
    }
}

/// Tracking links that were made for another protocol must be replaced, so the version that they name goes up.
fn raise_link_version(
    before: &Map<String, Json>,
    after: &mut Map<String, Json>,
) -> Result<(), Refusal> {
    let version = before.get("link_version");
    if after.get("link_version") != version {
        return Err(invalid(
            "link_version",
            "is raised by a change of the protocol, and cannot be set",
        ));
    }
    if after.get("protocol") != before.get("protocol") {
        let raised = version
            .and_then(Json::as_u64)
            .unwrap_or_default()
            .saturating_add(1);
        after.insert("link_version".to_owned(), raised.into());
    }
    Ok(())
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Map<String, Json>, patch: Map<String, Json>) {
    for (name, value) in patch {
        match value {
            Json::Null => {
                target.remove(&name);
            }
            Json::Object(patch) => {
                let mut inner = match target.remove(&name) {
                    Some(Json::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(name, inner.into());
            }
            value => {
                target.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
