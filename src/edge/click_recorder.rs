//! Records clicks in pages, in the background.
//!
//! The open page is a plain buffer that belongs to no request. It is written when it is full, when its second is over
//! and another click comes, or when the timer ends that its first click has set.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join;
use worker::Context;

use super::kv::{self, KvNamespace};
use super::settings::Settings;
use super::{click_counter, log, runtime};
use crate::tracking::click_page::{ClickPage, Session};
use crate::tracking::transaction_id::{ClickTime, PageName, TransactionId};

/// How long after its first click a page is written at the latest.
const WRITE_AFTER: Duration = Duration::from_secs(1);

/// The waits before each try to write a page. All tries end within the 30 seconds that a request has after its answer.
const TRIES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// The most pages that wait to be written, while KV is slow or failing: at some 30 KB, 15 MB of the isolate's 128.
const MAX_WAITING: usize = 512;

/// How much longer than its longest session a page is kept, for those who look for it late.
const KEPT_LONGER: TimeDelta = TimeDelta::days(2);

thread_local! {
    static OPEN: RefCell<Option<ClickPage>> = const { RefCell::new(None) };
}

/// Where the next click goes.
pub(super) struct Place {
    /// The page.
    pub(super) page: PageName,
    /// The place in it.
    pub(super) position: u8,
}

/// Finds a place for a click, opening a page where it takes one. Nothing is taken before [`record`].
pub(super) fn place(
    now: DateTime<Utc>,
    kv: &KvNamespace,
    settings: &Rc<Settings>,
    context: &Context,
) -> Result<Place, getrandom::Error> {
    let time = ClickTime::from_utc(now);
    let open = OPEN.with_borrow(|open| {
        open.as_ref()
            .and_then(|page| Some((page.name(), page.position_for(time)?)))
    });
    if let Some((page, position)) = open {
        return Ok(Place { page, position });
    }
    let page = PageName::new(time, runtime::random()?);
    let previous = OPEN.with_borrow_mut(|open| open.replace(ClickPage::open(page)));
    if let Some(previous) = previous {
        write_in_background(previous, kv, settings, context);
    }
    let (kv, settings) = (kv.clone(), Rc::clone(settings));
    context.wait_until(async move {
        runtime::sleep(WRITE_AFTER).await;
        let open = OPEN.with_borrow_mut(|open| open.take_if(|open| open.name() == page));
        if let Some(open) = open {
            write(open, &kv, &settings).await;
        }
    });
    Ok(Place { page, position: 0 })
}

/// A place for an ID that is shown to nobody who could convert, so that no click is recorded for it.
pub(super) fn unrecorded_place(now: DateTime<Utc>) -> Result<Place, getrandom::Error> {
    Ok(Place {
        page: PageName::new(ClickTime::from_utc(now), runtime::random()?),
        position: 0,
    })
}

/// Adds a click to the open page, where `id` has its place.
pub(super) fn record(
    id: &TransactionId,
    session: &Session<'_>,
    expires: DateTime<Utc>,
    kv: &KvNamespace,
    settings: &Rc<Settings>,
    context: &Context,
) {
    let full = OPEN.with_borrow_mut(|open| {
        if let Some(page) = open {
            page.append(id, session, expires);
        }
        open.take_if(|page| page.is_full())
    });
    if let Some(page) = full {
        write_in_background(page, kv, settings, context);
    }
}

fn write_in_background(
    page: ClickPage,
    kv: &KvNamespace,
    settings: &Rc<Settings>,
    context: &Context,
) {
    let (kv, settings) = (kv.clone(), Rc::clone(settings));
    context.wait_until(async move { write(page, &kv, &settings).await });
}

/// Writes a page, and counts its clicks, whether KV takes it or not.
async fn write(page: ClickPage, kv: &KvNamespace, settings: &Settings) {
    if page.is_empty() {
        return;
    }
    let (key, text, expires) = page.close();
    join(
        write_text(&key, &text, expires, kv),
        click_counter::count(&text, settings),
    )
    .await;
}

async fn write_text(key: &str, text: &str, expires: DateTime<Utc>, kv: &KvNamespace) {
    let expires = expires.checked_add_signed(KEPT_LONGER).unwrap_or(expires);
    let expires = u32::try_from(expires.timestamp()).unwrap_or(u32::MAX);
    let mut cause = "too many pages wait to be written".to_owned();
    if let Some(_waiting) = Waiting::begin() {
        for wait in TRIES {
            runtime::sleep(wait).await;
            match kv::write(kv, key, text, Some(expires), TRY_LIMIT).await {
                Ok(()) => return,
                Err(error) => cause = error,
            }
        }
    }
    let clicks = text.lines().count().saturating_sub(1);
    log::error(
        "click_page_lost",
        &format!("the sub IDs of {clicks} clicks: {cause}"),
    );
}

thread_local! {
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// One of the pages that wait to be written.
struct Waiting;

impl Waiting {
    /// `None` when there are too many.
    fn begin() -> Option<Self> {
        let waiting = WAITING.get();
        (waiting < MAX_WAITING).then(|| {
            WAITING.set(waiting.saturating_add(1));
            Self
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(WAITING.get().saturating_sub(1));
    }
}
