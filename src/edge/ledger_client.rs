//! Speaks to the objects that keep the ledgers.

use std::time::Duration;

use serde::de::DeserializeOwned;
use worker::{Method, ObjectNamespace, RequestInit};

use super::directory::Unreachable;
use super::{log, runtime};
use crate::json;
use crate::ledger::Outcome;
use crate::ledger::message::{Message, Newest, object_name};
use crate::tracking::conversion::{Claim, Conversion};
use crate::tracking::id::OfferId;

/// How long a ledger may take. A claim that was given up may be recorded all the same; sent again, it is a duplicate.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// The ledger of one offer.
pub(super) struct LedgerClient {
    ledgers: ObjectNamespace,
    name: String,
}

impl LedgerClient {
    pub(super) fn of(ledgers: &ObjectNamespace, offer: OfferId) -> Self {
        Self {
            ledgers: ledgers.clone(),
            name: object_name(offer),
        }
    }

    pub(super) async fn claim(&self, claim: Claim) -> Result<Outcome, Unreachable> {
        self.send(&Message::Claim(Box::new(claim))).await
    }

    pub(super) async fn refuse(&self, refusal: Conversion) -> Result<(), Unreachable> {
        self.send(&Message::Refuse(Box::new(refusal))).await
    }

    pub(super) async fn newest(&self, limit: u32) -> Result<Newest, Unreachable> {
        self.send(&Message::Newest { limit }).await
    }

    async fn send<T: DeserializeOwned>(&self, message: &Message) -> Result<T, Unreachable> {
        runtime::within(TIME_LIMIT, self.exchange(message))
            .await
            .unwrap_or_else(|| Err("no answer".to_owned()))
            .map_err(|cause| {
                log::error("ledger_unreachable", &format!("{}: {cause}", self.name));
                Unreachable
            })
    }

    async fn exchange<T: DeserializeOwned>(&self, message: &Message) -> Result<T, String> {
        let json = json::write(message);
        let answer = async {
            let mut init = RequestInit::new();
            init.with_method(Method::Post).with_body(Some(json.into()));
            let request = worker::Request::new_with_init("https://ledger/", &init)?;
            let stub = self.ledgers.get_by_name(&self.name)?;
            let mut response = stub.fetch_with_request(request).await?;
            Ok((response.status_code(), response.text().await?))
        };
        match answer.await {
            Ok((200, json)) => json::read(&json).map_err(|error| error.to_string()),
            Ok((status, _)) => Err(format!("status {status}")),
            Err(error) => Err(worker::Error::to_string(&error)),
        }
    }
}
