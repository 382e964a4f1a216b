//! Counts clicks for reports, in the background: the pages that are written are counted too, and every few seconds the
//! ledgers of the offers are told.
//!
//! A crash costs the counts of an isolate's last seconds, never an ID or a conversion. A batch whose answer is lost is
//! not sent again, because it may have been counted.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::ledgers::Ledgers;
use super::settings::Settings;
use super::{Unreachable, log, runtime};
use crate::ledger::counts::ClickCounts;
use crate::ledger::message::Message;

/// How long counts are gathered before the ledgers are told. A page is written within eight seconds of its first click,
/// and with this it stays within the 30 that a request has after its answer.
const GATHERED_FOR: Duration = Duration::from_secs(5);

/// After this time another task tells the ledgers, because the first can be broken off with its request.
const LEFT_FOR: TimeDelta = TimeDelta::seconds(10);

/// With so many counts, the ledgers are told at once.
const MAX_COUNTS: usize = 5_000;

thread_local! {
    static COUNTS: RefCell<ClickCounts> = RefCell::default();
    /// Until when it is left to a task that waits to tell the ledgers.
    static LEFT_UNTIL: Cell<Option<DateTime<Utc>>> = const { Cell::new(None) };
}

/// Counts the clicks of a page, and sees to it that the ledgers are told. To be awaited in the background.
pub(super) async fn count(page: &str, settings: &Settings) {
    let is_full = COUNTS.with_borrow_mut(|counts| {
        counts.add_page(page);
        counts.len() >= MAX_COUNTS
    });
    if is_full {
        return tell_ledgers(settings).await;
    }
    let now = runtime::now();
    if LEFT_UNTIL.get().is_none_or(|end| end < now) {
        LEFT_UNTIL.set(now.checked_add_signed(LEFT_FOR));
        runtime::sleep(GATHERED_FOR).await;
        LEFT_UNTIL.set(None);
        tell_ledgers(settings).await;
    }
}

async fn tell_ledgers(settings: &Settings) {
    let counts = COUNTS.take();
    let ledgers = match Ledgers::of(settings) {
        Ok(ledgers) => ledgers,
        Err(error) => return log::error("clicks_not_counted", &error),
    };
    let told = counts.into_batches().map(|(offer, counts)| {
        let ledgers = ledgers.clone();
        async move {
            let told: Result<(), Unreachable> = ledgers.ask(offer, &Message::Clicks(counts)).await;
            if told.is_err() {
                log::error("clicks_not_counted", &offer);
            }
        }
    });
    join_all(told).await;
}
