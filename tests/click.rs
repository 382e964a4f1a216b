//! `/aff_c` in the runtime: every row of the click tables, and what hostile visitors send.

mod support;

use std::thread;
use std::time::Duration;

use support::{Options, Response, Runtime};

const LINK: &str = "/aff_c?offer_id=1&aff_id=2&aff_sub=109581A&source=awesomepub";

fn location(answer: &Response) -> &str {
    answer.header("Location").expect("a Location")
}

/// The value of a parameter of the landing page.
fn landing_value(answer: &Response, name: &str) -> String {
    let url = url::Url::parse(location(answer)).expect("a URL");
    let pair = url.query_pairs().find(|(key, _)| key == name);
    pair.map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[test]
fn redirects_to_the_expanded_url() {
    let runtime = Runtime::start();
    let answer = runtime.get(LINK);
    let id = landing_value(&answer, "session_id");
    assert_eq!(answer.status, 302);
    assert_eq!(
        location(&answer),
        format!(
            "https://shop.example/landing?offer=102&session_id={id}&campaign=109581A&source=awesomepub"
        )
    );
    assert_eq!(id.len(), 30);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert_eq!(answer.body, "");
}

#[test]
fn every_click_has_an_id_of_its_own() {
    let runtime = Runtime::start();
    let mut ids: Vec<String> = thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..100)
                        .map(|_| landing_value(&runtime.get(LINK), "session_id"))
                        .collect()
                })
            })
            .collect();
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap_or_else(|_| Vec::new()))
            .collect()
    });
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 800);
}

#[test]
fn answers_json_when_asked() {
    let runtime = Runtime::start();
    let answer = runtime.get(&format!("{LINK}&format=json"));
    let json = answer.json();
    let id = json["transaction_id"].as_str().expect("an ID");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(
        json["url"],
        format!(
            "https://shop.example/landing?offer=102&session_id={id}&campaign=109581A&source=awesomepub"
        )
    );
}

#[test]
fn says_what_is_wrong_with_a_link() {
    let runtime = Runtime::start();
    let check = |path: &str, status: u16, reason: &str| {
        let answer = runtime.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(reason), "{path}: {}", answer.body);
        assert_eq!(answer.header("Location"), None);
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    };
    let long = "a".repeat(501);
    check("/aff_c", 400, "offer_id is missing");
    check("/aff_c?offer_id=1", 400, "aff_id is missing");
    check(
        "/aff_c?offer_id=one&aff_id=2",
        400,
        "offer_id is not a number",
    );
    check(
        "/aff_c?offer_id=0&aff_id=2",
        400,
        "offer_id is not between 1 and 1048575",
    );
    check(
        "/aff_c?offer_id=1&aff_id=4194304",
        400,
        "aff_id is not between 1 and 4194303",
    );
    check(
        &format!("{LINK}&aff_sub5={long}"),
        400,
        "aff_sub5 is longer than 500 characters",
    );
    check("/aff_c?offer_id=999&aff_id=2", 404, "no such offer");
    check("/aff_c?offer_id=1&aff_id=999", 404, "no such partner");
    check("/aff_c?offer_id=1&aff_id=3", 403, "cannot send visitors");
    check(&format!("{LINK}&lv=2"), 410, "out of date");
    check(
        &format!("{LINK}&x={}", "a".repeat(8192)),
        414,
        "longer than 8 KB",
    );
    check("/aff_d", 404, "Not found");
    check("/", 404, "Not found");
}

#[test]
fn falls_back_to_the_offers_url_and_then_to_the_networks() {
    let runtime = Options::default()
        .with("FALLBACK_URL", "https://network.example/closed")
        .start();
    let check = |path: &str, expected: &str| {
        let answer = runtime.get(path);
        assert_eq!(
            (answer.status, location(&answer)),
            (302, expected),
            "{path}"
        );
    };
    check("/aff_c?offer_id=7&aff_id=2", "https://shop.example/closed");
    check("/aff_c?offer_id=7&aff_id=3", "https://shop.example/closed");
    check(
        "/aff_c?offer_id=1&aff_id=3",
        "https://network.example/closed",
    );
    check(&format!("{LINK}&lv=2"), "https://network.example/closed");
    assert_eq!(runtime.get("/aff_c?offer_id=999&aff_id=2").status, 404);
}

#[test]
fn head_is_answered_like_get() {
    let runtime = Runtime::start();
    let check = |path: &str| {
        let (get, head) = (runtime.get(path), runtime.request("HEAD", path, &[], ""));
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.body, "");
        assert_eq!(head.header("Cache-Control"), get.header("Cache-Control"));
        let host = |answer: &Response| answer.header("Location").map(|url| url[..20].to_owned());
        assert_eq!(host(&head), host(&get));
    };
    check(LINK);
    check("/aff_c?offer_id=7&aff_id=2");
    check("/aff_c?offer_id=999&aff_id=2");
}

#[test]
fn an_offer_is_told_what_it_asks_of_a_visitor() {
    let runtime = Runtime::start();
    for (id, macros, expected) in [
        (100, "{ip}", "203.0.113.7"),
        (101, "{ip}-{user_agent}", "203.0.113.7-Visitor%2F1.0"),
    ] {
        let offer = serde_json::json!({
            "id": id, "name": "Shop", "advertiser_id": 1, "currency": "USD", "status": "active", "protocol": "server",
            "offer_url": format!("https://shop.example/{macros}"), "payout": {"flat": "1"}, "revenue": {"flat": "1"},
        });
        let made = runtime.api("POST", "/api/v1/offers", &offer.to_string());
        assert_eq!(made.status, 201, "{}", made.body);
        let headers = [
            ("CF-Connecting-IP", "203.0.113.7"),
            ("User-Agent", "Visitor/1.0"),
        ];
        // The first answer waits for KV, the others do not.
        for method in ["GET", "GET", "HEAD"] {
            let path = format!("/aff_c?offer_id={id}&aff_id=2");
            let answer = runtime.request(method, &path, &headers, "");
            let url = format!("https://shop.example/{expected}");
            assert_eq!(location(&answer), url, "{method}");
        }
    }
}

#[test]
fn other_methods_are_not_allowed() {
    let runtime = Runtime::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = runtime.request(method, LINK, &[], "");
        assert_eq!(
            (answer.status, answer.header("Allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
}

#[test]
fn a_speculative_request_makes_no_click() {
    let runtime = Runtime::start();
    for header in [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
    ] {
        let answer = runtime.request("GET", LINK, &[header], "");
        assert_eq!(answer.status, 503, "{header:?}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        assert_eq!(answer.header("Location"), None);
    }
}

/// Whatever a visitor puts into a parameter, the redirect goes to the same host and path, with the same parameters,
/// and gives the value back.
#[test]
fn values_cannot_change_the_redirect() {
    let runtime = Runtime::start();
    let ten_kilobytes = "a".repeat(400);
    let values = [
        "\r\nSet-Cookie: a=b",
        "\"'<script>alert(1)</script>",
        "a\0b",
        "{transaction_id}",
        "{aff_sub}",
        "https://evil.example",
        "//evil.example/",
        "@evil.example",
        "&offer=999#fragment",
        "../../..",
        "%0d%0a",
        "é漢🦀",
        "\u{202e}\u{feff}",
        ten_kilobytes.as_str(),
    ];
    for value in values {
        let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let answer = runtime.get(&format!(
            "/aff_c?offer_id=1&aff_id=2&aff_sub={encoded}&source={encoded}&x={encoded}"
        ));
        assert_eq!(answer.status, 302, "{value:?}");
        let url = url::Url::parse(location(&answer)).expect("a URL");
        assert_eq!(
            &url[..url::Position::AfterPath],
            "https://shop.example/landing",
            "{value:?}"
        );
        assert_eq!(url.fragment(), None, "{value:?}");
        let pairs: Vec<_> = url.query_pairs().collect();
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(
            names,
            ["offer", "session_id", "campaign", "source"],
            "{value:?}"
        );
        assert_eq!(pairs[0].1, "102");
        assert_eq!(pairs[1].1.len(), 30);
        assert_eq!((pairs[2].1.as_ref(), pairs[3].1.as_ref()), (value, value));
        assert_eq!(answer.header("Set-Cookie"), None);
    }
}

/// Bytes that no well-behaved client sends. The runtime may refuse them itself; the worker goes on either way.
#[test]
fn survives_bytes_that_are_not_http() {
    let runtime = Runtime::start();
    let check = |query: &[u8]| {
        let request = [
            b"GET /aff_c?offer_id=1&aff_id=2&aff_sub=".as_slice(),
            query,
            b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        let answer = String::from_utf8_lossy(&runtime.raw(&request)).into_owned();
        let status = answer.split(' ').nth(1).unwrap_or("none");
        assert!(
            ["302", "400", "none"].contains(&status),
            "{query:?}: {answer}"
        );
        assert!(!answer.to_ascii_lowercase().contains("evil: "), "{answer}");
        if let Some((_, rest)) = answer.split_once("ocation: ") {
            assert!(
                rest.starts_with("https://shop.example/landing?offer=102&"),
                "{answer}"
            );
        }
    };
    for query in [
        b"\xff\xfe".as_slice(),
        b"%ff%fe",
        b"%",
        b"%zz",
        b"a\r\nEvil: 1",
        b"a\nEvil: 1",
        b"\0",
        b"a b",
        b"\"<>\\^`{|}",
        b"a#b?c",
        "é".as_bytes(),
    ] {
        check(query);
    }
    assert_eq!(runtime.get(LINK).status, 302);
    assert!(!runtime.log().contains("error: "), "{}", runtime.log());
}

#[test]
fn without_documents_nothing_is_known() {
    let runtime = Options::default().without_network().start();
    assert_eq!(runtime.get(LINK).status, 404);
}

#[test]
fn says_which_setting_is_missing() {
    let runtime = Options::default().start();
    let mut runtime = runtime;
    runtime.options.vars.remove("TRANSACTION_KEYS");
    runtime.restart();
    for path in [LINK, "/healthz"] {
        let answer = runtime.get(path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (500, "The setting TRANSACTION_KEYS is missing.")
        );
    }
    runtime
        .options
        .vars
        .insert("TRANSACTION_KEYS", "1:secret".to_owned());
    runtime.restart();
    let answer = runtime.get("/healthz");
    assert_eq!(answer.status, 500);
    assert!(
        answer.body.starts_with("The setting TRANSACTION_KEYS") && !answer.body.contains("secret"),
        "{}",
        answer.body
    );
}

#[test]
fn health() {
    let runtime = Runtime::start();
    let answer = runtime.get("/healthz");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, concat!("tidemark ", env!("CARGO_PKG_VERSION")))
    );
}

/// A click that nobody follows up is recorded all the same: its page is in KV after a second.
#[test]
fn sessions_are_recorded_in_the_background() {
    let runtime = Runtime::start();
    let ids: Vec<String> = (0..300)
        .map(|n| {
            landing_value(
                &runtime.get(&format!("/aff_c?offer_id=1&aff_id=2&aff_sub=click-{n}")),
                "session_id",
            )
        })
        .collect();
    thread::sleep(Duration::from_secs(2));
    for id in &ids {
        let answer = runtime.get(&format!("/aff_lsr?transaction_id={id}"));
        assert_eq!(answer.body, "success=true;");
    }
    let conversions = runtime.conversions(1, false);
    assert_eq!(conversions.len(), 300);
    for (conversion, n) in conversions.iter().rev().zip(0..) {
        assert_eq!(conversion["click"]["session_state"], "recorded");
        assert_eq!(
            conversion["session"]["sub_ids"]["aff_sub"],
            format!("click-{n}")
        );
        assert_eq!(conversion["session"]["country"], "DE");
        assert_eq!(conversion["session"]["ip"], "127.0.0.1");
    }
}
