//! Whatever a visitor's query says, the redirect goes to the offer's host and path, with the offer's parameters.
#![no_main]

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use tidemark::json;
use tidemark::tracking::click::{Click, Visitor};
use tidemark::tracking::offer::OfferDocument;
use tidemark::tracking::partner::Partner;
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};
use url::{Position, Url};

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(&format!("1:{}", "07".repeat(32))).unwrap());

static OFFER: LazyLock<OfferDocument> = LazyLock::new(|| {
    json::read(
        r#"{"v": 1, "advertiser": {"id": 1, "name": "Shop"}, "offer": {
            "id": 1, "name": "Offer", "advertiser_id": 1, "status": "active", "protocol": "server",
            "offer_url": "https://shop.example/a/{source}/b?x={aff_sub}&y={user_agent}&{params}#{aff_sub2}",
            "currency": "USD"}}"#,
    )
    .unwrap()
});

static PARTNER: LazyLock<Partner> =
    LazyLock::new(|| json::read(r#"{"id": 2, "name": "Publisher", "status": "active"}"#).unwrap());

fuzz_target!(|query: &str| {
    let query = format!("offer_id=1&aff_id=2&{query}");
    let Ok(click) = Click::parse(&query) else {
        return;
    };
    let page = PageName::new(ClickTime::from_utc(DateTime::<Utc>::UNIX_EPOCH), 0);
    let id = KEYRING.mint(click.offer, click.partner, page, 0);
    let visitor = Visitor {
        user_agent: &query,
        ..Visitor::default()
    };
    let now = DateTime::UNIX_EPOCH;
    let Ok(landing) = click.landing_url(&id, &OFFER, &PARTNER, &visitor, now) else {
        return;
    };
    assert!(landing.bytes().all(|b| b.is_ascii_graphic()));
    let url = Url::parse(&landing).unwrap();
    assert_eq!(url.as_str(), landing);
    assert_eq!(&url[..Position::BeforePath], "https://shop.example");
    let segments: Vec<_> = url.path_segments().unwrap().collect();
    assert!(matches!(segments[..], ["a", _, "b"]), "{landing}");
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name).collect();
    assert!(names.starts_with(&["x".into(), "y".into()]), "{landing}");
});
