//! The management API in the runtime.

mod support;

use support::{Options, Runtime};

const DEMO: &str = include_str!("../demo/network.json");

#[test]
fn only_the_token_opens_it() {
    let runtime = Runtime::start();
    let check = |authorization: &str, expected: u16| {
        let headers = [("Authorization", authorization)];
        for (method, path) in [
            ("PUT", "/api/v1/network"),
            ("GET", "/api/v1/conversions?offer_id=1"),
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
            "PUT",
            "/api/v1/network",
            &[("Authorization", authorization)],
            DEMO,
        );
        assert_eq!(answer.status, 500);
        assert_eq!(
            answer.json()["detail"],
            "The setting ADMIN_TOKEN is missing."
        );
    }
}

#[test]
fn a_network_is_judged_before_anything_of_it_is_published() {
    let runtime = Options::default().without_network().start();
    let wrong = DEMO.replacen("\"percent\": \"10\"", "\"percent\": \"110\"", 1);
    let answer = runtime.api("PUT", "/api/v1/network", &wrong);
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(
        detail.starts_with("offers[0].revenue: is not a percentage from 0 to 100"),
        "{detail}"
    );
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=2").status, 404);

    let answer = runtime.api("PUT", "/api/v1/network", DEMO);
    assert_eq!(answer.status, 200);
    let published = answer.json();
    assert_eq!(published["published"][0], "partner:2");
    assert_eq!(published["published"].as_array().map(Vec::len), Some(13));
    assert_eq!(runtime.get("/aff_c?offer_id=1&aff_id=2").status, 302);
}

#[test]
fn says_what_is_wrong_with_a_request() {
    let runtime = Runtime::start();
    let check = |method: &str, path: &str, body: &str, status: u16, detail: &str| {
        let answer = runtime.api(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.contains(detail)),
            "{problem}"
        );
    };
    check("PUT", "/api/v1/network", "", 422, "EOF");
    check("PUT", "/api/v1/network", "[]", 422, "");
    check(
        "PUT",
        "/api/v1/network",
        &" ".repeat(1024 * 1024 + 1),
        413,
        "longer",
    );
    check("GET", "/api/v1/network", "", 405, "PUT");
    check("GET", "/api/v1/conversions", "", 400, "offer_id");
    check("GET", "/api/v1/conversions?offer_id=x", "", 400, "offer_id");
    check(
        "GET",
        "/api/v1/conversions?offer_id=1&limit=0",
        "",
        400,
        "limit",
    );
    check(
        "GET",
        "/api/v1/conversions?offer_id=1&limit=1001",
        "",
        400,
        "limit",
    );
    check("DELETE", "/api/v1/conversions?offer_id=1", "", 405, "GET");
    check("GET", "/api/v1/nothing", "", 404, "no such resource");
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
