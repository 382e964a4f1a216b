//! Workers KV, with bounds on how long it may take.

use std::time::Duration;

use worker::kv::KvStore;

use super::runtime;

/// For how many seconds a data centre remembers what it has read, a miss too: the least that KV allows.
const REMEMBERED_SECONDS: u64 = 30;

/// Reads a value. The error says what went wrong, and with which key.
pub(super) async fn read(
    kv: &KvStore,
    key: &str,
    time_limit: Duration,
) -> Result<Option<String>, String> {
    let value = kv.get(key).cache_ttl(REMEMBERED_SECONDS).text();
    match runtime::within(time_limit, value).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(format!("{key}: {error}")),
        None => Err(format!("{key}: no answer")),
    }
}

/// Writes a value, which goes at `expires` in Unix seconds, if that is set.
pub(super) async fn write(
    kv: &KvStore,
    key: &str,
    value: &str,
    expires: Option<u64>,
    time_limit: Duration,
) -> Result<(), String> {
    let put = async {
        let put = kv.put(key, value)?;
        match expires {
            Some(expires) => put.expiration(expires).execute().await,
            None => put.execute().await,
        }
    };
    match runtime::within(time_limit, put).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(format!("{key}: {error}")),
        None => Err(format!("{key}: no answer")),
    }
}
