//! The ledger on rusqlite: that its SQL says what it means, and a model of it for random sequences of claims.

use std::cell::Cell;
use std::collections::HashSet;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::sql::native::{Failing, database, schema_digest, size};
use crate::tracking::click_page::Session;
use crate::tracking::conversion::{ConvertedClick, SessionState, Status};
use crate::tracking::money::Money;
use crate::tracking::values::{AdvertiserValues, SubIds};

fn time() -> DateTime<Utc> {
    "2026-06-01T12:00:00.123Z".parse().expect("a time")
}

pub(crate) fn open<S: Sql>(sql: S) -> Result<Ledger<S>, SqlError> {
    Ledger::open(sql, TimeDelta::seconds(75), time())
}

pub(crate) fn conversion(transaction_id: &str, goal: Option<u32>) -> Conversion {
    Conversion {
        click: Some(ConvertedClick {
            transaction_id: transaction_id.to_owned(),
            clicked_at: time(),
            session_state: SessionState::Awaited,
        }),
        session: Session::default(),
        partner_id: 2.try_into().expect("partner"),
        goal_id: goal.map(|id| id.try_into().expect("goal")),
        status: Status::Approved,
        code: None,
        amount: None,
        sale_currency: None,
        payout: Money::default(),
        revenue: Money::default(),
        currency: "USD".parse().expect("currency"),
        received_at: time(),
        sender_ip: None,
        conversion_unique_id: None,
        promo_code: None,
        advertiser_values: AdvertiserValues::default(),
    }
}

#[test]
fn keeps_every_field() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let full = Conversion {
        session: Session {
            country: "DE".to_owned(),
            ip: "192.0.2.1".to_owned(),
            sub_ids: SubIds::from_fn(|name| format!("{name} é\0\"'")),
        },
        status: Status::Pending,
        amount: Some(Money::MAX),
        sale_currency: Some("EUR".parse().expect("currency")),
        payout: "1.5".parse().expect("money"),
        revenue: "0.0001".parse().expect("money"),
        sender_ip: Some("2001:db8::1".parse().expect("address")),
        conversion_unique_id: Some("order 1".to_owned()),
        promo_code: Some("SUMMER".to_owned()),
        advertiser_values: AdvertiserValues::from_fn(|name| name),
        ..conversion("t", Some(7))
    };
    let without_click = Conversion {
        click: None,
        ..full.clone()
    };
    for conversion in [&full, &without_click] {
        let outcome = ledger.claim(conversion.clone(), Uniqueness::Transaction);
        assert_eq!(outcome, Ok(Outcome::Recorded));
    }
    let recorded: Vec<_> = ledger
        .conversions(i64::MAX, 10)
        .expect("conversions")
        .into_iter()
        .map(|recorded| (recorded.id, recorded.conversion))
        .collect();
    assert_eq!(recorded, [(2, without_click), (1, full)]);
}

#[test]
fn keeps_a_duplicate_as_a_refusal() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let check = |goal, uniqueness, expected| {
        assert_eq!(
            ledger.claim(conversion("t", goal), uniqueness),
            Ok(expected)
        );
    };
    check(None, Uniqueness::Transaction, Outcome::Recorded);
    check(None, Uniqueness::Transaction, Outcome::Duplicate);
    check(Some(1), Uniqueness::Transaction, Outcome::Recorded);
    check(Some(1), Uniqueness::Transaction, Outcome::Duplicate);
    check(Some(1), Uniqueness::Unlimited, Outcome::Recorded);
    // One that was recorded while multiple conversions were on counts when they are off again.
    check(Some(2), Uniqueness::Unlimited, Outcome::Recorded);
    check(Some(2), Uniqueness::Transaction, Outcome::Duplicate);
    assert_eq!(
        ledger.conversions(i64::MAX, 10).expect("conversions").len(),
        4
    );
    let refusals = ledger.refusals(i64::MAX, 10).expect("refusals");
    assert_eq!(refusals.len(), 3);
    for Recorded { conversion, .. } in refusals {
        assert_eq!(
            (conversion.status, conversion.code),
            (Status::Rejected, Some(12))
        );
    }
}

#[test]
fn a_session_is_filled_in_and_nothing_else() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let paid = Conversion {
        payout: "1.5".parse().expect("money"),
        ..conversion("t", None)
    };
    ledger
        .claim(paid.clone(), Uniqueness::Transaction)
        .expect("recorded");
    let due = time() + TimeDelta::seconds(75);
    assert_eq!(ledger.next_search(), Ok(Some(due)));
    assert_eq!(
        ledger.awaited(due - TimeDelta::milliseconds(1), 10),
        Ok(vec![])
    );
    let awaited = ledger.awaited(due, 10).expect("awaited");
    assert_eq!(awaited[0].transaction_id, "t");

    let session = Session {
        country: "DE".to_owned(),
        ip: "192.0.2.1".to_owned(),
        sub_ids: SubIds::from_fn(|name| name),
    };
    ledger.fill_in(&awaited[0], &session).expect("filled in");
    assert_eq!(ledger.next_search(), Ok(None));
    let filled = ledger
        .conversions(i64::MAX, 10)
        .expect("conversions")
        .remove(0)
        .conversion;
    let state = filled.click.as_ref().map(|click| click.session_state);
    assert_eq!(state, Some(SessionState::Recorded));
    assert_eq!(filled.session, session);
    let click = paid.click.clone();
    let session = Session::default();
    assert_eq!(
        Conversion {
            click,
            session,
            ..filled
        },
        paid
    );
}

#[test]
fn a_session_is_looked_for_during_a_day() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    ledger
        .claim(conversion("t", None), Uniqueness::Transaction)
        .expect("recorded");
    let mut waits = Vec::new();
    let mut now = time();
    while let Some(due) = ledger.next_search().expect("an answer") {
        waits.push((due - now).num_seconds());
        now = due;
        let awaited = ledger.awaited(now, 10).expect("awaited");
        ledger.put_off(&awaited[0], now).expect("put off");
    }
    assert_eq!(waits, [75, 180, 600, 1_800, 7_200, 21_600, 54_000]);
    let click = ledger
        .conversions(i64::MAX, 10)
        .expect("conversions")
        .remove(0)
        .conversion
        .click;
    assert_eq!(
        click.map(|click| click.session_state),
        Some(SessionState::Missing)
    );
}

#[test]
fn a_refusal_is_kept_for_90_days() {
    let database = database();
    let count = |opened_at| {
        let ledger = Ledger::open(&database, TimeDelta::seconds(75), opened_at).expect("ledger");
        ledger.refusals(i64::MAX, 10).expect("refusals").len()
    };
    open(&database)
        .and_then(|ledger| ledger.refuse(&conversion("t", None)))
        .expect("refused");
    assert_eq!(count(time() + MAX_REFUSAL_AGE), 1);
    assert_eq!(
        count(time() + MAX_REFUSAL_AGE + TimeDelta::milliseconds(1)),
        0
    );
}

#[test]
fn bounds_the_refusals() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    for n in 0..MAX_REFUSALS + 50 {
        ledger
            .refuse(&conversion(&n.to_string(), None))
            .expect("refused");
    }
    let refusals = ledger.refusals(i64::MAX, u32::MAX).expect("refusals");
    assert_eq!(
        refusals.len(),
        usize::try_from(MAX_REFUSALS).expect("a count")
    );
    assert_eq!(refusals[0].id, MAX_REFUSALS + 50);
}

#[test]
fn the_check_for_duplicates_uses_the_index() {
    let database = database();
    open(&database).expect("ledger");
    let plan: String = database
        .query_row(
            "EXPLAIN QUERY PLAN SELECT 1 FROM conversions WHERE transaction_id = ?1 AND goal_id IS ?2",
            ["", ""],
            |row| row.get(3),
        )
        .expect("a plan");
    assert!(
        plan.contains("COVERING INDEX conversions_by_transaction (transaction_id=? AND goal_id=?)"),
        "{plan}"
    );
}

#[test]
fn opens_a_database_again() {
    let database = database();
    open(&database)
        .and_then(|ledger| ledger.claim(conversion("t", None), Uniqueness::Transaction))
        .expect("recorded");
    let again = open(&database).expect("ledger");
    assert_eq!(
        again.claim(conversion("t", None), Uniqueness::Transaction),
        Ok(Outcome::Duplicate)
    );
}

/// A measurement, for the README: `cargo test --lib storage -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn storage_of_conversions() {
    const CONVERSIONS: u32 = 100_000;
    let database = database();
    let ledger = open(&database).expect("ledger");
    let empty = size(&database);
    for n in 0..CONVERSIONS {
        let typical = Conversion {
            session: Session {
                country: "DE".to_owned(),
                ip: "203.0.113.199".to_owned(),
                sub_ids: SubIds::from_fn(|name| match name {
                    "source" => "awesomepub",
                    "aff_sub" => "109581A",
                    "aff_click_id" => "b6a1f1c2d3e44f5a9b0c1d2e3f405162",
                    _ => "",
                }),
            },
            amount: Some("19.99".parse().expect("money")),
            sender_ip: Some("198.51.100.1".parse().expect("address")),
            advertiser_values: AdvertiserValues::from_fn(|name| {
                if name == "adv_sub" {
                    format!("order-{n}")
                } else {
                    String::new()
                }
            }),
            ..conversion(&format!("{n:030}"), None)
        };
        ledger
            .claim(typical, Uniqueness::Transaction)
            .expect("recorded");
    }
    println!(
        "{} bytes a conversion",
        (size(&database) - empty) / i64::from(CONVERSIONS)
    );
}

/// The schema outlives deploys. Where this fails, a released migration was changed, or a new one was added: then the
/// new digest stands here.
#[test]
fn pins_the_schema() {
    let database = database();
    open(&database).expect("ledger");
    assert_eq!(schema_digest(&database), 1_309_262_995_605_313_490);
}

#[test]
fn pins_the_name_of_the_object() {
    assert_eq!(
        message::object_name(1_048_575.try_into().expect("offer")),
        "offer:1048575:0"
    );
}

/// The ledger against a set: a claim is a duplicate if and only if its transaction and goal were recorded, whatever was
/// cut off before; and what was cut off can be sent again.
#[test]
fn agrees_with_the_model() {
    let database = database();
    let statements_left = Cell::new(u32::MAX);
    let ledger = open(Failing {
        database: &database,
        statements_left: &statements_left,
    })
    .expect("ledger");
    let cases = Cell::new(0);
    let claim = (
        0..4u8,
        prop::option::of(1..3u32),
        any::<bool>(),
        prop::option::weighted(0.3, 0..4u32),
    );
    let result = TestRunner::default().run(&prop::collection::vec(claim, 1..40), |claims| {
        cases.set(cases.get() + 1);
        let mut model = HashSet::new();
        for (transaction, goal, multiple, fails_at) in claims {
            let conversion = conversion(&format!("{}-{transaction}", cases.get()), goal);
            let uniqueness = if multiple {
                Uniqueness::Unlimited
            } else {
                Uniqueness::Transaction
            };
            let expected = if multiple || !model.contains(&(transaction, goal)) {
                Outcome::Recorded
            } else {
                Outcome::Duplicate
            };
            statements_left.set(fails_at.unwrap_or(u32::MAX));
            let mut outcome = ledger.claim(conversion.clone(), uniqueness);
            statements_left.set(u32::MAX);
            if outcome.is_err() {
                outcome = ledger.claim(conversion, uniqueness);
            }
            prop_assert_eq!(outcome, Ok(expected));
            model.insert((transaction, goal));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
