//! The management API in the runtime.

mod support;

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Options, Response, Runtime};

const WAIT: Duration = Duration::from_millis(100);

/// A runtime with nothing in its catalog.
fn empty() -> Runtime {
    Options::default().without_network().start()
}

fn api(runtime: &Runtime, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    runtime.api(method, &format!("/api/v1{path}"), &body)
}

/// Reads until it is as expected, for what happens in the background.
fn eventually(runtime: &Runtime, path: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..150 {
        let found = api(runtime, "GET", path, &Value::Null).json();
        if is_expected(&found) {
            return found;
        }
        thread::sleep(WAIT);
    }
    panic!(
        "{path} did not become what was expected: {}",
        runtime.api("GET", &format!("/api/v1{path}"), "").body
    )
}

fn click(runtime: &Runtime, query: &str) -> String {
    let answer = runtime.get(&format!("/aff_c?{query}&format=json"));
    answer.json()["transaction_id"]
        .as_str()
        .expect("an ID")
        .to_owned()
}

#[test]
fn only_the_token_opens_it() {
    let runtime = empty();
    let check = |authorization: &str, expected: u16| {
        let headers = [("Authorization", authorization)];
        for (method, path) in [
            ("POST", "/api/v1/offers"),
            ("GET", "/api/v1/conversions"),
            ("GET", "/api/v1/x"),
        ] {
            let answer = runtime.request(method, path, &headers, "");
            if expected == 401 {
                assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
                assert_eq!(answer.json()["title"], "Unauthorized");
            }
            assert_eq!(
                answer.status == 401,
                expected == 401,
                "{authorization} {path}"
            );
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
            assert_eq!(answer.header("Set-Cookie"), None);
        }
    };
    check("", 401);
    check("Bearer", 401);
    check("Bearer ", 401);
    check("Bearer token-of-the-test", 401);
    check("Bearer token-of-the-tests2", 401);
    check("Basic token-of-the-tests", 401);
    check("Bearer token-of-the-tests", 200);
    check("bearer token-of-the-tests", 200);
}

#[test]
fn without_a_token_nothing_opens_it() {
    let runtime = Options::default()
        .without("ADMIN_TOKEN")
        .without_network()
        .start();
    for authorization in ["", "Bearer ", "Bearer undefined"] {
        let answer = runtime.request(
            "GET",
            "/api/v1/offers",
            &[("Authorization", authorization)],
            "",
        );
        assert_eq!(answer.status, 500);
        assert_eq!(
            answer.json()["detail"],
            "The setting ADMIN_TOKEN is missing."
        );
    }
}

#[test]
fn its_description_is_open_to_all() {
    let runtime = empty();
    let description = runtime.get("/api/v1/openapi.json");
    assert_eq!(description.status, 200);
    assert_eq!(description.json()["openapi"], "3.1.0");
    let page = runtime.get("/api");
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("Content-Security-Policy")
            .is_some_and(|policy| policy.contains("default-src 'none'"))
    );
}

#[test]
fn what_is_saved_can_be_clicked_and_what_is_wrong_is_named() {
    let runtime = empty();
    let check = |method: &str, path: &str, body: Value, status: u16, detail: &str| {
        let answer = api(&runtime, method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        if status >= 400 {
            assert_eq!(
                answer.header("Content-Type"),
                Some("application/problem+json")
            );
            let problem = answer.json();
            assert_eq!(problem["status"], status);
            assert!(
                problem["detail"]
                    .as_str()
                    .is_some_and(|text| text.contains(detail)),
                "{problem}"
            );
        }
    };
    let offer = json!({
        "name": "Shop", "advertiser_id": 1, "offer_url": "https://shop.example/?t={transaction_id}", "currency": "USD"
    });
    check(
        "POST",
        "/offers",
        offer.clone(),
        422,
        "advertiser_id: there is no such advertiser",
    );
    check("POST", "/advertisers", json!({"name": "Shop Inc"}), 201, "");
    check("POST", "/partners", json!({"name": "Publisher"}), 201, "");
    check(
        "POST",
        "/partners",
        json!({"id": 1, "name": "Publisher"}),
        409,
        "There is a partner 1 already.",
    );
    check(
        "POST",
        "/offers",
        json!({"name": "Shop"}),
        422,
        "missing field",
    );
    let mut wrong = offer.clone();
    wrong["offer_url"] = json!("https://shop.example/?t={transaction}");
    check(
        "POST",
        "/offers",
        wrong,
        422,
        "offer_url: holds {transaction}",
    );
    let mut wrong = offer.clone();
    wrong["whitelst"] = json!([]);
    check("POST", "/offers", wrong, 422, "whitelst: unknown field");
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=1").status, 404);
    check("POST", "/offers", offer, 201, "");
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=1").status, 302);

    check("POST", "/offers", Value::Null, 422, "EOF");
    check("GET", "/offers/2", Value::Null, 404, "There is no offer 2.");
    check(
        "GET",
        "/offers/x",
        Value::Null,
        404,
        "There is no such offer.",
    );
    check(
        "GET",
        "/offers?limit=0",
        Value::Null,
        400,
        "limit: is not between 1 and 1000",
    );
    check(
        "GET",
        "/offers?limits=1",
        Value::Null,
        400,
        "limits: there is no such parameter",
    );
    check(
        "GET",
        "/partners?protocol=server",
        Value::Null,
        400,
        "protocol: there is no such parameter",
    );
    check(
        "GET",
        "/conversions?offer_id=0",
        Value::Null,
        400,
        "offer_id: is not between",
    );
    check("GET", "/conversions?cursor=x", Value::Null, 400, "cursor");
    check(
        "GET",
        "/reports?group_by=colour",
        Value::Null,
        400,
        "group_by: is none of",
    );
    check("DELETE", "/conversions", Value::Null, 405, "GET");
    check("GET", "/nothing", Value::Null, 404, "no such resource");
    check(
        "POST",
        "/test-postback",
        json!({"url": "/x"}),
        422,
        "url: has neither",
    );
    let long = "x".repeat(256 * 1024 + 1);
    assert_eq!(runtime.api("POST", "/api/v1/offers", &long).status, 413);
}

#[test]
fn a_change_needs_the_version_that_was_read() {
    let runtime = Runtime::start();
    let read = api(&runtime, "GET", "/partners/2", &Value::Null);
    let tag = read.header("ETag").expect("a tag").to_owned();
    let change = |tag: &str, name: &str| {
        let authorization = format!("Bearer {}", support::ADMIN_TOKEN);
        let headers = [("Authorization", authorization.as_str()), ("If-Match", tag)];
        runtime.request(
            "PATCH",
            "/api/v1/partners/2",
            &headers,
            &json!({"name": name}).to_string(),
        )
    };
    let changed = change(&tag, "First");
    assert_eq!(
        (changed.status, changed.json()["name"].as_str()),
        (200, Some("First"))
    );
    assert_eq!(change(&tag, "Second").status, 412);
    assert_eq!(change("W/\"2\"", "Second").status, 412);
    assert_eq!(change("\"9\", \"2\"", "Second").status, 200);
    assert_eq!(change("*", "Third").status, 200);
}

#[test]
fn a_post_under_a_key_is_done_once() {
    let runtime = empty();
    let post = |body: &Value| {
        let authorization = format!("Bearer {}", support::ADMIN_TOKEN);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Idempotency-Key", "k-1"),
        ];
        runtime.request("POST", "/api/v1/partners", &headers, &body.to_string())
    };
    let first = post(&json!({"name": "Publisher"}));
    let again = post(&json!({"name": "Publisher"}));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(post(&json!({"name": "Other"})).status, 400);
    let all = api(&runtime, "GET", "/partners", &Value::Null).json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

#[test]
fn tokens_are_made_applied_and_handed_out() {
    let runtime = Runtime::start();
    let made = api(&runtime, "POST", "/advertisers/1/token", &Value::Null).json();
    let token = made["next_security_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert_eq!(token.len(), 32);
    let id = click(&runtime, "offer_id=3&aff_id=2");
    let with = |token: &str| {
        runtime
            .get(&format!(
                "/aff_lsr?transaction_id={id}&security_token={token}"
            ))
            .body
    };
    assert_eq!(
        with(&token),
        "success=false; err_msg=Invalid advertiser security token;"
    );
    let applied = api(&runtime, "POST", "/advertisers/1/token/apply", &Value::Null).json();
    assert_eq!(applied["security_token"], token.as_str());
    assert_eq!(applied["published"], true);
    assert_eq!(with(&token), "success=true;");
    let url = api(&runtime, "GET", "/offers/3/postback-url", &Value::Null).json();
    assert!(
        url["url"]
            .as_str()
            .is_some_and(|url| url.ends_with(&format!("&security_token={token}"))),
        "{url}"
    );
    let trail = api(&runtime, "GET", "/audit?kind=advertiser", &Value::Null).body;
    assert!(
        trail.contains("apply_token") && !trail.contains(&token),
        "{trail}"
    );
}

#[test]
fn private_offers_blocked_partners_and_link_versions() {
    let runtime = Runtime::start();
    let follow = |query: &str| runtime.get(&format!("/aff_c?{query}")).status;
    assert_eq!(
        api(&runtime, "PATCH", "/offers/1", &json!({"private": true})).status,
        200
    );
    assert_eq!(follow("offer_id=1&aff_id=2"), 403);
    assert_eq!(
        api(&runtime, "PUT", "/offers/1/partners/2", &Value::Null).json()["partners"],
        json!([2])
    );
    assert_eq!(follow("offer_id=1&aff_id=2"), 302);
    assert_eq!(
        api(&runtime, "DELETE", "/offers/1/partners/2", &Value::Null).json()["partners"],
        json!([])
    );
    assert_eq!(follow("offer_id=1&aff_id=2"), 403);
    api(
        &runtime,
        "PATCH",
        "/offers/1",
        &json!({"private": false, "fallback_url": "https://shop.example/closed"}),
    );
    api(
        &runtime,
        "PATCH",
        "/partners/2",
        &json!({"status": "blocked"}),
    );
    let blocked = runtime.get("/aff_c?offer_id=1&aff_id=2");
    assert_eq!(
        blocked.header("Location"),
        Some("https://shop.example/closed")
    );
    api(
        &runtime,
        "PATCH",
        "/partners/2",
        &json!({"status": "active"}),
    );
    let changed = api(
        &runtime,
        "PATCH",
        "/offers/9",
        &json!({"protocol": "server_affiliate"}),
    )
    .json();
    assert_eq!(changed["link_version"], 2);
    assert_eq!(follow("offer_id=9&aff_id=2"), 410);
    let link = api(
        &runtime,
        "GET",
        "/offers/9/tracking-link?partner_id=2&aff_sub=a%26b",
        &Value::Null,
    )
    .json();
    let link = link["url"].as_str().expect("a link").to_owned();
    assert!(
        link.ends_with("/aff_c?offer_id=9&aff_id=2&lv=2&aff_sub=a%26b"),
        "{link}"
    );
    assert_eq!(follow(link.split_once("/aff_c?").expect("a query").1), 302);
}

#[test]
fn a_warm_isolate_sees_a_change_within_the_life_of_its_copies() {
    let mut runtime = Options::default()
        .with("DOCUMENT_FRESH_SECONDS", "1")
        .start();
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=2").status, 302);
    api(&runtime, "PATCH", "/offers/1", &json!({"status": "paused"}));
    // Another isolate would have its own copies, which age.
    let closed = (0..100).any(|_| {
        thread::sleep(WAIT);
        runtime.get("/aff_c?offer_id=1&aff_id=2").status == 410
    });
    assert!(closed);
    runtime.restart();
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=2").status, 410);
    assert_eq!(
        api(&runtime, "GET", "/offers/1", &Value::Null).json()["status"],
        "paused"
    );
}

#[test]
fn what_kv_does_not_take_is_published_later() {
    let runtime = Options::default().lagging().without_network().start();
    runtime.set_kv(r#"{"failWrites": true}"#);
    let created = api(&runtime, "POST", "/partners", &json!({"name": "Publisher"}));
    assert_eq!(
        (created.status, &created.json()["published"]),
        (201, &json!(false))
    );
    runtime.set_kv("{}");
    eventually(&runtime, "/partners/1", |partner| {
        partner["published"] == true
    });
}

#[test]
fn pending_conversions_are_decided() {
    let runtime = Runtime::start();
    api(&runtime, "PATCH", "/offers/1", &json!({"approval": true}));
    let id = click(&runtime, "offer_id=1&aff_id=2");
    runtime.get(&format!("/aff_lsr?transaction_id={id}&amount=10"));
    let pending = api(&runtime, "GET", "/conversions?status=pending", &Value::Null).json();
    let name = pending["items"][0]["id"]
        .as_str()
        .expect("an ID")
        .to_owned();
    let decide = |status: &str| {
        api(
            &runtime,
            "PATCH",
            &format!("/conversions/{name}"),
            &json!({"status": status}),
        )
    };
    assert_eq!(decide("pending").status, 422);
    assert_eq!(decide("approved").json()["status"], "approved");
    assert_eq!(decide("approved").status, 200);
    assert_eq!(decide("rejected").status, 409);
    let read = api(
        &runtime,
        "GET",
        &format!("/conversions/{name}"),
        &Value::Null,
    )
    .json();
    assert_eq!(
        (&read["status"], &read["payout"]),
        (&json!("approved"), &json!("1.50"))
    );
    let report = api(&runtime, "GET", "/reports", &Value::Null).json();
    assert_eq!(
        (&report["totals"]["approved"], &report["totals"]["pending"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        api(&runtime, "GET", "/conversions/1-5", &Value::Null).status,
        404
    );
}

#[test]
fn conversions_of_all_offers_are_listed_and_exported() {
    let runtime = Runtime::start();
    for n in 0..7 {
        let offer = [1, 8, 9][n % 3];
        let id = click(
            &runtime,
            &format!("offer_id={offer}&aff_id=2&aff_sub=%3Dx{n}"),
        );
        assert_eq!(
            runtime
                .get(&format!("/aff_lsr?transaction_id={id}&amount={n}"))
                .body,
            "success=true;"
        );
    }
    let mut amounts = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api(
            &runtime,
            "GET",
            &format!("/conversions?limit=2{cursor}"),
            &Value::Null,
        )
        .json();
        let items = page["items"].as_array().expect("a list");
        amounts.extend(
            items
                .iter()
                .map(|item| item["amount"].as_str().expect("an amount").to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        amounts,
        ["6.00", "5.00", "4.00", "3.00", "2.00", "1.00", "0.00"]
    );
    let count = |query: &str| {
        let page = api(
            &runtime,
            "GET",
            &format!("/conversions?{query}"),
            &Value::Null,
        )
        .json();
        page["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count("offer_id=1"), 3);
    assert_eq!(count("advertiser_id=1&partner_id=2"), 7);
    assert_eq!(count("partner_id=3"), 0);
    assert_eq!(count("status=rejected"), 0);
    assert_eq!(
        count("from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z"),
        0
    );

    let authorization = format!("Bearer {}", support::ADMIN_TOKEN);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Accept", "text/csv"),
    ];
    let csv = runtime.request("GET", "/api/v1/conversions", &headers, "");
    assert_eq!(csv.header("Content-Type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.body.lines().count(), 8);
    assert!(
        csv.body.starts_with("id,offer_id,partner_id,"),
        "{}",
        csv.body
    );
}

#[test]
fn a_report_counts_clicks_and_conversions() {
    let runtime = Runtime::start();
    for n in 0..6 {
        let source = if n < 4 { "a" } else { "" };
        let id = click(&runtime, &format!("offer_id=1&aff_id=2&source={source}"));
        if n == 0 {
            runtime.get(&format!("/aff_lsr?transaction_id={id}&amount=20"));
        }
    }
    click(&runtime, "offer_id=8&aff_id=2");
    let report = eventually(&runtime, "/reports?group_by=offer,source", |report| {
        report["totals"]["clicks"] == 7
    });
    let rows = report["rows"].as_array().expect("rows");
    let row = |offer: &str, source: Value| {
        let group = json!({"offer": offer, "source": source});
        rows.iter()
            .find(|row| row["group"] == group)
            .unwrap_or_else(|| panic!("{report}"))
    };
    assert_eq!(rows.len(), 3);
    assert_eq!(row("8", Value::Null)["clicks"], 1);
    assert_eq!(row("1", json!("a"))["clicks"], 4);
    assert_eq!(row("1", Value::Null)["clicks"], 2);
    assert_eq!(report["totals"]["approved"], 1);
    assert_eq!(report["totals"]["payout"], json!({"USD": "1.50"}));
    assert_eq!(report["totals"]["revenue"], json!({"USD": "2.00"}));
    let by_day = api(
        &runtime,
        "GET",
        "/reports?group_by=day,hour,partner,country,goal",
        &Value::Null,
    )
    .json();
    assert_eq!(by_day["totals"]["clicks"], 7);
    assert_eq!(by_day["rows"][0]["group"]["goal"], Value::Null);
}

#[test]
fn why_did_my_conversion_not_count() {
    let runtime = Runtime::start();
    let has = |postback: &Value, problem: &str| {
        let findings = postback["findings"].as_array().expect("findings");
        findings.iter().any(|finding| finding["problem"] == problem)
    };
    // What names an ID of this network is traced by it.
    let id = click(&runtime, "offer_id=1&aff_id=2&aff_sub=s");
    runtime.get(&format!("/aff_lsr?transaction_id={id}&amount=AMOUNT"));
    runtime.get(&format!("/aff_lsr?transaction_id={id}&amonut=5"));
    runtime.get(&format!("/aff_lsr?transaction_id={id}"));
    let trace = eventually(&runtime, &format!("/transactions/{id}"), |trace| {
        trace["postbacks"]
            .as_array()
            .is_some_and(|postbacks| postbacks.len() == 3)
            && trace["click"]["session"]["sub_ids"]["aff_sub"] == "s"
    });
    assert_eq!(trace["genuine"], true);
    assert_eq!(trace["click"]["offer_id"], 1);
    let of = |answer: &str| {
        let postbacks = trace["postbacks"].as_array().expect("postbacks");
        let found = postbacks
            .iter()
            .find(|postback| postback["answer"] == answer);
        found.unwrap_or_else(|| panic!("{answer} in {trace}"))
    };
    assert!(has(
        of("success=false; err_msg=Invalid parameter amount.;"),
        "placeholder_not_filled"
    ));
    assert!(has(of("success=true;"), "unknown_parameter"));
    assert!(has(
        of("success=false; err_msg=Duplicate conversion;"),
        "duplicate"
    ));
    assert_eq!(trace["conversions"].as_array().map(Vec::len), Some(2));

    // An address and a token that do not match.
    let id = click(&runtime, "offer_id=2&aff_id=2");
    runtime.get(&format!("/aff_lsr?transaction_id={id}"));
    let trace = eventually(&runtime, &format!("/transactions/{id}"), |trace| {
        !trace["postbacks"][0].is_null()
    });
    assert!(has(&trace["postbacks"][0], "address_not_whitelisted"));
    assert!(trace.to_string().contains("came from 127.0.0.1"));
    let id = click(&runtime, "offer_id=3&aff_id=2");
    runtime.get(&format!(
        "/aff_lsr?transaction_id={id}&security_token=very-secret"
    ));
    let log = eventually(&runtime, "/offers/3/postbacks", |log| {
        !log["items"][0].is_null()
    });
    assert!(has(&log["items"][0], "security_token_wrong"));
    assert!(!log.to_string().contains("very-secret"), "{log}");

    // What proves no offer stands in a list of its own, and with the offer that it names.
    let cut_off = &id[..27];
    runtime.get(&format!("/aff_lsr?transaction_id={cut_off}&offer_id=9"));
    runtime.get("/aff_lsr?transaction_id=%7Bclickid%7D");
    let trace = eventually(&runtime, &format!("/transactions/{cut_off}"), |trace| {
        !trace["postbacks"][0].is_null()
    });
    assert_eq!(
        (&trace["genuine"], &trace["finding"]["problem"]),
        (&json!(false), &json!("transaction_id_cut_off"))
    );
    assert!(has(&trace["postbacks"][0], "transaction_id_cut_off"));
    let log = eventually(&runtime, "/offers/9/postbacks", |log| {
        !log["items"][0].is_null()
    });
    assert!(has(&log["items"][0], "transaction_id_cut_off"));
    let log = eventually(&runtime, "/postbacks", |log| {
        log["items"]
            .as_array()
            .is_some_and(|items| items.len() == 2)
    });
    assert!(has(&log["items"][0], "placeholder_not_filled"));
}

#[test]
fn forged_postbacks_cannot_fill_the_log() {
    let runtime = Runtime::start();
    for n in 0..60 {
        runtime.get(&format!("/aff_lsr?transaction_id=x{n}"));
    }
    thread::sleep(Duration::from_secs(1));
    let log = api(&runtime, "GET", "/postbacks?limit=1000", &Value::Null).json();
    let logged = log["items"].as_array().map_or(0, Vec::len);
    assert!((1..=40).contains(&logged), "{logged}");
}

#[test]
fn a_postback_is_tried_without_recording_anything() {
    let runtime = Runtime::start();
    let id = click(&runtime, "offer_id=2&aff_id=2");
    let test = |body: Value| api(&runtime, "POST", "/test-postback", &body).json();
    let url = format!("https://t.example/aff_lsr?transaction_id={id}&amount=x");
    let failed = test(json!({"url": url, "sender_ip": "192.0.2.1"}));
    assert_eq!(failed["accepted"], false);
    assert_eq!(
        failed["answer"],
        "success=false; err_msg=IP address not whitelisted;"
    );
    let faults: Vec<&str> = failed["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["passed"] == false)
        .filter_map(|check| check["check"].as_str())
        .collect();
    assert_eq!(faults, ["whitelist", "parameters"]);
    let url = format!("/aff_lsr?transaction_id={id}");
    let passed = test(json!({"url": url, "sender_ip": "203.0.113.7"}));
    assert_eq!(
        (&passed["accepted"], &passed["answer"]),
        (&json!(true), &json!("success=true;"))
    );
    let late = test(
        json!({"url": url, "sender_ip": "203.0.113.7", "received_at": "2059-01-01T00:00:00Z"}),
    );
    assert_eq!(late["findings"][0]["problem"], "click_too_old");
    assert_eq!(
        test(json!({"url": "/aff_lsr?transaction_id=x"}))["checks"][0]["passed"],
        false
    );
    assert!(runtime.conversions(2, false).is_empty() && runtime.conversions(2, true).is_empty());
    let id = click(&runtime, "offer_id=1&aff_id=2");
    runtime.get(&format!("/aff_lsr?transaction_id={id}"));
    let repeated = test(json!({"url": format!("/aff_lsr?transaction_id={id}")}));
    assert_eq!(
        repeated["answer"],
        "success=false; err_msg=Duplicate conversion;"
    );
}

#[test]
fn no_secret_is_logged_or_shown() {
    let runtime = Runtime::start();
    runtime.api("GET", "/api/v1/conversions?offer_id=1", "");
    runtime.get("/aff_lsr?transaction_id=x&security_token=7ab20d21771b1e81bc5bae84cc89b913");
    let log = runtime.log();
    for secret in [
        support::ADMIN_TOKEN,
        &support::TRANSACTION_KEYS[2..],
        "7ab20d21771b1e81bc5bae84cc89b913",
    ] {
        assert!(!log.contains(secret), "{log}");
    }
}
