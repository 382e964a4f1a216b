//! The protocol of unique IDs against a model that fits in a sentence: of five postbacks with one ID, for three offers,
//! exactly one is recorded.
//!
//! The postbacks are driven step by step in any order. A step may come when the clock has moved on, fail at any SQL
//! statement, lose its answer, or arrive long after its sender gave it up. Senders try again until they have an answer.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;

use super::claiming::{Claiming, End, Step};
use super::message::Request;
use super::*;
use crate::ledger::tests::{conversion, open, received};
use crate::ledger::{Fenced, Ledger, UniqueOutcome};
use crate::sql::native::{Failing, database};
use crate::tracking::conversion::Conversion;

const OFFERS: u32 = 3;
const POSTBACKS: usize = 5;

/// More steps than a postback needs when nothing disturbs it any more.
const UNDISTURBED_STEPS: usize = 80;

/// The objects that the steps are for.
struct Objects<'d> {
    registry: Registry<Failing<'d>>,
    ledgers: Vec<Ledger<Failing<'d>>>,
}

impl Objects<'_> {
    fn ledger(&self, offer: OfferId) -> &Ledger<Failing<'_>> {
        &self.ledgers[u32::from(offer) as usize - 1]
    }

    /// How many conversions have this ID.
    fn recorded(&self, unique_id: &str) -> usize {
        let fenced = self
            .ledgers
            .iter()
            .map(|ledger| ledger.fence(unique_id, Epoch::MAX));
        fenced
            .filter(|fenced| *fenced == Ok(Fenced::Recorded))
            .count()
    }
}

/// A step on its way to its object.
#[derive(Clone, Copy)]
struct Sent {
    step: Step,
    offer: OfferId,
}

#[derive(Clone, Copy)]
enum Reply {
    Registered(Claimed),
    Recorded(Epoch, UniqueOutcome),
    Fenced(Holding, Fenced),
    Nothing,
}

impl Sent {
    fn arrive(
        self,
        objects: &Objects<'_>,
        unique_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Reply, SqlError> {
        let registry = &objects.registry;
        Ok(match self.step {
            Step::Register(Request::Claim(offer)) => {
                Reply::Registered(registry.claim(unique_id, offer, now)?)
            }
            Step::Register(Request::Transfer { from, to }) => {
                Reply::Registered(registry.transfer(unique_id, from, to, now)?)
            }
            Step::Register(Request::Confirm(holder)) => {
                registry.confirm(unique_id, holder)?;
                Reply::Nothing
            }
            Step::Record(epoch) => {
                let conversion = Conversion {
                    conversion_unique_id: Some(unique_id.to_owned()),
                    ..conversion("t", None)
                };
                Reply::Recorded(
                    epoch,
                    objects
                        .ledger(self.offer)
                        .claim_unique(conversion, epoch, &received())?,
                )
            }
            Step::Fence(holding) => Reply::Fenced(
                holding,
                objects
                    .ledger(holding.offer)
                    .fence(unique_id, holding.epoch)?,
            ),
            Step::Register(Request::Peek) | Step::Wait | Step::Done(_) => Reply::Nothing,
        })
    }
}

/// A postback, and where it is on its way.
struct Postback {
    offer: OfferId,
    claiming: Claiming,
    step: Step,
}

impl Postback {
    fn start(offer: OfferId) -> Self {
        let (claiming, step) = Claiming::start(offer);
        Self {
            offer,
            claiming,
            step,
        }
    }

    fn sent(&self) -> Sent {
        Sent {
            step: self.step,
            offer: self.offer,
        }
    }

    fn go_on(&mut self, reply: Reply) {
        self.step = match reply {
            Reply::Registered(claimed) => self.claiming.registered(claimed),
            Reply::Recorded(epoch, outcome) => self.claiming.recorded(epoch, outcome),
            Reply::Fenced(holding, fenced) => self.claiming.fenced(holding, fenced),
            Reply::Nothing => self.claiming.again(),
        };
        if self.step == Step::Done(End::GaveUp) {
            *self = Self::start(self.offer);
        }
    }

    fn end(&self) -> Option<End> {
        match self.step {
            Step::Done(end) => Some(end),
            _ => None,
        }
    }
}

/// What happens to the next step of a postback.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It arrives, and so does its answer.
    Arrives,
    /// It fails at a statement.
    FailsAt(u32),
    /// Its answer is lost.
    AnswerLost,
    /// It is given up, and arrives later.
    Late,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
struct Event {
    postback: usize,
    /// How far the clock moves before it, in seconds.
    passes: i64,
    fate: Fate,
    /// Whether the oldest of the late steps arrives first.
    late_arrives: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let passes = prop_oneof![6 => Just(0i64), 2 => 1..4i64, 1 => 5..9i64];
    let fate = prop_oneof![
        8 => Just(Fate::Arrives),
        2 => (0..8u32).prop_map(Fate::FailsAt),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Late),
    ];
    (0..POSTBACKS, passes, fate, any::<bool>()).prop_map(
        |(postback, passes, fate, late_arrives)| Event {
            postback,
            passes,
            fate,
            late_arrives,
        },
    )
}

#[test]
fn exactly_one_conversion() {
    let statements_left = Cell::new(u32::MAX);
    let databases: Vec<Connection> = (0..=OFFERS).map(|_| database()).collect();
    let failing = |database| Failing {
        database,
        statements_left: &statements_left,
    };
    let objects = Objects {
        registry: Registry::open(failing(&databases[0])).expect("registry"),
        ledgers: databases[1..]
            .iter()
            .map(|database| open(failing(database)).expect("ledger"))
            .collect(),
    };
    let cases = Cell::new(0);
    let strategy = (
        prop::array::uniform5(1..=OFFERS),
        prop::collection::vec(event(), 0..60),
    );
    let result = TestRunner::default().run(&strategy, |(offers, events)| {
        cases.set(cases.get() + 1);
        let unique_id = cases.get().to_string();
        let mut postbacks = offers.map(|offer| Postback::start(offer.try_into().expect("offer")));
        let mut late = Vec::new();
        let mut now = DateTime::UNIX_EPOCH;
        let undisturbed = (0..POSTBACKS).flat_map(|postback| {
            let event = Event {
                postback,
                passes: 1,
                fate: Fate::Arrives,
                late_arrives: true,
            };
            std::iter::repeat_n(event, UNDISTURBED_STEPS)
        });
        for event in events.into_iter().chain(undisturbed) {
            now += TimeDelta::seconds(event.passes);
            if event.late_arrives && !late.is_empty() {
                let sent: Sent = late.remove(0);
                let _ = sent.arrive(&objects, &unique_id, now);
            }
            let postback = &mut postbacks[event.postback];
            if postback.end().is_some() {
                continue;
            }
            if let Fate::FailsAt(statement) = event.fate {
                statements_left.set(statement);
            }
            let reply = match event.fate {
                Fate::Late => {
                    late.push(postback.sent());
                    None
                }
                Fate::AnswerLost => postback
                    .sent()
                    .arrive(&objects, &unique_id, now)
                    .ok()
                    .and(None),
                Fate::Arrives | Fate::FailsAt(_) => {
                    postback.sent().arrive(&objects, &unique_id, now).ok()
                }
            };
            statements_left.set(u32::MAX);
            match reply {
                Some(reply) => postback.go_on(reply),
                None => *postback = Postback::start(postback.offer),
            }
            // The registry hears of it sooner, later, or never.
            let holder = match postback.end() {
                Some(End::Recorded) => Some(postback.offer),
                Some(End::DuplicateElsewhere(holder)) => holder,
                _ => None,
            };
            if let (Some(holder), 0..4) = (holder, event.passes) {
                let step = Step::Register(Request::Confirm(holder));
                late.push(Sent {
                    step,
                    offer: holder,
                });
            }
        }
        for sent in late {
            let _ = sent.arrive(&objects, &unique_id, now);
        }
        prop_assert!(
            postbacks.iter().all(|postback| postback.end().is_some()),
            "each is answered"
        );
        let accepted = postbacks
            .iter()
            .filter(|postback| postback.end() == Some(End::Recorded))
            .count();
        prop_assert!(accepted <= 1, "{} were accepted", accepted);
        prop_assert_eq!(objects.recorded(&unique_id), 1);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
