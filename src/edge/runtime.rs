//! Time, randomness and patience, from the runtime.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

/// The present. In production it stands still while a request computes.
pub(super) fn now() -> DateTime<Utc> {
    i64::try_from(worker::Date::now().as_millis())
        .ok()
        .and_then(DateTime::from_timestamp_millis)
        .unwrap_or_default()
}

/// Four random bytes from the runtime's own generator.
pub(super) fn random() -> Result<u32, getrandom::Error> {
    getrandom::u32()
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
