//! What the edge and the object that keeps the catalog say to each other.

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::list::List;
use super::{Entity, Refusal};
use crate::tracking::id::{AdvertiserId, OfferId, PartnerId};

/// The name of the Durable Object that keeps the catalog.
pub const OBJECT_NAME: &str = "catalog";

/// A request to the object, in JSON. The answer is the JSON of a [`Reply`], or none if it failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Change something.
    Write(Write),
    /// Show one: [`Entity`].
    Get(Kind, u32),
    /// Show an offer with its advertiser: [`crate::tracking::offer::OfferDocument`].
    OfferDocument(OfferId),
    /// Show some: [`super::list::Page`].
    List(Kind, List),
    /// Show the trail: [`super::audit::Trail`].
    Audit(super::audit::Filter),
    /// The offers of an advertiser, or all: a list of IDs.
    Offers(Option<AdvertiserId>),
}

/// A change, and how it may be repeated.
#[derive(Debug, Serialize, Deserialize)]
pub struct Write {
    /// What to do.
    pub action: Action,
    /// The versions that the client has seen; the change is refused if it is none of them. `None`: whatever it is.
    pub if_match: Option<Vec<i64>>,
    /// With the key under which the client may send the same request again.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key`, and what tells one request under it from another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Idempotency {
    /// The key.
    pub key: String,
    /// A digest of the request.
    pub request: String,
}

/// What to change. The answer is the [`Entity`] as it is then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make one from its JSON; without an `id`, it gets the next.
    Create(Kind, String),
    /// Change one by a JSON merge patch (RFC 7396).
    Change(Kind, u32, String),
    /// Keep a new token, not applied yet.
    SetNextToken(AdvertiserId, String),
    /// Apply the token that was made last.
    ApplyToken(AdvertiserId),
    /// Put a partner on an offer's list, or take him off.
    Approve(OfferId, PartnerId, bool),
}

/// The answer to every [`Message`].
pub type Reply<T> = Result<T, Refusal>;

/// The answer to a [`Write`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The entity after the change.
    pub entity: Entity,
    /// Whether this was done before, under the same key.
    pub repeated: bool,
}
