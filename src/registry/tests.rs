//! The registry on rusqlite.

use super::message::object_name;
use super::*;
use crate::ledger::tests::{conversion, open, received};
use crate::ledger::{Fenced, Outcome, UniqueOutcome};
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
        ledger.claim_unique(with_id("a"), 1, &received()),
        Ok(UniqueOutcome::Fenced)
    );
    assert_eq!(
        ledger.claim_unique(with_id("a"), 2, &received()),
        Ok(UniqueOutcome::Recorded)
    );
    assert_eq!(
        ledger.claim_unique(with_id("b"), 2, &received()),
        Ok(UniqueOutcome::Duplicate)
    );
    assert_eq!(ledger.fence("x", 2), Ok(Fenced::Recorded));
    // Where an ID is only a value that came along, it may come again.
    let outcome = ledger.claim(with_id("c"), Uniqueness::Transaction, &received());
    assert_eq!(outcome, Ok(Outcome::Recorded));
}
