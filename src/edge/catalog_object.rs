//! The Durable Object that keeps the catalog, and publishes it to KV.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use wasm_bindgen::JsValue;
use worker::kv::KvStore;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::object::{ObjectSql, reply};
use super::settings::Settings;
use super::{kv, log, object, runtime};
use crate::catalog::message::{Message, Reply, Written};
use crate::catalog::{self, Unpublished};
use crate::json;
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
#[durable_object(alarm)]
pub struct Catalog {
    object: JsValue,
    env: Env,
    opened: RefCell<Option<catalog::Catalog<ObjectSql>>>,
    /// Until when an event has its turn to publish: one at a time, so that an older document cannot overtake a newer one.
    /// A turn ends by the clock too, because an event can be broken off.
    turn_ends: Cell<Option<DateTime<Utc>>>,
}

impl DurableObject for Catalog {
    fn new(state: State, env: Env) -> Self {
        Self {
            object: state._inner().into(),
            env,
            opened: RefCell::new(None),
            turn_ends: Cell::new(None),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = json::read(&request.text().await?).map_err(|error| error.to_string());
        let answer = match message {
            Ok(Message::Write(write)) => {
                let written = self.with_catalog(|catalog| Ok(catalog.write(write, runtime::now())));
                match written {
                    Ok(Ok(written)) => self.publish_written(written).await,
                    Ok(refused) => reply(Ok(refused)),
                    Err(error) => Err(error),
                }
            }
            Ok(message) => self.show(message),
            Err(cause) => Err(SqlError(cause)),
        };
        object::respond(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.publish().await;
        Response::ok("")
    }
}

impl Catalog {
    fn show(&self, message: Message) -> std::result::Result<String, SqlError> {
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
        action: impl FnOnce(&catalog::Catalog<ObjectSql>) -> std::result::Result<T, SqlError>,
    ) -> std::result::Result<T, SqlError> {
        let mut opened = self.opened.borrow_mut();
        match &mut *opened {
            Some(catalog) => action(catalog),
            closed => {
                let sql = ObjectSql::of(&self.object)?;
                action(closed.insert(catalog::Catalog::open(sql)?))
            }
        }
    }

    /// Publishes what was written, and says whether KV has taken it. The alarm stands before the first try, in the same
    /// turn as the write, so that a crash does not forget it.
    async fn publish_written(&self, written: Written) -> std::result::Result<String, SqlError> {
        if !written.entity.published {
            self.set_alarm().await;
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
            self.set_alarm().await;
        }
    }

    async fn publish_outbox(&self) -> std::result::Result<(), String> {
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

    async fn publish_one(
        &self,
        unpublished: Unpublished,
        kv: &KvStore,
    ) -> std::result::Result<(), String> {
        let document = self
            .with_catalog(|catalog| Ok(catalog.document(unpublished)))
            .map_err(|error| error.to_string())?
            .map_err(|refusal| refusal.to_string())?;
        kv::write(kv, &document.key, &document.value, None, PUBLISH_LIMIT).await?;
        self.with_catalog(|catalog| catalog.published(unpublished))
            .map_err(|error| error.to_string())
    }

    async fn set_alarm(&self) {
        if let Err(error) = object::state(&self.object)
            .storage()
            .set_alarm(RETRY_AFTER)
            .await
        {
            log::error("alarm_not_set", &error);
        }
    }
}
