//! The ledger on rusqlite: that its SQL says what it means, and a model of it for random sequences of claims.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::counts::Dimension;
use super::log::LogFilter;
use super::report::{Group, ReportRequest};
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

/// A postback for the log.
pub(crate) fn received() -> Received {
    Received {
        received_at: time(),
        method: "GET".to_owned(),
        target: "/aff_lsr?transaction_id=t".to_owned(),
        form: String::new(),
        sender_ip: Some("192.0.2.9".parse().expect("address")),
        referrer: String::new(),
        transaction_id: Some("t".to_owned()),
        genuine: true,
    }
}

/// All conversions, or all refusals, newest first.
fn rows<S: Sql>(ledger: &Ledger<S>, refused: bool) -> Vec<Recorded> {
    let filter = ConversionFilter {
        limit: u32::MAX,
        ..ConversionFilter::default()
    };
    let mut rows = ledger.conversions(&filter).expect("conversions");
    rows.retain(|row| row.conversion.code.is_some() == refused);
    rows
}

fn refuse<S: Sql>(ledger: &Ledger<S>, conversion: Conversion) {
    let refusal = conversion.refused(&Rejection::NoReferralUrl);
    ledger
        .refuse(Some(&refusal), &received(), "refused")
        .expect("refused");
}

#[test]
fn keeps_every_field() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let full = Conversion {
        session: Session {
            country: "DE".into(),
            ip: "192.0.2.1".into(),
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
        let outcome = ledger.claim(conversion.clone(), Uniqueness::Transaction, &received());
        assert_eq!(outcome, Ok(Outcome::Recorded));
    }
    let recorded: Vec<_> = rows(&ledger, false)
        .into_iter()
        .map(|recorded| (recorded.id, recorded.conversion))
        .collect();
    let first = first_id(time());
    assert_eq!(recorded, [(first + 1, without_click), (first, full)]);
}

#[test]
fn keeps_a_duplicate_as_a_refusal() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let check = |goal, uniqueness, expected| {
        assert_eq!(
            ledger.claim(conversion("t", goal), uniqueness, &received()),
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
    assert_eq!(rows(&ledger, false).len(), 4);
    let refusals = rows(&ledger, true);
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
        .claim(paid.clone(), Uniqueness::Transaction, &received())
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
        country: "DE".into(),
        ip: "192.0.2.1".into(),
        sub_ids: SubIds::from_fn(|name| name),
    };
    ledger.fill_in(&awaited[0], &session).expect("filled in");
    assert_eq!(ledger.next_search(), Ok(None));
    let filled = rows(&ledger, false).remove(0).conversion;
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
        .claim(conversion("t", None), Uniqueness::Transaction, &received())
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
    let click = rows(&ledger, false).remove(0).conversion.click;
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
        rows(&ledger, true).len()
    };
    refuse(&open(&database).expect("ledger"), conversion("t", None));
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
    for n in 0..MAX_REFUSALS + 150 {
        refuse(&ledger, conversion(&n.to_string(), None));
    }
    let kept = rows(&ledger, true);
    let most = MAX_REFUSALS..MAX_REFUSALS + i64::try_from(TRIM_EVERY).expect("a count");
    assert!(most.contains(&i64::try_from(kept.len()).expect("a count")));
    assert_eq!(kept[0].id, first_id(time()) + MAX_REFUSALS + 149);
    // Whoever opens it and writes a little cuts it back, too.
    let ledger = open(&database).expect("ledger");
    refuse(&ledger, conversion("last", None));
    let kept = i64::try_from(rows(&ledger, true).len()).expect("a count");
    assert_eq!(kept, MAX_REFUSALS);
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
        .and_then(|ledger| {
            ledger.claim(conversion("t", None), Uniqueness::Transaction, &received())
        })
        .expect("recorded");
    let again = open(&database).expect("ledger");
    assert_eq!(
        again.claim(conversion("t", None), Uniqueness::Transaction, &received()),
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
                country: "DE".into(),
                ip: "203.0.113.199".into(),
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
            .claim(typical, Uniqueness::Transaction, &received())
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
    assert_eq!(schema_digest(&database), 2_290_276_471_429_239_807);
}

#[test]
fn pins_the_name_of_the_object() {
    assert_eq!(
        message::object_name(1_048_575.try_into().expect("offer")),
        "offer:1048575:0"
    );
}

#[test]
fn the_log_is_bounded_and_forgeries_push_nothing_out() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    ledger
        .claim(conversion("t", None), Uniqueness::Transaction, &received())
        .expect("recorded");
    let forged = |address: u8| Received {
        genuine: false,
        sender_ip: Some([192, 0, 2, address].into()),
        ..received()
    };
    for n in 0..log::MAX_FORGED + 50 {
        let address = u8::try_from(n % 20).expect("an octet");
        ledger
            .refuse(None, &forged(address), "refused")
            .expect("logged");
    }
    let postbacks = |accepted: bool| {
        let filter = LogFilter {
            transaction_id: None,
            accepted: Some(accepted),
            before: None,
            limit: u32::MAX,
        };
        ledger.postbacks(&filter).expect("postbacks")
    };
    assert_eq!(i64::try_from(postbacks(false).len()), Ok(log::MAX_FORGED));
    for _ in 0..log::MAX_FORGED {
        ledger.refuse(None, &forged(99), "refused").expect("logged");
    }
    let of_one = postbacks(false)
        .iter()
        .filter(|postback| postback.received == forged(99))
        .count();
    assert_eq!(i64::try_from(of_one), Ok(log::MAX_FORGED_OF_ADDRESS));
    let [accepted] = &postbacks(true)[..] else {
        panic!("one postback")
    };
    assert_eq!(accepted.received, received());
    assert_eq!(
        (accepted.id, accepted.answer.as_str()),
        (first_id(time()), "success=true;")
    );
    let later = Ledger::open(
        &database,
        TimeDelta::zero(),
        time() + log::MAX_AGE + TimeDelta::days(1),
    );
    let filter = LogFilter {
        transaction_id: None,
        accepted: None,
        before: None,
        limit: 1,
    };
    assert_eq!(
        later.and_then(|ledger| ledger.postbacks(&filter)),
        Ok(vec![])
    );
}

#[test]
fn a_pending_conversion_is_decided_once() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let pending = Conversion {
        status: Status::Pending,
        ..conversion("t", None)
    };
    ledger
        .claim(pending, Uniqueness::Transaction, &received())
        .expect("recorded");
    let id = first_id(time());
    let decide = |status: Status| ledger.decide(id, status).expect("an answer");
    assert!(
        matches!(decide(Status::Approved), Decided::Done(row) if row.conversion.status == Status::Approved)
    );
    assert!(matches!(decide(Status::Approved), Decided::Done(_)));
    assert_eq!(
        decide(Status::Rejected),
        Decided::NotPending(Status::Approved)
    );
    assert_eq!(
        ledger.decide(id + 1, Status::Approved),
        Ok(Decided::Unknown)
    );
    refuse(&ledger, conversion("t", None));
    assert_eq!(
        ledger.decide(id + 1, Status::Approved),
        Ok(Decided::Unknown)
    );
}

/// The lines of a report, added up by key: clicks, approved, pending, rejected, payout.
fn report<S: Sql>(
    ledger: &Ledger<S>,
    groups: &[Group],
    dimension: Dimension,
) -> Vec<(String, [i64; 5])> {
    let hour = counts::hour(time());
    let request = ReportRequest {
        from_hour: hour - 48,
        to_hour: hour + 48,
        groups: groups.to_vec(),
        dimension,
        partner: None,
        goal: None,
        limit: 1_000,
    };
    let mut sums: BTreeMap<String, [i64; 5]> = BTreeMap::new();
    for line in ledger.report(&request).expect("report") {
        let sum = sums.entry(line.key.join("|")).or_default();
        sum[0] += line.clicks;
        for counted in line.conversions {
            let counts = [
                counted.approved,
                counted.pending,
                counted.rejected,
                counted.payout,
            ];
            for (sum, count) in sum[1..].iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }
    sums.retain(|_, sum| *sum != [0; 5]);
    sums.into_iter().collect()
}

#[test]
fn rollups_say_what_happened() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let hour = counts::hour(time());
    let click = |dimension: Dimension, value: &str| counts::ClickKey {
        hour,
        partner: 2.try_into().expect("partner"),
        dimension,
        value: value.to_owned(),
    };
    let clicks = vec![
        (click(Dimension::All, ""), 5),
        (click(Dimension::Country, "DE"), 3),
    ];
    ledger.count_clicks(clicks.clone()).expect("counted");
    ledger.count_clicks(clicks).expect("counted");
    let paid = |transaction: &str, status: Status, state: SessionState, country: &str| {
        let mut conversion = conversion(transaction, Some(1));
        if let Some(click) = &mut conversion.click {
            click.session_state = state;
        }
        Conversion {
            status,
            payout: "1.5".parse().expect("money"),
            session: Session {
                country: country.to_owned().into(),
                ..Session::default()
            },
            ..conversion
        }
    };
    for conversion in [
        paid("a", Status::Approved, SessionState::Recorded, "DE"),
        paid("b", Status::Pending, SessionState::Recorded, "DE"),
        paid("c", Status::Approved, SessionState::Awaited, ""),
    ] {
        ledger
            .claim(conversion, Uniqueness::Transaction, &received())
            .expect("recorded");
    }
    let check = |groups: &[Group], dimension: Dimension, expected: &[(&str, [i64; 5])]| {
        let lines = report(&ledger, groups, dimension);
        let lines: Vec<(&str, [i64; 5])> = lines
            .iter()
            .map(|(key, sum)| (key.as_str(), *sum))
            .collect();
        assert_eq!(lines, expected);
    };
    let day = (hour / 24).to_string();
    check(&[], Dimension::All, &[("", [10, 2, 1, 0, 30_000])]);
    check(
        &[Group::Day, Group::Partner],
        Dimension::All,
        &[(&format!("{day}|2"), [10, 2, 1, 0, 30_000])],
    );
    check(
        &[Group::Goal],
        Dimension::All,
        &[("", [10, 0, 0, 0, 0]), ("1", [0, 2, 1, 0, 30_000])],
    );
    check(
        &[Group::Value],
        Dimension::Country,
        &[("", [4, 1, 0, 0, 15_000]), ("DE", [6, 1, 1, 0, 15_000])],
    );
    // A session that is found is counted by its values then, and a decision moves a conversion.
    let awaited = ledger
        .awaited(time() + TimeDelta::hours(1), 1)
        .expect("awaited");
    let session = Session {
        country: "FR".into(),
        ..Session::default()
    };
    ledger.fill_in(&awaited[0], &session).expect("filled in");
    ledger
        .decide(first_id(time()) + 1, Status::Approved)
        .expect("decided");
    check(
        &[Group::Value],
        Dimension::Country,
        &[
            ("", [4, 0, 0, 0, 0]),
            ("DE", [6, 2, 0, 0, 30_000]),
            ("FR", [0, 1, 0, 0, 15_000]),
        ],
    );
}

#[test]
fn an_hour_has_so_many_values_and_no_more() {
    let database = database();
    let ledger = open(&database).expect("ledger");
    let click = |value: i64| counts::ClickKey {
        hour: counts::hour(time()),
        partner: 2.try_into().expect("partner"),
        dimension: Dimension::AffSub,
        value: value.to_string(),
    };
    for n in 0..counts::MAX_VALUES + 5 {
        ledger.count_clicks(vec![(click(n), 1)]).expect("counted");
    }
    ledger.count_clicks(vec![(click(0), 1)]).expect("counted");
    let request = ReportRequest {
        from_hour: 0,
        to_hour: i64::from(u32::MAX),
        groups: vec![Group::Value],
        dimension: Dimension::AffSub,
        partner: None,
        goal: None,
        limit: u32::MAX,
    };
    let lines = ledger.report(&request).expect("report");
    let other = lines.iter().find(|line| line.key == [counts::OTHER]);
    assert_eq!(other.map(|line| line.clicks), Some(5));
    let first = lines
        .iter()
        .find(|line| line.key == ["0"] && line.clicks > 0);
    assert_eq!(first.map(|line| line.clicks), Some(2));
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
        prop::option::weighted(0.3, 0..8u32),
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
            let mut outcome = ledger.claim(conversion.clone(), uniqueness, &received());
            statements_left.set(u32::MAX);
            if outcome.is_err() {
                outcome = ledger.claim(conversion, uniqueness, &received());
            }
            prop_assert_eq!(outcome, Ok(expected));
            model.insert((transaction, goal));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
