//! Postbacks as tables: what is sent, for which offer, from where, and what comes of it.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::tracking::rejection::Answer;
use crate::tracking::transaction_id::{ClickTime, PageName};

const CLICKED_AT: &str = "2026-06-01T12:00:00Z";

fn keyring() -> Keyring {
    Keyring::parse(&format!("1:{}", "00".repeat(32))).expect("keys")
}

/// The ID of a click of partner 2 on offer 1, made at [`CLICKED_AT`].
fn id() -> TransactionId {
    let time = ClickTime::from_utc(CLICKED_AT.parse().expect("a time"));
    let (offer, partner) = (1.try_into().expect("offer"), 2.try_into().expect("partner"));
    keyring().mint(offer, partner, PageName::new(time, 5), 0)
}

/// An offer with these fields besides the usual ones; they may change those.
fn document(fields: serde_json::Value) -> OfferDocument {
    let mut offer = serde_json::json!({
        "id": 1, "name": "Shop", "advertiser_id": 1, "status": "active", "protocol": "server",
        "offer_url": "https://shop.example/", "currency": "USD",
        "payout": {"flat": "1.50"}, "revenue": {"percent": "10"},
        "goals": [
            {"id": 1, "name": "Sign-up", "ref": "signup", "payout": {"flat": "2.00"}},
            {"id": 2, "name": "Purchase", "ref": "purchase", "payout": {"percent": "5"}, "multiple_conversions": true},
        ],
    });
    if let (Some(offer), serde_json::Value::Object(fields)) = (offer.as_object_mut(), fields) {
        offer.extend(fields);
    }
    serde_json::from_value(serde_json::json!({
        "v": 1, "offer": offer, "advertiser": {"id": 1, "name": "Shop Inc", "security_token": "7ab2"},
    }))
    .expect("document")
}

fn partner(status: &str) -> Partner {
    serde_json::from_value(serde_json::json!({"id": 2, "name": "Pub", "status": status}))
        .expect("partner")
}

/// A postback to `/aff_lsr`, an hour after the click, for an offer with these fields.
struct Case {
    offer: serde_json::Value,
    endpoint: Endpoint,
    ip: Option<&'static str>,
    referrer: Option<&'static str>,
    partner: Option<Partner>,
    after: TimeDelta,
}

fn case(offer: serde_json::Value) -> Case {
    Case {
        offer,
        endpoint: Endpoint::Lsr,
        ip: Some("198.51.100.1"),
        referrer: None,
        partner: Some(partner("active")),
        after: TimeDelta::hours(1),
    }
}

impl Case {
    fn judge(self, query: &str) -> Result<Claim, Refusal> {
        let query = query.replace("$ID", id().as_str());
        let postback = Postback::parse(self.endpoint, &query, "").expect("short enough");
        let subject = postback.subject(&keyring())?;
        let document = document(self.offer);
        let configured = Configured {
            document: &document,
            partner: self.partner.as_ref(),
        };
        let sender = Sender {
            ip: self.ip.map(|ip| ip.parse().expect("an address")),
            referrer: self.referrer,
        };
        postback.check(
            &subject,
            configured,
            None,
            sender,
            id().clicked_at() + self.after,
        )
    }

    /// Checks the answer, as text.
    fn check(self, query: &str, expected: &str) {
        let answer = match self.judge(query) {
            Ok(_) => Answer::Accepted,
            Err(refusal) => {
                let kept = refusal.record.as_ref().and_then(|record| record.code);
                assert_eq!(
                    kept,
                    refusal.rejection.code(),
                    "{query}: what has a code is kept"
                );
                Answer::Refused(refusal.rejection)
            }
        };
        assert_eq!(answer.text(), expected, "{query}");
    }
}

fn refused(message: &str) -> String {
    format!("success=false; err_msg={message};")
}

fn no_fields() -> serde_json::Value {
    serde_json::json!({})
}

#[test]
fn transaction_id() {
    let check = |query: &str, expected: &str| case(no_fields()).check(query, expected);
    let cut = id().as_str()[..15].to_owned();
    check("transaction_id=$ID", "success=true;");
    check("transaction_id=+$ID%0a", "success=true;");
    check(
        &format!("transaction_id={cut}"),
        &refused(&format!("Invalid Trans. ID #{cut}.")),
    );
    check(
        "transaction_id=$IDx",
        &refused(&format!("Invalid Trans. ID #{}x.", id())),
    );
    check("", &refused("Invalid Trans. ID #."));
    check("transaction_id=", &refused("Invalid Trans. ID #."));
    check(
        "transaction_id=TRANSACTION_ID",
        &refused("Invalid Trans. ID #TRANSACTION_ID."),
    );
    check("aff_id=2", &refused("Invalid Trans. ID #."));
    check("offer_id=x&aff_id=2", &refused("Invalid Trans. ID #."));
    check("offer_id=1&aff_id=2", &refused("Invalid Trans. ID #."));
    check("offer_id=1", &refused("Invalid Trans. ID #."));
}

#[test]
fn expiry() {
    let check = |after: TimeDelta, expected: &str| {
        let offer = serde_json::json!({"session_hours": 1});
        Case {
            after,
            ..case(offer)
        }
        .check("transaction_id=$ID", expected);
    };
    check(TimeDelta::hours(1), "success=true;");
    check(
        TimeDelta::hours(1) + TimeDelta::milliseconds(1),
        &refused(&format!("Expired Trans. ID #{}.", id())),
    );
    // A clock that is behind does not make a click expire.
    check(TimeDelta::hours(-1), "success=true;");
}

#[test]
fn protocol() {
    let check = |protocol: &str, query: &str, expected: &str| {
        case(serde_json::json!({"protocol": protocol})).check(query, expected);
    };
    let wrong = &refused("Wrong tracking protocol");
    for pixel in ["http", "https", "http_img", "https_img"] {
        check(pixel, "transaction_id=$ID", wrong);
        check(pixel, "offer_id=1&aff_id=2", wrong);
        check(pixel, "offer_id=1", &refused("Invalid Trans. ID #."));
    }
    check("server_affiliate", "transaction_id=$ID", wrong);
    check("server_affiliate", "offer_id=1&aff_id=2", "success=true;");
    check(
        "server_affiliate",
        "offer_id=1",
        &refused("Invalid parameter aff_id."),
    );
    check(
        "server_affiliate",
        "offer_id=1&aff_id=x",
        &refused("Invalid parameter aff_id."),
    );
}

#[test]
fn endpoint() {
    let check = |query: &str, expected: &str| {
        let endpoint = Endpoint::Goal;
        Case {
            endpoint,
            ..case(no_fields())
        }
        .check(query, expected);
    };
    check("a=lsr&transaction_id=$ID&goal_id=1", "success=true;");
    check("a=lsr&transaction_id=$ID", "success=true;");
    check(
        "a=l&transaction_id=$ID&goal_id=1",
        &refused("Wrong tracking protocol"),
    );
    check(
        "transaction_id=$ID&goal_id=1",
        &refused("Wrong tracking protocol"),
    );
}

#[test]
fn whitelist() {
    let check = |ip, expected: &str| {
        let offer = serde_json::json!({"whitelist": ["203.0.113.0/24", "2001:db8::/32"]});
        Case { ip, ..case(offer) }.check("transaction_id=$ID", expected);
    };
    check(Some("203.0.113.7"), "success=true;");
    check(Some("2001:db8::7"), "success=true;");
    check(Some("198.51.100.1"), &refused("IP address not whitelisted"));
    check(None, &refused("IP address not whitelisted"));
}

#[test]
fn security_token() {
    let check = |query: &str, expected: &str| {
        case(serde_json::json!({"security_token": true})).check(query, expected);
    };
    let invalid = &refused("Invalid advertiser security token");
    check("transaction_id=$ID&security_token=7ab2", "success=true;");
    check("transaction_id=$ID&security_token=7ab", invalid);
    check("transaction_id=$ID&security_token=7AB2", invalid);
    check("transaction_id=$ID&security_token=", invalid);
    check("transaction_id=$ID", invalid);
}

#[test]
fn referral() {
    let check = |referrer, expected: &str| {
        let offer = serde_json::json!({"referral_required": true});
        Case {
            referrer,
            ..case(offer)
        }
        .check("transaction_id=$ID", expected);
    };
    check(Some("https://shop.example/thanks"), "success=true;");
    check(Some(" "), &refused("No referral URL"));
    check(None, &refused("No referral URL"));
}

#[test]
fn parameters() {
    let check = |parameters: &str, expected: &str| {
        case(no_fields()).check(&format!("transaction_id=$ID&{parameters}"), expected);
    };
    let invalid = |name: &str| refused(&format!("Invalid parameter {name}."));
    let long = "a".repeat(501);
    check("offer_id=1", "success=true;");
    check("offer_id=2", &invalid("offer_id"));
    check("offer_id=x", &invalid("offer_id"));
    check("amount=19.99", "success=true;");
    check("amount=", "success=true;");
    check("amount=AMOUNT", &invalid("amount"));
    check("amount=-1", &invalid("amount"));
    check("amount=1.23456", &invalid("amount"));
    check("currency=usd", "success=true;");
    check("currency=dollars", &invalid("currency"));
    check("currency=EUR", "success=true;");
    check("currency=EUR&amount=1", &invalid("currency"));
    check("status=approved", "success=true;");
    check("status=paid", &invalid("status"));
    check("goal_id=1", "success=true;");
    check("goal_id=3", &invalid("goal_id"));
    check("goal_id=x", &invalid("goal_id"));
    check("goal_ref=purchase", "success=true;");
    check("goal_ref=nothing", &invalid("goal_ref"));
    for name in AdvertiserValues::NAMES
        .into_iter()
        .chain(["conversion_unique_id", "promo_code"])
    {
        check(&format!("{name}={}", &long[1..]), "success=true;");
        check(&format!("{name}={long}"), &invalid(name));
    }
}

#[test]
fn partner_id_protocol() {
    let check = |fields: serde_json::Value, partner: Option<Partner>, expected: &str| {
        let mut offer = serde_json::json!({"protocol": "server_affiliate"});
        if let (Some(offer), serde_json::Value::Object(fields)) = (offer.as_object_mut(), fields) {
            offer.extend(fields);
        }
        Case {
            partner,
            ..case(offer)
        }
        .check("offer_id=1&aff_id=2", expected);
    };
    let invalid = &refused("Invalid parameter aff_id.");
    check(no_fields(), Some(partner("active")), "success=true;");
    check(no_fields(), Some(partner("blocked")), invalid);
    check(no_fields(), None, invalid);
    check(
        serde_json::json!({"private": true}),
        Some(partner("active")),
        invalid,
    );
    check(
        serde_json::json!({"private": true, "partners": [2]}),
        Some(partner("active")),
        "success=true;",
    );
}

/// With everything wrong at once, the sender hears of the first check; mending one after the other shows the order.
#[test]
fn order() {
    let everything = || {
        serde_json::json!({
            "session_hours": 1, "protocol": "http", "whitelist": ["203.0.113.7"], "security_token": true,
            "referral_required": true, "unique_id": true,
        })
    };
    let mut wrong = Case {
        after: TimeDelta::hours(2),
        ..case(everything())
    };
    let mut query = "transaction_id=$ID&amount=x".to_owned();
    let mut check = |mend: &dyn Fn(&mut Case, &mut String), expected: &str| {
        mend(&mut wrong, &mut query);
        let case = Case {
            offer: wrong.offer.clone(),
            partner: None,
            ..wrong
        };
        case.check(&query, &refused(expected));
    };
    check(
        &|_, query| query.insert_str(0, "transaction_id=x&"),
        "Invalid Trans. ID #x.",
    );
    check(
        &|_, query| *query = query.replace("transaction_id=x&", ""),
        &format!("Expired Trans. ID #{}.", id()),
    );
    check(
        &|case, _| case.after = TimeDelta::hours(1),
        "Wrong tracking protocol",
    );
    check(
        &|case, _| case.offer["protocol"] = "server".into(),
        "IP address not whitelisted",
    );
    check(
        &|case, _| case.ip = Some("203.0.113.7"),
        "Invalid advertiser security token",
    );
    check(
        &|_, query| query.push_str("&security_token=7ab2"),
        "No referral URL",
    );
    check(
        &|case, _| case.referrer = Some("https://shop.example/"),
        "Invalid parameter amount.",
    );
    check(
        &|_, query| *query = query.replace("amount=x", "amount=1"),
        "Invalid parameter conversion_unique_id.",
    );
}

#[test]
fn what_is_claimed() {
    let claim = case(no_fields())
        .judge("transaction_id=$ID&amount=19.99&currency=usd&adv_sub=order+1&promo_code=SUMMER&status=pending")
        .expect("a claim");
    let Claim::InLedger(conversion, Uniqueness::Transaction) = claim else {
        panic!("{claim:?}");
    };
    let click = conversion.click.expect("a click");
    assert_eq!(click.transaction_id, id().as_str());
    assert_eq!(
        click.clicked_at,
        CLICKED_AT.parse::<DateTime<Utc>>().expect("a time")
    );
    assert_eq!(click.session_state, SessionState::Awaited);
    assert_eq!(u32::from(conversion.partner_id), 2);
    assert_eq!(
        conversion
            .amount
            .map(|amount| amount.to_string())
            .as_deref(),
        Some("19.99")
    );
    assert_eq!(conversion.payout.to_string(), "1.50");
    assert_eq!(conversion.revenue.to_string(), "1.999");
    assert_eq!(conversion.status, Status::Pending);
    assert_eq!(conversion.advertiser_values.values()[0], "order 1");
    assert_eq!(conversion.promo_code.as_deref(), Some("SUMMER"));
    assert_eq!(
        conversion.received_at,
        id().clicked_at() + TimeDelta::hours(1)
    );
    assert_eq!(
        conversion.sender_ip,
        Some("198.51.100.1".parse().expect("an address"))
    );
}

#[test]
fn terms() {
    let check = |fields: serde_json::Value, query: &str, payout: &str, uniqueness: Uniqueness| {
        let claim = case(fields).judge(query).expect("a claim");
        let Claim::InLedger(conversion, found) = claim else {
            panic!("{claim:?}");
        };
        assert_eq!(conversion.payout.to_string(), payout, "{query}");
        assert_eq!(found, uniqueness, "{query}");
    };
    check(
        no_fields(),
        "transaction_id=$ID",
        "1.50",
        Uniqueness::Transaction,
    );
    check(
        no_fields(),
        "transaction_id=$ID&goal_id=1&amount=100",
        "2.00",
        Uniqueness::Transaction,
    );
    check(
        no_fields(),
        "transaction_id=$ID&goal_ref=purchase&amount=100",
        "5.00",
        Uniqueness::Unlimited,
    );
    check(
        no_fields(),
        "transaction_id=$ID&goal_ref=purchase",
        "0.00",
        Uniqueness::Unlimited,
    );
    let multiple = serde_json::json!({"multiple_conversions": true});
    check(
        multiple,
        "transaction_id=$ID",
        "1.50",
        Uniqueness::Unlimited,
    );
    let by_partner = serde_json::json!({"protocol": "server_affiliate"});
    check(
        by_partner,
        "offer_id=1&aff_id=2&aff_sub=x",
        "1.50",
        Uniqueness::Unlimited,
    );
}

#[test]
fn a_unique_id_takes_the_place_of_the_transaction() {
    let check = |fields: serde_json::Value, query: &str, expected: Option<&str>| {
        let found = match case(fields).judge(query).expect("a claim") {
            Claim::InLedger(..) => None,
            Claim::InNetwork(_, unique_id) => Some(unique_id),
        };
        assert_eq!(found.as_deref(), expected, "{query}");
    };
    let unique = serde_json::json!({"unique_id": true});
    check(
        unique,
        "transaction_id=$ID&conversion_unique_id=+o+1+",
        Some("o 1"),
    );
    check(
        no_fields(),
        "transaction_id=$ID&conversion_unique_id=o1",
        None,
    );
    let by_partner = serde_json::json!({"unique_id": true, "protocol": "server_affiliate"});
    check(
        by_partner,
        "offer_id=1&aff_id=2&conversion_unique_id=o1",
        Some("o1"),
    );
}

#[test]
fn status() {
    let check = |approval: bool, said: &str, expected: Status| {
        let claim = case(serde_json::json!({"approval": approval}))
            .judge(&format!("transaction_id=$ID&status={said}"))
            .expect("a claim");
        let Claim::InLedger(conversion, _) = claim else {
            panic!("{claim:?}");
        };
        assert_eq!(conversion.status, expected, "{approval} {said}");
    };
    check(false, "", Status::Approved);
    check(false, "pending", Status::Pending);
    check(false, "rejected", Status::Rejected);
    check(true, "", Status::Pending);
    check(true, "approved", Status::Pending);
    check(true, "rejected", Status::Rejected);
}

proptest! {
    #[test]
    fn reads_anything_without_panic(query: String, form: String) {
        if let Ok(postback) = Postback::parse(Endpoint::Lsr, &query, &form) {
            let _ = postback.subject(&keyring());
        }
        let _ = case(no_fields()).judge(&format!("transaction_id=$ID&{query}"));
    }
}
