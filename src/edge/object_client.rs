//! Speaks to Durable Objects: one JSON message there, one back.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::ObjectNamespace;
use worker::worker_sys::web_sys;

use super::{Unreachable, log, runtime};
use crate::json;

/// How long an object may take. What was given up may have happened all the same; sent again, it is found out.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Sends a message to the object with this name.
pub(super) async fn send<T: DeserializeOwned>(
    objects: &ObjectNamespace,
    name: &str,
    message: &impl Serialize,
) -> Result<T, Unreachable> {
    let json = json::write(message);
    runtime::within(TIME_LIMIT, exchange(objects, name, &json))
        .await
        .unwrap_or_else(|| Err("no answer".to_owned()))
        .and_then(|json| json::read(&json).map_err(|error| error.to_string()))
        .map_err(|cause| {
            log::error("object_unreachable", &format!("{name}: {cause}"));
            Unreachable
        })
}

async fn exchange(objects: &ObjectNamespace, name: &str, json: &str) -> Result<String, String> {
    let answer = async {
        // Without the options of Cloudflare that `worker::RequestInit` carries, which take 5 KB of the module.
        let init = web_sys::RequestInit::new();
        init.set_method("POST");
        init.set_body(&json.into());
        let request = web_sys::Request::new_with_str_and_init("https://object/", &init)?;
        // After a deploy or a crash of the object, only a new stub reaches it.
        let stub = objects.get_by_name(name)?;
        let mut response = stub.fetch_with_request(request.into()).await?;
        Ok((response.status_code(), response.text().await?))
    };
    match answer.await {
        Ok((200, json)) => Ok(json),
        Ok((status, _)) => Err(format!("status {status}")),
        Err(error) => Err(worker::Error::to_string(&error)),
    }
}
