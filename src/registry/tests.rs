//! The protocol of unique IDs against a model: postbacks for several offers, driven step by step in any order, any of
//! them broken off anywhere, with SQL that fails at any statement.

use std::cell::Cell;
use std::collections::HashMap;

use proptest::prelude::*;
use rusqlite::Connection;

use super::claiming::{Claiming, End, Step};
use super::message::{Request, object_name};
use super::*;
use crate::ledger::tests::{conversion, open};
use crate::ledger::{Fenced, Ledger, Outcome, UniqueOutcome};
use crate::sql::native::{database, schema_digest, size};
use crate::tracking::conversion::{Conversion, Uniqueness};

fn offer(id: u32) -> OfferId {
    id.try_into().expect("offer")
}

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

#[test]
fn pins_what_outlives_a_deploy() {
    let database = database();
    Registry::open(&database).expect("registry");
    assert_eq!(schema_digest(&database), 16_499_999_513_040_364_133);
    assert_eq!(object_name("order 1"), "unique:f3d");
}

/// A measurement, for the README: `cargo test --lib storage -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn storage_of_unique_ids() {
    const IDS: i64 = 100_000;
    let database = database();
    let registry = Registry::open(&database).expect("registry");
    let empty = size(&database);
    for n in 0..IDS {
        // A sender's own numbers, in no order.
        let unique_id = format!("order-{:010}", n * 7_919 % 9_999_991);
        registry
            .claim(&unique_id, offer(1), time(1_780_000_000))
            .expect("granted");
    }
    println!("{} bytes a unique ID", (size(&database) - empty) / IDS);
}

#[test]
fn an_id_has_one_holder() {
    let database = database();
    let registry = Registry::open(&database).expect("registry");
    let claim = |id, seconds| {
        registry
            .claim("x", offer(id), time(seconds))
            .expect("an answer")
    };
    assert_eq!(claim(1, 0), Claimed::Granted(1));
    assert_eq!(claim(1, 1), Claimed::Granted(1));
    assert_eq!(claim(2, 4), Claimed::Busy);
    let first = Holding {
        offer: offer(1),
        epoch: 1,
    };
    assert_eq!(claim(2, 5), Claimed::Contested(first));
    let transfer = |to, seconds| {
        registry
            .transfer("x", first, offer(to), time(seconds))
            .expect("an answer")
    };
    assert_eq!(transfer(2, 5), Claimed::Granted(2));
    // Somebody was faster.
    assert_eq!(transfer(3, 6), Claimed::Busy);
    // A late confirmation of who holds it no more changes nothing.
    registry.confirm("x", offer(1)).expect("done");
    assert_eq!(
        claim(1, 20),
        Claimed::Contested(Holding {
            offer: offer(2),
            epoch: 2
        })
    );
    registry.confirm("x", offer(2)).expect("done");
    assert_eq!(claim(1, 1_000_000), Claimed::Duplicate);
    assert_eq!(claim(2, 1_000_000), Claimed::Granted(2));
}

#[test]
fn a_fence_keeps_late_claims_out() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let with_id = |transaction: &str| Conversion {
        conversion_unique_id: Some("x".to_owned()),
        ..conversion(transaction, None)
    };
    assert_eq!(ledger.fence("x", 1), Ok(Fenced::Free));
    assert_eq!(
        ledger.claim_unique(with_id("a"), 1),
        Ok(UniqueOutcome::Fenced)
    );
    assert_eq!(
        ledger.claim_unique(with_id("a"), 2),
        Ok(UniqueOutcome::Recorded)
    );
    assert_eq!(
        ledger.claim_unique(with_id("b"), 2),
        Ok(UniqueOutcome::Duplicate)
    );
    assert_eq!(ledger.fence("x", 2), Ok(Fenced::Recorded));
    // Where an ID is only a value that came along, it may come again.
    let outcome = ledger.claim(with_id("c"), Uniqueness::Transaction);
    assert_eq!(outcome, Ok(Outcome::Recorded));
}

/// A database that fails at one statement, and works before and after it.
struct Failing<'d> {
    database: &'d Connection,
    statements_left: &'d Cell<u32>,
}

impl Sql for Failing<'_> {
    fn run(&self, statement: &str, parameters: Vec<Value>) -> Result<Vec<Row>, SqlError> {
        let left = self.statements_left.get();
        self.statements_left.set(left.wrapping_sub(1));
        if left == 0 {
            return Err(SqlError("cut off".to_owned()));
        }
        self.database.run(statement, parameters)
    }
}

const OFFERS: u32 = 3;

/// What happens next to one of the postbacks.
#[derive(Clone, Copy, Debug)]
struct Event {
    postback: usize,
    /// How far the clock moves before it, in seconds.
    passes: i64,
    /// The statement of the step that fails, if one does.
    fails_at: Option<u32>,
    /// Whether the postback breaks off after the step, before its answer arrives: its sender starts again.
    breaks_off: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let passes = prop_oneof![6 => Just(0i64), 2 => 1..4i64, 1 => 5..9i64];
    let fails_at = prop_oneof![4 => Just(None), 1 => (0..4u32).prop_map(Some)];
    (0..5usize, passes, fails_at, prop::bool::weighted(0.15)).prop_map(
        |(postback, passes, fails_at, breaks_off)| Event {
            postback,
            passes,
            fails_at,
            breaks_off,
        },
    )
}

/// A postback, and where it is on its way.
struct Driven {
    offer: u32,
    claiming: Claiming,
    step: Step,
}

impl Driven {
    fn start(offer: u32) -> Self {
        let (claiming, step) = Claiming::start(self::offer(offer));
        Self {
            offer,
            claiming,
            step,
        }
    }

    fn carry_out(
        &mut self,
        registry: &Registry<Failing<'_>>,
        ledgers: &[Ledger<Failing<'_>>],
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Step, SqlError> {
        let ledger = |id: OfferId| &ledgers[u32::from(id) as usize - 1];
        let register = |request| match request {
            Request::Claim(offer) => registry.claim("x", offer, now),
            Request::Transfer { from, to } => registry.transfer("x", from, to, now),
            Request::Confirm(_) => unreachable!("not a step"),
        };
        Ok(match self.step {
            Step::Register(request) => self.claiming.registered(register(request)?),
            Step::Wait => self.claiming.again(),
            Step::Record(epoch) => {
                let conversion = Conversion {
                    conversion_unique_id: Some("x".to_owned()),
                    ..conversion(name, None)
                };
                self.claiming.recorded(
                    epoch,
                    ledger(offer(self.offer)).claim_unique(conversion, epoch)?,
                )
            }
            Step::Fence(holding) => {
                let fenced = ledger(holding.offer).fence("x", holding.epoch)?;
                self.claiming.fenced(holding, fenced)
            }
            Step::Done(end) => Step::Done(end),
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 10_000, ..ProptestConfig::default() })]

    /// Five postbacks with one unique ID, for three offers. In any interleaving, at most one is told that it is
    /// recorded; and when all have gone on until they had an answer, exactly one conversion is there.
    #[test]
    fn exactly_one_conversion(
        offers in prop::array::uniform5(1..=OFFERS),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let statements_left = Cell::new(u32::MAX);
        let databases: Vec<Connection> = (0..=OFFERS).map(|_| database()).collect();
        let failing = |database| Failing { database, statements_left: &statements_left };
        let registry = Registry::open(failing(&databases[0])).expect("registry");
        let ledgers: Vec<_> = databases[1..]
            .iter()
            .map(|database| open(failing(database)).expect("ledger"))
            .collect();

        let mut postbacks = offers.map(Driven::start);
        let mut now = time(0);
        let mut told_recorded = 0;
        let mut answers = HashMap::new();
        let finish = (0..5).flat_map(|postback| {
            let event = Event { postback, passes: 1, fails_at: None, breaks_off: false };
            std::iter::repeat_n(event, 80)
        });
        for event in events.into_iter().chain(finish) {
            if answers.contains_key(&event.postback) {
                continue;
            }
            now += TimeDelta::seconds(event.passes);
            let postback = &mut postbacks[event.postback];
            statements_left.set(event.fails_at.unwrap_or(u32::MAX));
            let result = postback.carry_out(&registry, &ledgers, &event.postback.to_string(), now);
            statements_left.set(u32::MAX);
            match result {
                Ok(step) if !event.breaks_off => postback.step = step,
                _ => *postback = Driven::start(postback.offer),
            }
            if let Step::Done(end) = postback.step {
                let told = match end {
                    End::Recorded => Request::Confirm(offer(postback.offer)),
                    End::DuplicateElsewhere(Some(holder)) => Request::Confirm(holder),
                    End::GaveUp => {
                        *postback = Driven::start(postback.offer);
                        continue;
                    }
                    End::DuplicateHere | End::DuplicateElsewhere(None) => {
                        answers.insert(event.postback, end);
                        continue;
                    }
                };
                told_recorded += usize::from(end == End::Recorded);
                answers.insert(event.postback, end);
                // Whether the confirmation arrives is anybody's guess.
                if let (Request::Confirm(holder), 0) = (told, event.passes) {
                    registry.confirm("x", holder).expect("confirmed");
                }
            }
        }
        prop_assert_eq!(answers.len(), 5, "every postback is answered in the end");
        let recorded: usize = ledgers
            .iter()
            .map(|ledger| ledger.conversions(i64::MAX, 10).expect("conversions").len())
            .sum();
        prop_assert_eq!(recorded, 1);
        prop_assert!(told_recorded <= 1);
    }
}
