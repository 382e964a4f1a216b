//! Whatever an advertiser's query and form say, a postback is judged, and an answer stays on its line.
#![no_main]

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use tidemark::json;
use tidemark::tracking::offer::OfferDocument;
use tidemark::tracking::postback::{Configured, Endpoint, Postback, Sender};
use tidemark::tracking::rejection::Answer;
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(&format!("1:{}", "07".repeat(32))).unwrap());

static OFFER: LazyLock<OfferDocument> = LazyLock::new(|| {
    json::read(
        r#"{"v": 1, "advertiser": {"id": 1, "name": "Shop"}, "offer": {
            "id": 1, "name": "Offer", "advertiser_id": 1, "status": "active", "protocol": "server",
            "offer_url": "https://shop.example/", "currency": "USD",
            "payout": {"flat": "1.5"}, "revenue": {"percent": "10"},
            "goals": [{"id": 1, "name": "Sign-up", "ref": "signup"}]}}"#,
    )
    .unwrap()
});

fuzz_target!(|input: (bool, &str, &str)| {
    let (genuine, query, form) = input;
    let page = PageName::new(ClickTime::from_utc(DateTime::<Utc>::UNIX_EPOCH), 0);
    let id = KEYRING.mint(1.try_into().unwrap(), 2.try_into().unwrap(), page, 0);
    let query = if genuine {
        format!("transaction_id={id}&{query}")
    } else {
        query.to_owned()
    };
    let Ok(postback) = Postback::parse(Endpoint::Goal, &query, form) else {
        return;
    };
    let rejection = match postback.subject(&KEYRING) {
        Err(rejection) => rejection,
        Ok(subject) => {
            let configured = Configured {
                document: &OFFER,
                partner: None,
            };
            let sender = Sender {
                ip: None,
                referrer: None,
            };
            match postback.check(&subject, configured, None, sender, id.clicked_at()) {
                Err(refusal) => refusal.rejection,
                Ok(_) => return,
            }
        }
    };
    let text = Answer::Refused(rejection).text();
    assert!(text.starts_with("success=false; err_msg="));
    assert!(!text.contains(char::is_control));
    assert_eq!(text.matches(';').count(), 2, "{text}");
});
