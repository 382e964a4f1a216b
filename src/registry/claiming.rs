//! The way of one postback through registry and ledgers, step by step. Whoever drives it carries each step out and tells
//! what came of it; it may stop anywhere.

use super::{Claimed, Epoch, Holding};
use crate::ledger::{Fenced, UniqueOutcome};
use crate::registry::message::Request;
use crate::tracking::id::OfferId;

/// How often a postback asks again before it gives up; with the waits in between, longer than [`super::GRACE`].
const MAX_ROUNDS: u8 = 20;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the registry, and go on with [`Claiming::registered`].
    Register(Request),
    /// Wait a moment, then go on with [`Claiming::again`].
    Wait,
    /// Have the ledger of the offer record the conversion under this epoch, and go on with [`Claiming::recorded`].
    Record(Epoch),
    /// Ask the ledger of the holder, and go on with [`Claiming::fenced`].
    Fence(Holding),
    /// It is over.
    Done(End),
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The conversion is recorded. The registry is to be told by [`Request::Confirm`], but nobody needs to wait.
    Recorded,
    /// The offer itself has a conversion with this ID; its ledger has kept the refusal.
    DuplicateHere,
    /// Another offer has a conversion with this ID. If it was not confirmed yet, now it can be.
    DuplicateElsewhere(Option<OfferId>),
    /// Too much is going on around this ID: the sender shall try again.
    GaveUp,
}

/// One postback that wants to record a unique ID for an offer.
#[derive(Clone, Copy, Debug)]
pub struct Claiming {
    offer: OfferId,
    rounds: u8,
}

impl Claiming {
    /// A postback for this offer, and its first step.
    pub fn start(offer: OfferId) -> (Self, Step) {
        let claiming = Self { offer, rounds: 0 };
        (claiming, Step::Register(Request::Claim(offer)))
    }

    /// After a wait, or after a ledger that could not tell.
    pub fn again(&mut self) -> Step {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < MAX_ROUNDS {
            Step::Register(Request::Claim(self.offer))
        } else {
            Step::Done(End::GaveUp)
        }
    }

    /// What the registry said.
    pub fn registered(&mut self, claimed: Claimed) -> Step {
        match claimed {
            Claimed::Granted(epoch) => Step::Record(epoch),
            Claimed::Duplicate => Step::Done(End::DuplicateElsewhere(None)),
            Claimed::Busy => Step::Wait,
            Claimed::Contested(holding) => Step::Fence(holding),
        }
    }

    /// What the offer's ledger said.
    pub fn recorded(&mut self, epoch: Epoch, outcome: UniqueOutcome) -> Step {
        match outcome {
            UniqueOutcome::Recorded => Step::Done(End::Recorded),
            UniqueOutcome::Duplicate => Step::Done(End::DuplicateHere),
            // Another offer wants the ID. It may never have come to take it: then it is still here, for a new epoch.
            UniqueOutcome::Fenced => match self.again() {
                Step::Register(_) => Step::Register(Request::Transfer {
                    from: Holding {
                        offer: self.offer,
                        epoch,
                    },
                    to: self.offer,
                }),
                gave_up => gave_up,
            },
        }
    }

    /// What the holder's ledger said.
    pub fn fenced(&mut self, holding: Holding, fenced: Fenced) -> Step {
        match fenced {
            Fenced::Recorded => Step::Done(End::DuplicateElsewhere(Some(holding.offer))),
            Fenced::Free => Step::Register(Request::Transfer {
                from: holding,
                to: self.offer,
            }),
        }
    }
}
