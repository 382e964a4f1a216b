//! Time, randomness and patience, from the runtime.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{Either, select};

/// The present. In production it stands still while a request computes.
pub(super) fn now() -> DateTime<Utc> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole milliseconds, far under 2^53"
    )]
    let milliseconds = js_sys::Date::now() as i64;
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

/// The present and `wait`.
pub(super) fn after(wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait)
        .ok()
        .and_then(|wait| now().checked_add_signed(wait))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// How many random numbers are drawn at a time: the runtime is asked as seldom, for 256 bytes.
const RANDOM_NUMBERS: usize = 64;

thread_local! {
    /// Random numbers that were drawn and not given out yet.
    static RANDOM: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Four random bytes from the runtime's own generator, given out once.
pub(super) fn random() -> Result<u32, getrandom::Error> {
    RANDOM.with_borrow_mut(|numbers| {
        if let Some(number) = numbers.pop() {
            return Ok(number);
        }
        let mut bytes = [[0; 4]; RANDOM_NUMBERS];
        getrandom::fill(bytes.as_flattened_mut())?;
        let [first, rest @ ..] = bytes;
        numbers.extend(rest.map(u32::from_ne_bytes));
        Ok(u32::from_ne_bytes(first))
    })
}

/// A new token: 128 random bits in hexadecimal.
pub(super) fn token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

/// Waits.
pub(super) async fn sleep(duration: Duration) {
    worker::Delay::from(duration).await;
}

/// What `future` gives, or `None` if it takes longer than `limit`.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let future = std::pin::pin!(future);
    let timer = std::pin::pin!(sleep(limit));
    match select(future, timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
