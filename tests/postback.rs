//! `/aff_lsr` and `/aff_goal` in the runtime: every row of the postback tables, duplicates, and restarts.

mod support;

use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use support::{Headers, Options, Response, Runtime};
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};

const DUPLICATE: &str = "success=false; err_msg=Duplicate conversion;";

/// Clicks on an offer and gives the transaction ID.
fn click(runtime: &Runtime, offer: u32) -> String {
    let answer = runtime.get(&format!(
        "/aff_c?offer_id={offer}&aff_id=2&aff_sub=s&format=json"
    ));
    let json = answer.json();
    json["transaction_id"].as_str().expect("an ID").to_owned()
}

/// An ID that was minted `hours` ago for a click that no runtime recorded.
fn old_id(offer: u32, hours: i64) -> String {
    let time = DateTime::<Utc>::from(SystemTime::now()) - TimeDelta::hours(hours);
    let page = PageName::new(ClickTime::from_utc(time), 5);
    let (offer, partner) = (
        offer.try_into().expect("offer"),
        2.try_into().expect("partner"),
    );
    let keyring = Keyring::parse(support::TRANSACTION_KEYS).expect("keys");
    keyring.mint(offer, partner, page, 0).to_string()
}

fn conversions(runtime: &Runtime, offer: u32) -> Vec<serde_json::Value> {
    runtime.conversions(offer, false)
}

fn check(answer: &Response, expected: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
}

#[test]
fn forged_postbacks_are_refused_alike_whether_logged_or_not() {
    let runtime = Runtime::start();
    let forged = old_id(1, 0).replace(|c| c != '0', "1");
    let invalid = format!("success=false; err_msg=Invalid Trans. ID #{forged}.;");
    // Twenty of a minute are logged, and go the longer way.
    for n in 0..40 {
        let path = format!("/aff_lsr?transaction_id={forged}&adv_sub={n}");
        check(&runtime.get(&path), &invalid);
    }
    check(
        &runtime.get(&format!("/aff_goal?a=lsr&transaction_id={forged}")),
        &invalid,
    );
    check(
        &runtime.get("/aff_lsr?transaction_id=%C3%A9"),
        "success=false; err_msg=Invalid Trans. ID #é.;",
    );
    let json = runtime.get(&format!("/aff_lsr?transaction_id={forged}&format=json"));
    assert_eq!(json.header("Content-Type"), Some("application/json"));
    assert_eq!(runtime.get("/x?u=/aff_lsr?transaction_id=1").status, 404);
    let genuine = click(&runtime, 1);
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={genuine}")),
        "success=true;",
    );
}

#[test]
fn a_conversion_is_accepted_once() {
    let runtime = Runtime::start();
    let id = click(&runtime, 1);
    let path = format!("/aff_lsr?transaction_id={id}&amount=19.99&adv_sub=order+1");
    check(&runtime.get(&path), "success=true;");
    check(&runtime.get(&path), DUPLICATE);
    check(
        &runtime.get(
            &path
                .to_uppercase()
                .replace("/AFF_LSR?TRANSACTION_ID", "/aff_lsr?transaction_id"),
        ),
        DUPLICATE,
    );

    let newest = conversions(&runtime, 1);
    let [conversion] = newest.as_slice() else {
        panic!("one conversion: {newest:?}");
    };
    assert_eq!(conversion["click"]["transaction_id"], id);
    assert_eq!(conversion["partner_id"], 2);
    assert_eq!(conversion["amount"], "19.99");
    assert_eq!(conversion["payout"], "1.50");
    assert_eq!(conversion["revenue"], "1.999");
    assert_eq!(conversion["currency"], "USD");
    assert_eq!(conversion["status"], "approved");
    assert_eq!(conversion["sender_ip"], "127.0.0.1");
    assert_eq!(conversion["advertiser_values"]["adv_sub"], "order 1");
    let refusals = runtime.conversions(1, true);
    assert_eq!(refusals.len(), 2);
    for refusal in refusals {
        assert_eq!(refusal["code"], 12);
        assert_eq!(refusal["status"], "rejected");
        assert_eq!(refusal["payout"], "0.00");
    }
}

/// The click's page is not in KV yet: the signature is proof enough.
#[test]
fn a_postback_right_after_the_click_is_accepted() {
    let runtime = Runtime::start();
    let id = click(&runtime, 1);
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={id}")),
        "success=true;",
    );
    let newest = conversions(&runtime, 1);
    let conversion = &newest[0];
    assert_eq!(conversion["click"]["session_state"], "awaited");
    assert_eq!(conversion["partner_id"], 2);
}

#[test]
fn refuses_what_it_has_not_minted() {
    let runtime = Runtime::start();
    let id = click(&runtime, 1);
    let refused = |sent: &str| format!("success=false; err_msg=Invalid Trans. ID #{sent}.;");
    let cut = &id[..15];
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={cut}")),
        &refused(cut),
    );
    for place in 0..id.len() {
        let mut flipped = id.clone();
        let other = if &id[place..=place] == "7" { "8" } else { "7" };
        flipped.replace_range(place..=place, other);
        check(
            &runtime.get(&format!("/aff_lsr?transaction_id={flipped}")),
            &refused(&flipped),
        );
    }
    check(&runtime.get("/aff_lsr"), &refused(""));
    check(
        &runtime.get("/aff_lsr?transaction_id=a%0d%0ab;c"),
        &refused("abc"),
    );
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={}", "x".repeat(1000))),
        &refused(&"x".repeat(64)),
    );
    check(&runtime.get("/aff_lsr?offer_id=1&aff_id=2"), &refused(""));
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={id}")),
        "success=true;",
    );
}

#[test]
fn every_check_of_an_offer() {
    let runtime = Runtime::start();
    let check_offer = |offer: u32, parameters: &str, headers: Headers, expected: &str| {
        let id = click(&runtime, offer);
        let path = format!("/aff_lsr?transaction_id={id}{parameters}");
        check(
            &runtime.request("GET", &path, headers, ""),
            &expected.replace("$ID", &id),
        );
    };
    let from = |address: &'static str| [("CF-Connecting-IP", address)];
    let accepted = "success=true;";

    let not_whitelisted = "success=false; err_msg=IP address not whitelisted;";
    check_offer(2, "", &from("203.0.113.7"), accepted);
    check_offer(2, "", &from("2001:db8::7"), accepted);
    check_offer(2, "", &from("198.51.100.7"), not_whitelisted);
    check_offer(2, "", &[], not_whitelisted);
    check_offer(
        2,
        "",
        &[("X-Forwarded-For", "203.0.113.7")],
        not_whitelisted,
    );
    check_offer(2, "", &[("X-Real-IP", "203.0.113.7")], not_whitelisted);

    let invalid_token = "success=false; err_msg=Invalid advertiser security token;";
    check_offer(
        3,
        "&security_token=7ab20d21771b1e81bc5bae84cc89b913",
        &[],
        accepted,
    );
    check_offer(
        3,
        "&security_token=7ab20d21771b1e81bc5bae84cc89b914",
        &[],
        invalid_token,
    );
    check_offer(3, "", &[], invalid_token);

    check_offer(
        4,
        "",
        &[("Referer", "https://shop.example/thanks")],
        accepted,
    );
    check_offer(4, "", &[], "success=false; err_msg=No referral URL;");

    check_offer(
        5,
        "",
        &[],
        "success=false; err_msg=Wrong tracking protocol;",
    );
    check_offer(
        10,
        "",
        &[],
        "success=false; err_msg=Wrong tracking protocol;",
    );
    check_offer(6, "&conversion_unique_id=order+1", &[], accepted);
    let known = "success=false; err_msg=Duplicate conversion by unique ID;";
    check_offer(6, "&conversion_unique_id=order+1", &[], known);
    check_offer(
        6,
        "",
        &[],
        "success=false; err_msg=Invalid parameter conversion_unique_id.;",
    );

    check_offer(1, "&offer_id=1", &[], accepted);
    check_offer(
        1,
        "&offer_id=2",
        &[],
        "success=false; err_msg=Invalid parameter offer_id.;",
    );
    check_offer(
        1,
        "&amount=AMOUNT",
        &[],
        "success=false; err_msg=Invalid parameter amount.;",
    );
    check_offer(
        1,
        "&amount=1&currency=EUR",
        &[],
        "success=false; err_msg=Invalid parameter currency.;",
    );
    check_offer(
        1,
        "&status=paid",
        &[],
        "success=false; err_msg=Invalid parameter status.;",
    );
    check_offer(
        1,
        "&goal_id=7",
        &[],
        "success=false; err_msg=Invalid parameter goal_id.;",
    );
    let long = format!("&adv_sub={}", "a".repeat(501));
    check_offer(
        1,
        &long,
        &[],
        "success=false; err_msg=Invalid parameter adv_sub.;",
    );
}

#[test]
fn refusals_with_a_code_are_kept() {
    let runtime = Runtime::start();
    let id = click(&runtime, 2);
    runtime.get(&format!("/aff_lsr?transaction_id={id}&amount=5"));
    // They are kept in the background.
    let refusals = (0..50)
        .map(|_| {
            thread::sleep(Duration::from_millis(100));
            runtime.conversions(2, true)
        })
        .find(|refusals| !refusals.is_empty())
        .expect("a refusal");
    assert_eq!(refusals[0]["code"], 14);
    assert_eq!(refusals[0]["click"]["transaction_id"], id);
    assert_eq!(refusals[0]["amount"], "5.00");
}

#[test]
fn a_session_expires() {
    let runtime = Runtime::start();
    let check_age = |offer: u32, hours: i64, expected: &str| {
        let id = old_id(offer, hours);
        let answer = runtime.get(&format!("/aff_lsr?transaction_id={id}"));
        check(&answer, &expected.replace("$ID", &id));
    };
    let expired = "success=false; err_msg=Expired Trans. ID #$ID.;";
    check_age(9, 2, expired);
    check_age(1, 2, "success=true;");
    check_age(1, 719, "success=true;");
    check_age(1, 721, expired);
}

#[test]
fn goals() {
    let runtime = Runtime::start();
    let id = click(&runtime, 11);
    let fire =
        |path: &str, expected: &str| check(&runtime.get(&path.replace("$ID", &id)), expected);
    fire(
        "/aff_goal?a=lsr&goal_id=1&transaction_id=$ID",
        "success=true;",
    );
    fire(
        "/aff_goal?a=lsr&goal_ref=signup&transaction_id=$ID",
        DUPLICATE,
    );
    fire(
        "/aff_goal?a=lsr&goal_id=2&transaction_id=$ID&amount=100",
        "success=true;",
    );
    fire(
        "/aff_goal?a=lsr&goal_ref=purchase&transaction_id=$ID&amount=50",
        "success=true;",
    );
    fire(
        "/aff_goal?a=lsr&goal_id=3&transaction_id=$ID",
        "success=false; err_msg=Invalid parameter goal_id.;",
    );
    fire(
        "/aff_goal?a=l&goal_id=2&transaction_id=$ID",
        "success=false; err_msg=Wrong tracking protocol;",
    );
    fire("/aff_lsr?transaction_id=$ID", "success=true;");
    fire("/aff_lsr?transaction_id=$ID", DUPLICATE);
    let newest = conversions(&runtime, 11);
    let paid: Vec<_> = newest
        .iter()
        .map(|recorded| (&recorded["goal_id"], &recorded["payout"]))
        .map(|(goal, payout)| (goal.as_u64(), payout.as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        paid,
        [
            (None, "1.50"),
            (Some(2), "2.50"),
            (Some(2), "5.00"),
            (Some(1), "2.00")
        ]
    );
}

#[test]
fn partner_id_protocol() {
    let runtime = Runtime::start();
    let fire = |parameters: &str, expected: &str| {
        check(&runtime.get(&format!("/aff_lsr?{parameters}")), expected);
    };
    fire("offer_id=5&aff_id=2&aff_sub=a&amount=10", "success=true;");
    fire("offer_id=5&aff_id=2&aff_sub=a&amount=10", "success=true;");
    fire(
        "offer_id=5&aff_id=3",
        "success=false; err_msg=Invalid parameter aff_id.;",
    );
    fire(
        "offer_id=5&aff_id=999",
        "success=false; err_msg=Invalid parameter aff_id.;",
    );
    fire(
        "offer_id=5",
        "success=false; err_msg=Invalid parameter aff_id.;",
    );
    fire(
        "offer_id=999&aff_id=2",
        "success=false; err_msg=Invalid parameter offer_id.;",
    );
    fire(
        "offer_id=10&aff_id=2",
        "success=false; err_msg=Wrong tracking protocol;",
    );
    let newest = conversions(&runtime, 5);
    assert_eq!(newest.len(), 2);
    assert_eq!(newest[0]["session"]["sub_ids"]["aff_sub"], "a");
}

#[test]
fn multiple_conversions_are_a_setting() {
    let runtime = Runtime::start();
    let id = click(&runtime, 8);
    for _ in 0..3 {
        check(
            &runtime.get(&format!("/aff_lsr?transaction_id={id}")),
            "success=true;",
        );
    }
}

#[test]
fn a_form_is_taken_too() {
    let runtime = Runtime::start();
    let form = [(
        "Content-Type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )];
    let post =
        |path: &str, headers: Headers, body: &str| runtime.request("POST", path, headers, body);
    let id = click(&runtime, 1);
    check(
        &post("/aff_lsr", &form, &format!("transaction_id={id}&amount=10")),
        "success=true;",
    );
    check(
        &post(&format!("/aff_lsr?transaction_id={id}"), &[], ""),
        DUPLICATE,
    );
    check(
        &post(
            "/aff_lsr",
            &[("Content-Type", "application/json")],
            &format!("transaction_id={id}"),
        ),
        "success=false; err_msg=Invalid Trans. ID #.;",
    );
    let long = post("/aff_lsr", &form, &"a".repeat(9000));
    assert_eq!(long.status, 413);
    assert_eq!(
        runtime
            .get(&format!("/aff_lsr?x={}", "a".repeat(9000)))
            .status,
        414
    );
    assert_eq!(conversions(&runtime, 1)[0]["amount"], "10.00");
}

#[test]
fn answers_json_when_asked() {
    let runtime = Runtime::start();
    let id = click(&runtime, 1);
    let path = format!("/aff_lsr?transaction_id={id}&format=json");
    let answer = runtime.get(&path);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"success":true}"#)
    );
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(
        runtime.get(&path).body,
        r#"{"success":false,"code":12,"err_msg":"Duplicate conversion"}"#
    );
}

#[test]
fn other_methods_convert_nothing() {
    let runtime = Runtime::start();
    let id = click(&runtime, 1);
    let path = format!("/aff_lsr?transaction_id={id}");
    for method in ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = runtime.request(method, &path, &[], "");
        assert_eq!(
            (answer.status, answer.header("Allow")),
            (405, Some("GET, POST")),
            "{method}"
        );
    }
    check(&runtime.get(&path), "success=true;");
}

#[test]
fn of_64_postbacks_at_once_one_is_accepted() {
    let runtime = Runtime::start();
    for _ in 0..5 {
        let id = click(&runtime, 1);
        let path = format!("/aff_lsr?transaction_id={id}");
        let mut answers: Vec<String> = thread::scope(|scope| {
            let senders: Vec<_> = (0..64)
                .map(|_| scope.spawn(|| runtime.get(&path).body))
                .collect();
            senders
                .into_iter()
                .map(|sender| sender.join().expect("an answer"))
                .collect()
        });
        answers.sort();
        assert_eq!(answers.pop().as_deref(), Some("success=true;"));
        assert!(
            answers.iter().all(|answer| answer == DUPLICATE),
            "{answers:?}"
        );
    }
}

#[test]
fn a_restart_changes_nothing() {
    let mut runtime = Runtime::start();
    let id = click(&runtime, 1);
    let path = format!("/aff_lsr?transaction_id={id}");
    runtime.restart();
    check(&runtime.get(&path), "success=true;");
    runtime.kill();
    runtime.restart();
    check(&runtime.get(&path), DUPLICATE);
    assert_eq!(conversions(&runtime, 1).len(), 1);
}

#[test]
fn keys_rotate_without_breaking_ids_in_flight() {
    let mut runtime = Runtime::start();
    let id = click(&runtime, 1);
    let new_key = format!("2:{}", "ab".repeat(32));
    let keys = format!("{new_key},{}", support::TRANSACTION_KEYS);
    runtime.options.vars.insert("TRANSACTION_KEYS", keys);
    runtime.restart();
    assert!(click(&runtime, 1).starts_with('2'));
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={id}")),
        "success=true;",
    );
    runtime.options.vars.insert("TRANSACTION_KEYS", new_key);
    runtime.restart();
    let refused = format!("success=false; err_msg=Invalid Trans. ID #{id}.;");
    check(
        &runtime.get(&format!("/aff_lsr?transaction_id={id}")),
        &refused,
    );
}

#[test]
fn what_cannot_be_processed_is_to_be_sent_again() {
    let mut runtime = Options::default().start();
    let id = click(&runtime, 1);
    let keys = runtime
        .options
        .vars
        .remove("TRANSACTION_KEYS")
        .expect("keys");
    runtime.restart();
    let path = format!("/aff_lsr?transaction_id={id}");
    let answer = runtime.get(&path);
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, "The setting TRANSACTION_KEYS is missing.")
    );
    assert_eq!(answer.header("Retry-After"), Some("5"));
    runtime.options.vars.insert("TRANSACTION_KEYS", keys);
    runtime.restart();
    check(&runtime.get(&path), "success=true;");
}

/// A genuine ID whose offer is nowhere to be seen: that is our fault, not the sender's.
#[test]
fn an_offer_that_cannot_be_seen_is_to_be_tried_again() {
    let runtime = Options::default().without_network().start();
    let answer = runtime.get(&format!("/aff_lsr?transaction_id={}", old_id(1, 1)));
    assert_eq!(
        (answer.status, answer.header("Retry-After")),
        (503, Some("5"))
    );
}
