//! What the core of a click and a postback costs natively: `cargo bench`. For regressions; the bench in `bench/` says what
//! it means in the runtime.

use std::hint::black_box;

use chrono::{DateTime, Utc};
use divan::Bencher;
use tidemark::ledger::counts::ClickCounts;
use tidemark::tracking::click::{Click, Visitor};
use tidemark::tracking::click_page::{ClickPage, Session};
use tidemark::tracking::offer::OfferDocument;
use tidemark::tracking::partner::Partner;
use tidemark::tracking::postback::{Configured, Endpoint, Postback, Sender};
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName, TransactionId};

const QUERY: &str = "offer_id=1&aff_id=2&aff_sub=109581A&source=awesomepub";
const OFFER: &str = r#"{"v": 1, "offer": {"id": 1, "name": "Shop", "advertiser_id": 1, "currency": "USD",
    "offer_url": "https://shop.example/landing?offer=102&session_id={transaction_id}&campaign={aff_sub}&source={source}",
    "payout": {"flat": "1.50"}, "revenue": {"percent": "10"}},
    "advertiser": {"id": 1, "name": "Shop Inc"}}"#;
const PARTNER: &str = r#"{"id": 2, "name": "Awesome Pub"}"#;

fn main() {
    divan::main();
}

fn now() -> DateTime<Utc> {
    // The first of June 2026. To parse it would take as long as some of what is measured.
    DateTime::from_timestamp(1_780_272_000, 0).expect("a time")
}

fn keyring() -> Keyring {
    Keyring::parse(&format!("1:{}", "ab".repeat(32))).expect("keys")
}

fn mint(keyring: &Keyring) -> TransactionId {
    let page = PageName::new(ClickTime::from_utc(now()), 5);
    let (offer, partner) = (1.try_into().expect("offer"), 2.try_into().expect("partner"));
    keyring.mint(offer, partner, page, 0)
}

#[divan::bench]
fn mint_an_id(bencher: Bencher) {
    let keyring = keyring();
    bencher.bench(|| mint(black_box(&keyring)));
}

#[divan::bench]
fn verify_an_id(bencher: Bencher) {
    let keyring = keyring();
    let id = mint(&keyring).to_string();
    bencher.bench(|| keyring.verify(black_box(&id)));
}

#[divan::bench]
fn parse_a_click() -> u32 {
    Click::parse(black_box(QUERY)).map_or(0, |click| click.offer.into())
}

#[divan::bench]
fn expand_an_offer_url(bencher: Bencher) {
    let document: OfferDocument = serde_json::from_str(OFFER).expect("offer");
    let partner: Partner = serde_json::from_str(PARTNER).expect("partner");
    let click = Click::parse(QUERY).expect("click");
    let id = mint(&keyring());
    bencher.bench(|| {
        click.landing_url(
            black_box(&id),
            &document,
            &partner,
            &Visitor::default(),
            now(),
        )
    });
}

#[divan::bench]
fn record_and_count_a_page_of_256_clicks(bencher: Bencher) {
    let keyring = keyring();
    let click = Click::parse(QUERY).expect("click");
    let name = PageName::new(ClickTime::from_utc(now()), 5);
    let ids: Vec<_> = (0..=255)
        .map(|position| keyring.mint(click.offer, click.partner, name, position))
        .collect();
    bencher.bench(|| {
        let mut page = ClickPage::open(name);
        for id in &ids {
            let session = Session {
                country: "DE".into(),
                ip: "203.0.113.99".into(),
                sub_ids: click.sub_ids.clone(),
            };
            page.append(id, &session, now());
        }
        let (_, text, _) = page.close();
        let mut counts = ClickCounts::default();
        counts.add_page(&text);
        counts.len()
    });
}

#[divan::bench]
fn check_a_postback(bencher: Bencher) {
    let document: OfferDocument = serde_json::from_str(OFFER).expect("offer");
    let keyring = keyring();
    let query = format!(
        "transaction_id={}&amount=19.99&adv_sub=order",
        mint(&keyring)
    );
    let sender = Sender {
        ip: None,
        referrer: None,
    };
    bencher.bench(|| {
        let postback = Postback::parse(Endpoint::Lsr, black_box(&query), "").expect("postback");
        let subject = postback.subject(&keyring).expect("genuine");
        let configured = Configured {
            document: &document,
            partner: None,
        };
        postback.check(&subject, configured, None, sender, now())
    });
}
