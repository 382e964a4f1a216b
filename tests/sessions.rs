//! Sessions that KV does not show yet when the postback comes, in the runtime.

mod support;

use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{Options, Runtime};
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};

/// The only conversion of offer 1.
fn conversion(runtime: &Runtime) -> Value {
    runtime.conversions(1, false).remove(0)
}

/// Polls until the session is in this state.
fn wait_for(runtime: &Runtime, state: &str) -> Value {
    for _ in 0..100 {
        let conversion = conversion(runtime);
        if conversion["click"]["session_state"] == state {
            return conversion;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the session is not {state}: {}", conversion(runtime));
}

fn with_early_search() -> Options {
    Options::default().with("FIRST_SESSION_SEARCH_SECONDS", "3")
}

fn convert_right_after_the_click(runtime: &Runtime) -> Value {
    let click = runtime
        .get("/aff_c?offer_id=1&aff_id=2&aff_sub=a%09b&source=s&format=json")
        .json();
    let id = click["transaction_id"].as_str().expect("an ID");
    let answer = runtime.get(&format!("/aff_lsr?transaction_id={id}&amount=20"));
    assert_eq!(answer.body, "success=true;");
    conversion(runtime)
}

fn check_filled_in(before: &Value, after: &Value) {
    assert_eq!(after["session"]["sub_ids"]["aff_sub"], "a\tb");
    assert_eq!(after["session"]["sub_ids"]["source"], "s");
    assert_eq!(after["session"]["country"], "DE");
    for field in [
        "amount",
        "payout",
        "revenue",
        "status",
        "received_at",
        "partner_id",
    ] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[test]
fn are_filled_in_later() {
    let runtime = with_early_search().start();
    let before = convert_right_after_the_click(&runtime);
    assert_eq!(before["click"]["session_state"], "awaited");
    assert_eq!(before["session"]["sub_ids"], serde_json::json!({}));
    check_filled_in(&before, &wait_for(&runtime, "recorded"));
}

#[test]
fn are_filled_in_after_a_crash() {
    let mut runtime = with_early_search().start();
    let before = convert_right_after_the_click(&runtime);
    // The page is on disk by now, and the alarm is not due.
    thread::sleep(Duration::from_millis(1_500));
    runtime.kill();
    runtime.restart();
    check_filled_in(&before, &wait_for(&runtime, "recorded"));
}

#[test]
fn that_never_turn_up_are_looked_for_again() {
    let runtime = with_early_search().start();
    let page = PageName::new(ClickTime::from_utc(std::time::SystemTime::now().into()), 5);
    let (offer, partner) = (1.try_into().expect("offer"), 2.try_into().expect("partner"));
    let keyring = Keyring::parse(support::TRANSACTION_KEYS).expect("keys");
    let id = keyring.mint(offer, partner, page, 0);
    assert_eq!(
        runtime.get(&format!("/aff_lsr?transaction_id={id}")).body,
        "success=true;"
    );
    thread::sleep(Duration::from_secs(4));
    assert_eq!(conversion(&runtime)["click"]["session_state"], "awaited");
    assert!(!runtime.log().contains("error: "), "{}", runtime.log());
}
