//! The Durable Object that keeps the catalog, and publishes it to KV.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use super::kv::{self, KvNamespace};
use super::object::{self, ObjectSql, ObjectState, reply};
use super::settings::Settings;
use super::{log, runtime};
use crate::catalog::message::{Message, Reply, Written};
use crate::catalog::{self, Unpublished};
use crate::sql::SqlError;

/// How long KV may take to publish a document.
const PUBLISH_LIMIT: Duration = Duration::from_secs(5);

/// When publishing is tried again that KV did not take.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The most documents that are published side by side.
const SIDE_BY_SIDE: u32 = 32;

/// The most documents that are published in one event, which has 1,000 subrequests.
const MAX_PUBLISHED: u32 = 512;

/// How long a turn to publish lasts, from the last documents on: longer than KV may take for them.
const TURN: TimeDelta = TimeDelta::seconds(10);

/// How often an event looks whether it is its turn.
const POLL: Duration = Duration::from_millis(20);

/// The object; the catalog is opened by the first event, because a constructor that failed would fail for ever.
#[wasm_bindgen]
pub struct Catalog {
    state: ObjectState,
    env: Env,
    opened: RefCell<Option<catalog::Catalog<ObjectSql>>>,
    /// Until when an event has its turn to publish: one at a time, so that an older document cannot overtake a newer one.
    /// A turn ends by the clock too, because an event can be broken off.
    turn_ends: Cell<Option<DateTime<Utc>>>,
}

#[wasm_bindgen(wasm_bindgen_futures = worker::wasm_bindgen_futures)]
impl Catalog {
    /// An object that has just woken.
    #[wasm_bindgen(constructor)]
    pub fn new(state: ObjectState, env: Env) -> Self {
        Self {
            state,
            env,
            opened: RefCell::new(None),
            turn_ends: Cell::new(None),
        }
    }

    /// Answers a [`Message`], both in JSON; with nothing if it fails.
    pub async fn handle(&self, message: String) -> Option<String> {
        object::logged(self.answer(&message).await)
    }

    /// Publishes what KV has not taken yet.
    pub async fn alarm(&self) {
        self.publish().await;
    }
}

impl Catalog {
    async fn answer(&self, message: &str) -> Result<String, SqlError> {
        match object::read(message)? {
            Message::Write(write) => {
                match self.with_catalog(|catalog| Ok(catalog.write(write, runtime::now())))? {
                    Ok(written) => self.publish_written(written).await,
                    refused => reply(Ok(refused)),
                }
            }
            message => self.show(message),
        }
    }

    fn show(&self, message: Message) -> Result<String, SqlError> {
        self.with_catalog(|catalog| match message {
            Message::Get(kind, id) => reply(Ok(catalog.get(kind, id))),
            Message::OfferDocument(offer) => reply(Ok(catalog.offer_document(offer.into()))),
            Message::List(kind, list) => reply(catalog.list(kind, &list).map(Reply::Ok)),
            Message::Audit(filter) => reply(catalog.audit(&filter).map(Reply::Ok)),
            Message::Offers(advertiser) => reply(catalog.offers(advertiser).map(Reply::Ok)),
            Message::Write(_) => Err(SqlError("a write is no question".to_owned())),
        })
    }

    fn with_catalog<T>(
        &self,
        action: impl FnOnce(&catalog::Catalog<ObjectSql>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let mut opened = self.opened.borrow_mut();
        match &mut *opened {
            Some(catalog) => action(catalog),
            closed => {
                let sql = ObjectSql::of(&self.state)?;
                action(closed.insert(catalog::Catalog::open(sql)?))
            }
        }
    }

    /// Publishes what was written, and says whether KV has taken it. The alarm stands before the first try, in the same
    /// turn as the write, so that a crash does not forget it.
    async fn publish_written(&self, written: Written) -> Result<String, SqlError> {
        if !written.entity.published {
            self.set_alarm();
            self.publish().await;
        }
        self.with_catalog(|catalog| {
            let published = catalog
                .get(written.entity.kind, written.entity.id)
                .is_ok_and(|entity| entity.published);
            let mut written = written;
            written.entity.published = published;
            reply(Ok(Reply::Ok(written)))
        })
    }

    /// Publishes what stands in the outbox; what KV does not take is tried again by the alarm.
    async fn publish(&self) {
        while self.turn_ends.get().is_some_and(|end| runtime::now() < end) {
            runtime::sleep(POLL).await;
        }
        let result = self.publish_outbox().await;
        self.turn_ends.set(None);
        let is_done = self.with_catalog(|catalog| Ok(catalog.outbox(1)?.is_empty()));
        if let Err(cause) = &result {
            log::error("publish_failed", cause);
        }
        if !matches!(is_done, Ok(true)) {
            self.set_alarm();
        }
    }

    async fn publish_outbox(&self) -> Result<(), String> {
        let settings = Settings::of(&self.env);
        let kv = settings.kv.as_ref().map_err(ToString::to_string)?;
        for _ in 0..MAX_PUBLISHED.div_euclid(SIDE_BY_SIDE) {
            self.turn_ends.set(runtime::now().checked_add_signed(TURN));
            let outbox = self
                .with_catalog(|catalog| catalog.outbox(SIDE_BY_SIDE))
                .map_err(|error| error.to_string())?;
            if outbox.is_empty() {
                return Ok(());
            }
            let published = outbox.into_iter().map(|one| self.publish_one(one, kv));
            for result in join_all(published).await {
                result?;
            }
        }
        Ok(())
    }

    async fn publish_one(&self, unpublished: Unpublished, kv: &KvNamespace) -> Result<(), String> {
        let document = self
            .with_catalog(|catalog| Ok(catalog.document(unpublished)))
            .map_err(|error| error.to_string())?
            .map_err(|refusal| refusal.to_string())?;
        kv::write(kv, &document.key, &document.value, None, PUBLISH_LIMIT).await?;
        self.with_catalog(|catalog| catalog.published(unpublished))
            .map_err(|error| error.to_string())
    }

    fn set_alarm(&self) {
        object::set_alarm(&self.state, runtime::after(RETRY_AFTER));
    }
}
