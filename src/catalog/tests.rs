use std::cell::Cell;

use rusqlite::Connection;

use super::*;
use crate::catalog::list::{List, Sort};
use crate::sql::native::{Failing, database, schema_digest};

const ADVERTISER: &str = r#"{"name": "Shop Inc"}"#;
const PARTNER: &str = r#"{"name": "Awesome Pub"}"#;
const OFFER: &str = r#"{
    "name": "Shop", "advertiser_id": 1, "offer_url": "https://shop.example/?t={transaction_id}", "currency": "USD"
}"#;

fn now() -> DateTime<Utc> {
    "2026-06-01T00:00:00Z".parse().expect("a time")
}

fn write(action: Action) -> Write {
    Write {
        action,
        if_match: None,
        idempotency: None,
    }
}

/// A catalog with advertiser 1, partner 1 and offer 1, and nothing to publish.
fn catalog(database: &Connection) -> Catalog<&Connection> {
    let catalog = Catalog::open(database).expect("opened");
    for (kind, json) in [
        (Kind::Advertiser, ADVERTISER),
        (Kind::Partner, PARTNER),
        (Kind::Offer, OFFER),
    ] {
        create(&catalog, kind, json).expect("created");
    }
    publish(&catalog);
    catalog
}

fn create(catalog: &Catalog<&Connection>, kind: Kind, json: &str) -> Result<Entity, Refusal> {
    catalog
        .write(write(Action::Create(kind, json.to_owned())), now())
        .map(|written| written.entity)
}

fn change(catalog: &Catalog<&Connection>, kind: Kind, patch: &str) -> Result<Entity, Refusal> {
    catalog
        .write(write(Action::Change(kind, 1, patch.to_owned())), now())
        .map(|written| written.entity)
}

/// Publishes all, and gives the keys.
fn publish(catalog: &Catalog<&Connection>) -> Vec<String> {
    let outbox = catalog.outbox(100).expect("outbox");
    let publish = |unpublished: Unpublished| {
        let document = catalog.document(unpublished).expect("document");
        catalog.published(unpublished).expect("published");
        document.key
    };
    outbox.into_iter().map(publish).collect()
}

#[test]
fn pins_the_schema() {
    let database = database();
    catalog(&database);
    assert_eq!(
        schema_digest(&database),
        5_209_951_958_907_070_232,
        "a released migration never changes"
    );
}

#[test]
fn what_is_saved_can_be_published_and_read() {
    let database = database();
    let catalog = catalog(&database);
    assert_eq!(catalog.outbox(100).expect("outbox"), []);
    let offer = change(&catalog, Kind::Offer, r#"{"payout": {"flat": "1.5"}}"#).expect("changed");
    assert_eq!((offer.version, offer.published), (2, false));
    let [unpublished] = catalog.outbox(100).expect("outbox")[..] else {
        panic!("one document")
    };
    let document = catalog.document(unpublished).expect("document");
    assert_eq!(document.key, "offer:1");
    let read: OfferDocument = json::read(&document.value).expect("document");
    assert_eq!(read.offer.payout.due(None).to_string(), "1.50");

    // What changes while KV takes a document is published again.
    change(&catalog, Kind::Offer, r#"{"payout": {"flat": "2"}}"#).expect("changed");
    catalog.published(unpublished).expect("published");
    assert!(!catalog.get(Kind::Offer, 1).expect("offer").published);
    assert_eq!(publish(&catalog), ["offer:1"]);
    assert!(catalog.get(Kind::Offer, 1).expect("offer").published);

    // An advertiser stands in the documents of its offers.
    let advertiser = change(&catalog, Kind::Advertiser, r#"{"ref": "a-1"}"#).expect("changed");
    assert!(!advertiser.published);
    assert_eq!(publish(&catalog), ["offer:1"]);
    assert!(
        catalog
            .get(Kind::Advertiser, 1)
            .expect("advertiser")
            .published
    );
    change(&catalog, Kind::Partner, r#"{"status": "blocked"}"#).expect("changed");
    assert_eq!(publish(&catalog), ["partner:1"]);
}

#[test]
fn says_which_field_is_wrong() {
    let database = database();
    let catalog = catalog(&database);
    let check = |kind: Kind, patch: &str, expected: &str| {
        let refusal = change(&catalog, kind, patch).expect_err(patch).to_string();
        assert!(refusal.starts_with(expected), "{patch}: {refusal}");
    };
    check(
        Kind::Offer,
        r#"{"whitelst": []}"#,
        "whitelst: unknown field",
    );
    check(
        Kind::Offer,
        r#"{"payout": {"flat": "x"}}"#,
        "payout.flat: is not a decimal",
    );
    check(
        Kind::Offer,
        r#"{"offer_url": "https://x.example/{transaction}"}"#,
        "offer_url: holds {transaction}",
    );
    check(
        Kind::Offer,
        r#"{"advertiser_id": 9}"#,
        "advertiser_id: there is no such",
    );
    check(
        Kind::Offer,
        r#"{"partners": [1, 9]}"#,
        "partners[1]: there is no such",
    );
    check(
        Kind::Offer,
        r#"{"security_token": true}"#,
        "security_token: the advertiser has no",
    );
    check(Kind::Offer, r#"{"name": null}"#, ": missing field `name`");
    check(Kind::Offer, r#"{"id": 2}"#, "id: cannot be changed");
    check(
        Kind::Offer,
        r#"{"link_version": 5}"#,
        "link_version: is raised by",
    );
    check(Kind::Offer, "[]", ": invalid type");
    check(
        Kind::Advertiser,
        r#"{"next_security_token": "x"}"#,
        "next_security_token: cannot be set",
    );
    assert_eq!(catalog.outbox(100).expect("outbox"), []);
    assert_eq!(
        create(&catalog, Kind::Partner, r#"{"id": 1, "name": "Again"}"#),
        Err(Refusal::Exists(Kind::Partner, 1))
    );
    assert_eq!(
        create(&catalog, Kind::Partner, PARTNER).map(|entity| entity.id),
        Ok(2)
    );
}

#[test]
fn a_token_is_made_and_then_applied() {
    let database = database();
    let catalog = catalog(&database);
    let id = || 1.try_into().expect("an ID");
    assert!(
        catalog
            .write(write(Action::ApplyToken(id())), now())
            .is_err()
    );
    catalog
        .write(
            write(Action::SetNextToken(id(), "secret".to_owned())),
            now(),
        )
        .expect("made");
    assert!(change(&catalog, Kind::Offer, r#"{"security_token": true}"#).is_err());
    let applied = catalog
        .write(write(Action::ApplyToken(id())), now())
        .expect("applied")
        .entity;
    assert_eq!(
        applied.body,
        r#"{"id":1,"name":"Shop Inc","ref":"","security_token":"secret"}"#
    );
    change(&catalog, Kind::Offer, r#"{"security_token": true}"#).expect("changed");
    let refusal = change(&catalog, Kind::Advertiser, r#"{"security_token": null}"#);
    assert_eq!(
        refusal,
        Err(invalid("security_token", "an offer asks for it"))
    );
    let trail = catalog
        .audit(&audit::Filter {
            kind: Some(Kind::Advertiser),
            id: Some(1),
            before: None,
            limit: 2,
        })
        .expect("trail");
    assert!(trail.has_more);
    assert_eq!(trail.entries[0].action, "apply_token");
    assert_eq!(
        trail.entries[0].changes["security_token"],
        serde_json::json!({"from": null, "to": "…"})
    );
    assert!(!format!("{trail:?}").contains("secret\""));
}

#[test]
fn another_protocol_makes_links_stale() {
    let database = database();
    let catalog = catalog(&database);
    let offer =
        change(&catalog, Kind::Offer, r#"{"protocol": "server_affiliate"}"#).expect("changed");
    assert!(offer.body.contains(r#""link_version":2"#));
    let offer = change(&catalog, Kind::Offer, r#"{"name": "Store"}"#).expect("changed");
    assert!(offer.body.contains(r#""link_version":2"#));
}

#[test]
fn two_people_do_not_overwrite_each_other() {
    let database = database();
    let catalog = catalog(&database);
    let patch = |if_match: Option<Vec<i64>>, name: &str| {
        let action = Action::Change(Kind::Partner, 1, format!(r#"{{"name": "{name}"}}"#));
        catalog.write(
            Write {
                action,
                if_match,
                idempotency: None,
            },
            now(),
        )
    };
    patch(Some(vec![1]), "A").expect("changed");
    assert_eq!(patch(Some(vec![1]), "B"), Err(Refusal::VersionMismatch(2)));
    assert_eq!(patch(Some(vec![]), "B"), Err(Refusal::VersionMismatch(2)));
    patch(Some(vec![1, 2]), "B").expect("changed");
    let same = patch(None, "B").expect("the same").entity;
    assert_eq!(same.version, 3);
}

#[test]
fn a_request_under_a_key_is_done_once() {
    let database = database();
    let catalog = catalog(&database);
    let create = |key: &str, request: &str, at: DateTime<Utc>| {
        let idempotency = Some(message::Idempotency {
            key: key.to_owned(),
            request: request.to_owned(),
        });
        let action = Action::Create(Kind::Partner, PARTNER.to_owned());
        catalog.write(
            Write {
                action,
                if_match: None,
                idempotency,
            },
            at,
        )
    };
    let first = create("k", "r", now()).expect("created");
    let again = create("k", "r", now()).expect("repeated");
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(first.entity, again.entity);
    assert_eq!(create("k", "other", now()), Err(Refusal::KeyReused));
    let later = create("k", "r", now() + TimeDelta::hours(25)).expect("created");
    assert_eq!((later.repeated, later.entity.id), (false, 3));
}

#[test]
fn partners_are_approved_and_refused() {
    let database = database();
    let catalog = catalog(&database);
    let (offer, partner) = (
        || 1.try_into().expect("an ID"),
        |id: u32| id.try_into().expect("an ID"),
    );
    let approve = |id: u32, approved: bool| {
        let written = catalog.write(
            write(Action::Approve(offer(), partner(id), approved)),
            now(),
        )?;
        let offer: Offer = json::read(&written.entity.body)?;
        Ok::<usize, Refusal>(offer.partners.len())
    };
    assert_eq!(approve(1, true), Ok(1));
    assert_eq!(approve(1, true), Ok(1));
    assert_eq!(approve(1, false), Ok(0));
    assert_eq!(approve(9, true), Err(Refusal::NotFound(Kind::Partner, 9)));
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    let database = database();
    let catalog = catalog(&database);
    for name in ["C", "B", "A"] {
        create(
            &catalog,
            Kind::Partner,
            &format!(r#"{{"name": "{name}", "status": "blocked"}}"#),
        )
        .expect("created");
    }
    let check = |limit: u32,
                 after: Option<u32>,
                 sort: Sort,
                 descending: bool,
                 filter: &str,
                 expected: &[u32]| {
        let filters = filter
            .split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let list = List {
            limit,
            after,
            sort,
            descending,
            filters: filters.into_iter().collect(),
        };
        let page = catalog.list(Kind::Partner, &list).expect("page");
        let ids: Vec<u32> = page.entities.iter().map(|entity| entity.id).collect();
        assert_eq!(ids, expected);
        page.has_more
    };
    assert!(!check(4, None, Sort::Id, false, "", &[1, 2, 3, 4]));
    assert!(check(2, None, Sort::Id, true, "", &[4, 3]));
    check(2, Some(3), Sort::Id, true, "", &[2, 1]);
    check(3, None, Sort::Name, false, "", &[4, 1, 3]);
    check(3, Some(3), Sort::Name, false, "", &[2]);
    check(9, None, Sort::Id, false, "status=blocked", &[2, 3, 4]);
    check(9, None, Sort::Id, false, "status=x", &[]);
    let offers = |filter: (&str, &str)| {
        let filters = vec![(filter.0.to_owned(), filter.1.to_owned())];
        let list = List {
            limit: 9,
            after: None,
            sort: Sort::UpdatedAt,
            descending: false,
            filters,
        };
        catalog
            .list(Kind::Offer, &list)
            .map(|page| page.entities.len())
    };
    assert_eq!(offers(("advertiser_id", "1")), Ok(1));
    assert_eq!(offers(("private", "false")), Ok(1));
    assert_eq!(offers(("private", "true")), Ok(0));
    assert!(offers(("x') OR 1 --", "1")).is_err());
}

#[test]
fn a_failing_database_is_no_answer() {
    for statements in 0..12 {
        let (database, statements_left) = (database(), Cell::new(u32::MAX));
        let failing = Failing {
            database: &database,
            statements_left: &statements_left,
        };
        let catalog = Catalog::open(failing).expect("opened");
        statements_left.set(statements);
        let action = Action::Create(Kind::Advertiser, ADVERTISER.to_owned());
        match catalog.write(write(action), now()) {
            Ok(_) => return assert!(statements > 3),
            Err(Refusal::Failed(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("it never worked");
}
