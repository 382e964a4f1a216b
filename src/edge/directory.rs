//! The isolate's own copies of the published documents, so that a click waits for no read.
//!
//! A copy is served as it is for [`FRESH`]; then it is still served, and read again in the background; after
//! [`STALE`] it is read again first. Only when KV does not answer is an older one served, up to the age that the
//! setting `DOCUMENT_MAX_AGE_SECONDS` allows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;

use super::settings::Settings;
use super::{Unreachable, kv, log, runtime};
use crate::json;
use crate::tracking::id::{OfferId, PartnerId};
use crate::tracking::offer::OfferDocument;
use crate::tracking::partner::Partner;

/// How long a change in the configuration may take to reach a warm isolate, when clicks keep coming.
const FRESH: TimeDelta = TimeDelta::seconds(30);

/// How old a copy may be that is served while a newer one is on its way.
const STALE: TimeDelta = TimeDelta::minutes(5);

/// How long KV may take: a visitor does not wait longer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// When a background read that did not come back is tried again.
const REFRESH_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// The most copies of each kind: at some 4 KB, they stay far under the isolate's 128 MB.
const MAX_COPIES: usize = 2_048;

/// A kind of document.
pub(super) trait Document: DeserializeOwned + 'static {
    type Id: Copy + Eq + Hash;

    fn key(id: Self::Id) -> String;
    fn copies() -> &'static LocalKey<Copies<Self>>;
}

pub(super) type Copies<D> = RefCell<HashMap<<D as Document>::Id, CopyOf<D>>>;

/// What KV said of a document; `None`: that there is none.
pub(super) struct CopyOf<D> {
    document: Option<Rc<D>>,
    read_at: DateTime<Utc>,
    refresh_at: DateTime<Utc>,
}

thread_local! {
    static OFFERS: Copies<OfferDocument> = RefCell::new(HashMap::new());
    static PARTNERS: Copies<Partner> = RefCell::new(HashMap::new());
}

impl Document for OfferDocument {
    type Id = OfferId;

    fn key(id: OfferId) -> String {
        Self::key(id)
    }

    fn copies() -> &'static LocalKey<Copies<Self>> {
        &OFFERS
    }
}

impl Document for Partner {
    type Id = PartnerId;

    fn key(id: PartnerId) -> String {
        Self::key(id)
    }

    fn copies() -> &'static LocalKey<Copies<Self>> {
        &PARTNERS
    }
}

/// What is known of a document without waiting.
pub(super) enum Known<D> {
    /// It can be served.
    Fresh(Option<Rc<D>>),
    /// It can be served, but [`read`] should be called in the background.
    Stale(Option<Rc<D>>),
    /// It has to be read.
    Unknown,
}

/// Looks at the copy. Says [`Known::Stale`] only once for each time that it should be read again.
pub(super) fn known<D: Document>(id: D::Id, now: DateTime<Utc>) -> Known<D> {
    D::copies().with_borrow_mut(|copies| match copies.get_mut(&id) {
        Some(copy) if now.signed_duration_since(copy.read_at) > STALE => Known::Unknown,
        Some(copy) if now >= copy.refresh_at => {
            copy.refresh_at = later(now, REFRESH_AGAIN);
            Known::Stale(copy.document.clone())
        }
        Some(copy) => Known::Fresh(copy.document.clone()),
        None => Known::Unknown,
    })
}

/// Reads a document from KV and keeps a copy; where KV fails, an old copy may serve.
pub(super) async fn read<D: Document>(
    id: D::Id,
    settings: &Settings,
) -> Result<Option<Rc<D>>, Unreachable> {
    match fetch::<D>(id, settings).await {
        Ok(document) => {
            let document = document.map(Rc::new);
            keep(id, document.clone());
            Ok(document)
        }
        Err(cause) => {
            log::error("directory_read_failed", &cause);
            let now = runtime::now();
            D::copies().with_borrow(|copies| match copies.get(&id) {
                Some(copy)
                    if now.signed_duration_since(copy.read_at) <= settings.document_max_age =>
                {
                    Ok(copy.document.clone())
                }
                _ => Err(Unreachable),
            })
        }
    }
}

/// The document, from the copy or from KV.
pub(super) async fn get<D: Document>(
    id: D::Id,
    settings: &Settings,
) -> Result<Option<Rc<D>>, Unreachable> {
    match known(id, runtime::now()) {
        Known::Fresh(document) => Ok(document),
        Known::Stale(_) | Known::Unknown => read(id, settings).await,
    }
}

/// Drops all copies: what was just published is to be seen here at once.
pub(super) fn forget() {
    OFFERS.with_borrow_mut(HashMap::clear);
    PARTNERS.with_borrow_mut(HashMap::clear);
}

async fn fetch<D: Document>(id: D::Id, settings: &Settings) -> Result<Option<D>, String> {
    let key = D::key(id);
    let kv = settings.kv.as_ref().map_err(ToString::to_string)?;
    let json = kv::read(kv, &key, TIME_LIMIT).await?;
    json.map(|json| json::read(&json).map_err(|error| format!("{key}: {error}")))
        .transpose()
}

fn keep<D: Document>(id: D::Id, document: Option<Rc<D>>) {
    let now = runtime::now();
    D::copies().with_borrow_mut(|copies| {
        if copies.len() >= MAX_COPIES && !copies.contains_key(&id) {
            // Whoever asks for IDs that do not exist shall not push out those that do.
            copies.retain(|_, copy| copy.document.is_some());
            if copies.len() >= MAX_COPIES {
                copies.clear();
            }
        }
        let copy = CopyOf {
            document,
            read_at: now,
            refresh_at: later(now, FRESH),
        };
        copies.insert(id, copy);
    });
}

fn later(now: DateTime<Utc>, delta: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(delta).unwrap_or(now)
}
