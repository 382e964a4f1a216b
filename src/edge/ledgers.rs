//! Speaks to the objects that keep ledgers and registries.

use std::time::Duration;

use serde::de::DeserializeOwned;
use worker::{Context, ObjectNamespace};

use super::settings::{Misconfigured, Settings};
use super::{Unreachable, log, object_client, runtime};
use crate::ledger::Outcome;
use crate::ledger::message::{self as ledger, Newest};
use crate::registry::claiming::{Claiming, End, Step};
use crate::registry::message::{self as registry, Request};
use crate::tracking::conversion::{Claim, Conversion};
use crate::tracking::id::OfferId;
use crate::tracking::rejection::{Answer, Rejection};

/// How long to wait where another offer has just been given the same unique ID.
const BUSY_WAIT: Duration = Duration::from_millis(400);

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
        context: &Context,
    ) -> Result<Answer, Unreachable> {
        match claim {
            Claim::InLedger(conversion, uniqueness) => {
                let conversion = Box::new(conversion);
                let message = ledger::Message::Claim {
                    conversion,
                    uniqueness,
                };
                match self.send(offer, &message).await? {
                    Outcome::Recorded => Ok(Answer::Accepted),
                    Outcome::Duplicate => Ok(Answer::Refused(Rejection::DuplicateConversion)),
                }
            }
            Claim::InNetwork(conversion, unique_id) => {
                self.claim_unique(offer, conversion, unique_id, context)
                    .await
            }
        }
    }

    /// Keeps a refusal, in the background: the answer is the same whether it is kept or not.
    pub(super) fn refuse(&self, offer: OfferId, refusal: Box<Conversion>, context: &Context) {
        let ledgers = self.clone();
        context.wait_until(async move {
            let _: Result<(), Unreachable> =
                ledgers.send(offer, &ledger::Message::Refuse(refusal)).await;
        });
    }

    /// The newest conversions and refusals of an offer.
    pub(super) async fn newest(
        &self,
        offer: OfferId,
        before: i64,
        limit: u32,
    ) -> Result<Newest, Unreachable> {
        self.send(offer, &ledger::Message::Newest { before, limit })
            .await
    }

    /// Goes the way of [`crate::registry`].
    async fn claim_unique(
        &self,
        offer: OfferId,
        conversion: Conversion,
        unique_id: String,
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
                    let message = ledger::Message::ClaimUnique { conversion, epoch };
                    claiming.recorded(epoch, self.send(offer, &message).await?)
                }
                Step::Fence(holding) => {
                    let message = ledger::Message::Fence {
                        unique_id: unique_id.clone(),
                        epoch: holding.epoch,
                    };
                    claiming.fenced(holding, self.send(holding.offer, &message).await?)
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
                let refusal = conversion.refused(&Rejection::DuplicateUniqueId);
                self.refuse(offer, Box::new(refusal), context);
                Ok(Answer::Refused(Rejection::DuplicateUniqueId))
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

    async fn send<T: DeserializeOwned>(
        &self,
        offer: OfferId,
        message: &ledger::Message,
    ) -> Result<T, Unreachable> {
        object_client::send(&self.ledgers, &ledger::object_name(offer), message).await
    }
}
