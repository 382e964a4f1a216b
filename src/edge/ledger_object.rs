//! The Durable Object that keeps the ledger of one offer.
//!
//! Its alarm looks for the sessions that KV did not show when a postback came.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use wasm_bindgen::prelude::wasm_bindgen;
use worker::Env;

use super::object::{self, ObjectSql, ObjectState, reply};
use super::settings::Settings;
use super::{kv, log, runtime};
use crate::ledger;
use crate::ledger::Awaited;
use crate::ledger::message::Message;
use crate::sql::SqlError;
use crate::tracking::click_page;
use crate::tracking::transaction_id::Unverified;

/// The most sessions that one alarm looks for; each may be in a page of its own, and an event has 1,000 subrequests.
const MAX_SEARCHES: u32 = 100;

/// How long KV may take to show a page.
const PAGE_TIME_LIMIT: Duration = Duration::from_secs(10);

/// When a search is tried again that KV did not answer.
const RETRY_AFTER: Duration = Duration::from_mins(1);

/// The object; the ledger is opened by the first event, because a constructor that failed would fail for ever.
#[wasm_bindgen]
pub struct Ledger {
    state: ObjectState,
    env: Env,
    opened: RefCell<Option<ledger::Ledger<ObjectSql>>>,
    /// When the alarm is set for, as far as this object has set it since it woke.
    alarm: Cell<Option<DateTime<Utc>>>,
}

#[wasm_bindgen(wasm_bindgen_futures = worker::wasm_bindgen_futures)]
impl Ledger {
    /// An object that has just woken.
    #[wasm_bindgen(constructor)]
    pub fn new(state: ObjectState, env: Env) -> Self {
        Self {
            state,
            env,
            opened: RefCell::new(None),
            alarm: Cell::new(None),
        }
    }

    /// Answers a [`Message`], both in JSON; with nothing if it fails.
    pub fn handle(&self, message: &str) -> Option<String> {
        let answer = object::answer(message, |message| self.answer(message));
        self.set_alarm(None);
        answer
    }

    /// Looks for the sessions that are due.
    pub async fn alarm(&self) {
        self.alarm.set(None);
        let retry_at = match self.find_sessions().await {
            Ok(()) => None,
            Err(cause) => {
                log::error("session_search_failed", &cause);
                Some(runtime::after(RETRY_AFTER))
            }
        };
        self.set_alarm(retry_at);
    }
}

impl Ledger {
    fn answer(&self, message: Message) -> Result<String, SqlError> {
        self.with_ledger(|ledger| match message {
            Message::Claim {
                conversion,
                uniqueness,
                received,
            } => reply(ledger.claim(*conversion, uniqueness, &received)),
            Message::ClaimUnique {
                conversion,
                epoch,
                received,
            } => reply(ledger.claim_unique(*conversion, epoch, &received)),
            Message::Fence { unique_id, epoch } => reply(ledger.fence(&unique_id, epoch)),
            Message::Refuse {
                record,
                received,
                answer,
            } => reply(ledger.refuse(record.as_deref(), &received, &answer)),
            Message::Clicks(counts) => reply(ledger.count_clicks(counts)),
            Message::Conversions(filter) => reply(ledger.conversions(&filter)),
            Message::Conversion(id) => reply(ledger.conversion(id)),
            Message::Decide(id, status) => reply(ledger.decide(id, status)),
            Message::Postbacks(filter) => reply(ledger.postbacks(&filter)),
            Message::Report(request) => reply(ledger.report(&request)),
            Message::WouldRepeat {
                transaction_id,
                goal,
            } => reply(ledger.has_converted(&transaction_id, goal)),
        })
    }

    fn with_ledger<T>(
        &self,
        action: impl FnOnce(&ledger::Ledger<ObjectSql>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let mut opened = self.opened.borrow_mut();
        match &mut *opened {
            Some(ledger) => action(ledger),
            closed => {
                let first_search = Settings::of(&self.env).first_session_search;
                let sql = ObjectSql::of(&self.state)?;
                action(closed.insert(ledger::Ledger::open(sql, first_search, runtime::now())?))
            }
        }
    }

    /// Sets the alarm for the next search, or for `at` where that is later. Nothing is awaited between the write of a
    /// conversion and this.
    fn set_alarm(&self, at: Option<DateTime<Utc>>) {
        let next = match self.with_ledger(ledger::Ledger::next_search) {
            Ok(next) => next.map(|next| at.map_or(next, |at| next.max(at))),
            Err(error) => return log::error("next_search_unknown", &error),
        };
        if let Some(next) = next
            && self.alarm.get() != Some(next)
        {
            object::set_alarm(&self.state, next);
        }
        self.alarm.set(next);
    }

    /// Looks for the sessions that are due. What was found before something fails stays found.
    async fn find_sessions(&self) -> Result<(), String> {
        let settings = Settings::of(&self.env);
        let kv = settings.kv.as_ref().map_err(ToString::to_string)?;
        let now = runtime::now();
        let due = self
            .with_ledger(|ledger| ledger.awaited(now, MAX_SEARCHES))
            .map_err(|error| error.to_string())?;
        let mut pages: HashMap<String, Option<String>> = HashMap::new();
        for awaited in due {
            let key = Unverified::read(&awaited.transaction_id)
                .map(|id| id.page.key())
                .unwrap_or_default();
            if !pages.contains_key(&key) {
                pages.insert(key.clone(), kv::read(kv, &key, PAGE_TIME_LIMIT).await?);
            }
            let page = pages.get(&key).and_then(Option::as_deref);
            self.conclude(&awaited, page, now)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn conclude(
        &self,
        awaited: &Awaited,
        page: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), SqlError> {
        let session = page.and_then(|page| click_page::find(page, &awaited.transaction_id));
        self.with_ledger(|ledger| match session {
            Some(session) => ledger.fill_in(awaited, &session),
            None => ledger.put_off(awaited, now),
        })
    }
}
