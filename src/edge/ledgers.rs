//! Speaks to the objects that keep ledgers and registries.

use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use worker::Context;

use super::object_client::{self, ObjectNamespace};
use super::settings::{Misconfigured, Settings};
use super::{Unreachable, batches, log, runtime};
use crate::json;
use crate::ledger::Outcome;
use crate::ledger::log::LogFilter;
use crate::ledger::message as ledger;
use crate::registry::claiming::{Claiming, End, Step};
use crate::registry::message::{self as registry, Request};
use crate::tracking::conversion::{Claim, Conversion};
use crate::tracking::id::OfferId;
use crate::tracking::received::{LoggedPostback, Received};
use crate::tracking::rejection::{Answer, Rejection};

/// How long to wait where another offer has just been given the same unique ID.
const BUSY_WAIT: Duration = Duration::from_millis(400);

/// How many ledgers are asked at the same time.
const SIDE_BY_SIDE: usize = 32;

/// The ledgers, and the registries that they share.
#[derive(Clone)]
pub(super) struct Ledgers {
    ledgers: ObjectNamespace,
    registries: ObjectNamespace,
}

impl Ledgers {
    pub(super) fn of(settings: &Settings) -> Result<Self, Misconfigured> {
        Ok(Self {
            ledgers: settings.ledgers.clone()?,
            registries: settings.registries.clone()?,
        })
    }

    /// Records a conversion, or finds that an earlier one rules it out.
    pub(super) async fn claim(
        &self,
        offer: OfferId,
        claim: Claim,
        received: Received,
        context: &Context,
    ) -> Result<Answer, Unreachable> {
        match claim {
            Claim::InLedger(conversion, uniqueness) => {
                let conversion = Box::new(conversion);
                let message = ledger::Message::Claim {
                    conversion,
                    uniqueness,
                    received,
                };
                match self.tell(offer, &message, context).await? {
                    Outcome::Recorded => Ok(Answer::Accepted),
                    Outcome::Duplicate => Ok(Answer::Refused(Rejection::DuplicateConversion)),
                }
            }
            Claim::InNetwork(conversion, unique_id) => {
                self.claim_unique(offer, conversion, unique_id, received, context)
                    .await
            }
        }
    }

    /// Logs a refused postback, in the background: the answer is the same whether it is logged or not.
    pub(super) fn refuse(
        &self,
        offer: OfferId,
        record: Option<Box<Conversion>>,
        received: Received,
        rejection: &Rejection,
        context: &Context,
    ) {
        let (ledgers, rejection) = (self.clone(), rejection.clone());
        context.wait_until(async move {
            ledgers
                .log_refused(offer, record, received, &rejection)
                .await;
        });
    }

    /// The same, at once.
    pub(super) async fn log_refused(
        &self,
        offer: OfferId,
        record: Option<Box<Conversion>>,
        received: Received,
        rejection: &Rejection,
    ) {
        let message = json::write(&refuse(record, received, rejection));
        let answer = batches::send(&self.ledgers, offer, message).await;
        let _: Result<(), Unreachable> = read(offer, answer);
    }

    /// Logs a postback that proves no offer with the others of its kind, in the background.
    pub(super) fn refuse_unattributed(
        &self,
        received: Received,
        rejection: &Rejection,
        context: &Context,
    ) {
        let (ledgers, message) = (self.ledgers.clone(), refuse(None, received, rejection));
        context.wait_until(async move {
            let _: Result<(), Unreachable> =
                object_client::send(&ledgers, ledger::UNATTRIBUTED, &message).await;
        });
    }

    /// The newest postbacks that prove no offer.
    pub(super) async fn unattributed(
        &self,
        filter: LogFilter,
    ) -> Result<Vec<LoggedPostback>, Unreachable> {
        object_client::send(
            &self.ledgers,
            ledger::UNATTRIBUTED,
            &ledger::Message::Postbacks(filter),
        )
        .await
    }

    /// Whether a conversion of the network has a unique ID.
    pub(super) async fn has_unique_id(&self, unique_id: &str) -> Result<bool, Unreachable> {
        self.register(unique_id, Request::Peek).await
    }

    /// Sends a message to each of many ledgers, some of them at a time, and gives the answers in their order.
    pub(super) async fn ask_all<T: DeserializeOwned>(
        &self,
        messages: &[(OfferId, ledger::Message)],
    ) -> Result<Vec<(OfferId, T)>, Unreachable> {
        let mut answers = Vec::new();
        for messages in messages.chunks(SIDE_BY_SIDE) {
            let asked = messages
                .iter()
                .map(|(offer, message)| self.ask(*offer, message));
            for ((offer, _), answer) in messages.iter().zip(join_all(asked).await) {
                answers.push((*offer, answer?));
            }
        }
        Ok(answers)
    }

    /// Goes the way of [`crate::registry`].
    async fn claim_unique(
        &self,
        offer: OfferId,
        conversion: Conversion,
        unique_id: String,
        received: Received,
        context: &Context,
    ) -> Result<Answer, Unreachable> {
        let (mut claiming, mut step) = Claiming::start(offer);
        let end = loop {
            step = match step {
                Step::Register(request) => {
                    claiming.registered(self.register(&unique_id, request).await?)
                }
                Step::Wait => {
                    runtime::sleep(BUSY_WAIT).await;
                    claiming.again()
                }
                Step::Record(epoch) => {
                    let conversion = Box::new(conversion.clone());
                    let message = ledger::Message::ClaimUnique {
                        conversion,
                        epoch,
                        received: received.clone(),
                    };
                    claiming.recorded(epoch, self.tell(offer, &message, context).await?)
                }
                Step::Fence(holding) => {
                    let message = ledger::Message::Fence {
                        unique_id: unique_id.clone(),
                        epoch: holding.epoch,
                    };
                    claiming.fenced(holding, self.ask(holding.offer, &message).await?)
                }
                Step::Done(end) => break end,
            };
        };
        match end {
            End::Recorded => {
                self.confirm(unique_id, offer, context);
                Ok(Answer::Accepted)
            }
            End::DuplicateHere => Ok(Answer::Refused(Rejection::DuplicateUniqueId)),
            End::DuplicateElsewhere(holder) => {
                if let Some(holder) = holder {
                    self.confirm(unique_id, holder, context);
                }
                let rejection = Rejection::DuplicateUniqueId;
                let refusal = Box::new(conversion.refused(&rejection));
                self.refuse(offer, Some(refusal), received, &rejection, context);
                Ok(Answer::Refused(rejection))
            }
            End::GaveUp => {
                log::error("unique_id_contested", &offer);
                Err(Unreachable)
            }
        }
    }

    /// Tells the registry that the holder has recorded the ID, in the background: if it fails, the next offer that
    /// wants the ID finds it out.
    fn confirm(&self, unique_id: String, holder: OfferId, context: &Context) {
        let ledgers = self.clone();
        context.wait_until(async move {
            let _: Result<(), Unreachable> =
                ledgers.register(&unique_id, Request::Confirm(holder)).await;
        });
    }

    async fn register<T: DeserializeOwned>(
        &self,
        unique_id: &str,
        request: Request,
    ) -> Result<T, Unreachable> {
        let message = registry::Message {
            unique_id: unique_id.to_owned(),
            request,
        };
        object_client::send(
            &self.registries,
            &registry::object_name(unique_id),
            &message,
        )
        .await
    }

    /// Sends an offer's ledger a message that records a postback, with others of the moment.
    async fn tell<T: DeserializeOwned>(
        &self,
        offer: OfferId,
        message: &ledger::Message,
        context: &Context,
    ) -> Result<T, Unreachable> {
        let (ledgers, message) = (self.ledgers.clone(), json::write(message));
        let (sender, answer) = oneshot::channel();
        context.wait_until(async move {
            // Nobody hears it if the client has hung up.
            let _ = sender.send(batches::send(&ledgers, offer, message).await);
        });
        let answer = answer.await;
        read(
            offer,
            answer.unwrap_or_else(|canceled| Err(canceled.to_string())),
        )
    }

    /// Sends a message to an offer's ledger, alone.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        offer: OfferId,
        message: &ledger::Message,
    ) -> Result<T, Unreachable> {
        object_client::send(&self.ledgers, &ledger::object_name(offer), message).await
    }
}

fn read<T: DeserializeOwned>(
    offer: OfferId,
    answer: Result<String, String>,
) -> Result<T, Unreachable> {
    object_client::read(&ledger::object_name(offer), answer)
}

fn refuse(
    record: Option<Box<Conversion>>,
    received: Received,
    rejection: &Rejection,
) -> ledger::Message {
    ledger::Message::Refuse {
        record,
        received,
        answer: Answer::Refused(rejection.clone()).text(),
    }
}
