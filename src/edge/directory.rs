//! The published documents: from the isolate's own [`Copies`], or from KV.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;
use std::thread::LocalKey;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::settings::Settings;
use super::{Unreachable, kv, log, runtime};
use crate::catalog::copies::{Copies, Known};
use crate::json;
use crate::tracking::id::{OfferId, PartnerId};
use crate::tracking::offer::OfferDocument;
use crate::tracking::partner::Partner;

/// How long KV may take: a visitor does not wait longer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// A kind of document.
pub(super) trait Document: DeserializeOwned + 'static {
    type Id: Copy + Eq + Hash;

    fn key(id: Self::Id) -> String;
    fn copies() -> &'static LocalKey<RefCell<Copies<Self::Id, Self>>>;
}

thread_local! {
    static OFFERS: RefCell<Copies<OfferId, OfferDocument>> = RefCell::default();
    static PARTNERS: RefCell<Copies<PartnerId, Partner>> = RefCell::default();
}

impl Document for OfferDocument {
    type Id = OfferId;

    fn key(id: OfferId) -> String {
        Self::key(id)
    }

    fn copies() -> &'static LocalKey<RefCell<Copies<OfferId, Self>>> {
        &OFFERS
    }
}

impl Document for Partner {
    type Id = PartnerId;

    fn key(id: PartnerId) -> String {
        Self::key(id)
    }

    fn copies() -> &'static LocalKey<RefCell<Copies<PartnerId, Self>>> {
        &PARTNERS
    }
}

/// The document, if there is a copy that nothing has to be done for.
pub(super) fn fresh<D: Document>(id: D::Id, now: DateTime<Utc>) -> Option<Rc<D>> {
    D::copies().with_borrow(|copies| copies.fresh(id, now).cloned())
}

/// What is known of a document without waiting.
pub(super) fn look_up<D: Document>(id: D::Id, settings: &Settings) -> Known<D> {
    D::copies()
        .with_borrow_mut(|copies| copies.look_up(id, runtime::now(), settings.document_max_age))
}

/// Reads a document from KV and keeps a copy; where KV fails, an old copy may serve.
pub(super) async fn read<D: Document>(
    id: D::Id,
    settings: &Settings,
) -> Result<Option<Rc<D>>, Unreachable> {
    match fetch::<D>(id, settings).await {
        Ok(document) => {
            let document = document.map(Rc::new);
            D::copies().with_borrow_mut(|copies| {
                copies.keep(
                    id,
                    document.clone(),
                    runtime::now(),
                    settings.document_fresh,
                );
            });
            Ok(document)
        }
        Err(cause) => {
            log::error("directory_read_failed", &cause);
            D::copies()
                .with_borrow(|copies| copies.in_need(id, runtime::now(), settings.document_max_age))
                .ok_or(Unreachable)
        }
    }
}

/// The document, from the copy or from KV.
pub(super) async fn get<D: Document>(
    id: D::Id,
    settings: &Settings,
) -> Result<Option<Rc<D>>, Unreachable> {
    match look_up(id, settings) {
        Known::Fresh(document) => Ok(document),
        Known::Stale(_) | Known::Unknown => read(id, settings).await,
    }
}

/// Drops all copies: what was just published is to be seen here at once.
pub(super) fn forget() {
    OFFERS.with_borrow_mut(Copies::forget);
    PARTNERS.with_borrow_mut(Copies::forget);
}

async fn fetch<D: Document>(id: D::Id, settings: &Settings) -> Result<Option<D>, String> {
    let key = D::key(id);
    let kv = settings.kv.as_ref().map_err(ToString::to_string)?;
    let json = kv::read(kv, &key, TIME_LIMIT).await?;
    json.map(|json| json::read(&json).map_err(|error| format!("{key}: {error}")))
        .transpose()
}
