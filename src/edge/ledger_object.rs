//! The Durable Object that keeps the ledger of one offer.

use std::cell::RefCell;

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::object::{self, ObjectSql, reply};
use crate::ledger;
use crate::ledger::message::{Message, Newest};
use crate::sql::SqlError;

/// The object; `ledger` is opened by the first message, because a constructor that failed would fail for ever.
#[durable_object(fetch)]
pub struct Ledger {
    state: State,
    ledger: RefCell<Option<ledger::Ledger<ObjectSql>>>,
}

impl DurableObject for Ledger {
    fn new(state: State, _env: Env) -> Self {
        Self {
            state,
            ledger: RefCell::new(None),
        }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        object::answer(request, |message| self.handle(message)).await
    }
}

impl Ledger {
    fn handle(&self, message: Message) -> std::result::Result<String, SqlError> {
        let mut opened = self.ledger.borrow_mut();
        let ledger = match &mut *opened {
            Some(ledger) => ledger,
            closed => closed.insert(ledger::Ledger::open(ObjectSql::of(&self.state))?),
        };
        match message {
            Message::Claim {
                conversion,
                uniqueness,
            } => reply(ledger.claim(*conversion, uniqueness)),
            Message::ClaimUnique { conversion, epoch } => {
                reply(ledger.claim_unique(*conversion, epoch))
            }
            Message::Fence { unique_id, epoch } => reply(ledger.fence(&unique_id, epoch)),
            Message::Refuse(refusal) => reply(ledger.refuse(&refusal)),
            Message::Newest { limit } => reply(ledger.conversions(limit).and_then(|conversions| {
                let refusals = ledger.refusals(limit)?;
                Ok(Newest {
                    conversions,
                    refusals,
                })
            })),
        }
    }
}
