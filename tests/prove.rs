//! The promises of exactly once and nothing lost, proved by breaking things in the runtime.
//!
//! Each test has a full size, which `npm run prove` runs. `npm test` runs a small part of it; the variable
//! `TIDEMARK_PROVE` says how many percent.

mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use support::{Options, Runtime};
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};

const ACCEPTED: &str = "success=true;";
const DUPLICATE: &str = "success=false; err_msg=Duplicate conversion;";
const DUPLICATE_BY_UNIQUE_ID: &str = "success=false; err_msg=Duplicate conversion by unique ID;";

/// How long a sender waits before it sends again.
const SEND_AGAIN: Duration = Duration::from_millis(20);

/// The part of a full size that this run has.
fn scaled(full: usize) -> usize {
    let percent = std::env::var("TIDEMARK_PROVE").map_or(2, |percent| {
        percent.parse().expect("TIDEMARK_PROVE is a percentage")
    });
    (full * percent).div_ceil(100)
}

/// Transaction IDs of clicks of partner 2 on an offer, which no runtime has recorded.
fn mint(offer: u32, count: usize) -> Vec<String> {
    let keyring = Keyring::parse(support::TRANSACTION_KEYS).expect("keys");
    let time = ClickTime::from_utc(SystemTime::now().into());
    let (offer, partner) = (
        offer.try_into().expect("offer"),
        2.try_into().expect("partner"),
    );
    (0..count)
        .map(|n| {
            let page = PageName::new(time, u32::try_from(n).expect("a page number"));
            keyring.mint(offer, partner, page, 0).to_string()
        })
        .collect()
}

/// A network of plain offers with these IDs, which have `unique_id` or not.
fn network(offers: Range<u32>, unique_id: bool) -> String {
    let offers: Vec<Value> = offers
        .map(|id| {
            json!({
                "id": id, "name": format!("Offer {id}"), "advertiser_id": 1, "status": "active",
                "protocol": "server", "offer_url": "https://shop.example/?t={transaction_id}",
                "currency": "USD", "unique_id": unique_id,
            })
        })
        .collect();
    json!({
        "advertisers": [{"id": 1, "name": "Shop"}],
        "partners": [{"id": 2, "name": "Publisher", "status": "active"}],
        "offers": offers,
    })
    .to_string()
}

fn conversions(runtime: &Runtime, offer: u32) -> Vec<Value> {
    runtime.conversions(offer, false)
}

/// Sends until the answer says that the postback was processed.
fn send_until_processed(runtime: &RwLock<Runtime>, path: &str) -> String {
    loop {
        let answer = runtime
            .read()
            .expect("a runtime")
            .try_request("GET", path, &[], "");
        match answer {
            Ok(answer) if answer.status == 200 => return answer.body,
            Ok(answer) => assert_eq!(answer.status, 503, "{path}: {}", answer.body),
            // The runtime was killed.
            Err(_) => {}
        }
        thread::sleep(SEND_AGAIN);
    }
}

/// Sends each path from 32 connections, and kills the runtime `kills` times meanwhile. Gives the answers, by path.
fn send_through_crashes(
    runtime: &RwLock<Runtime>,
    paths: &[String],
    kills: usize,
) -> HashMap<String, Vec<String>> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let answers = Mutex::new(HashMap::<String, Vec<String>>::new());
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = send_until_processed(runtime, path);
                    let mut answers = answers.lock().expect("answers");
                    answers.entry(path.clone()).or_default().push(answer);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 0..kills {
            // Spread over the whole stream, at moments that nobody has chosen.
            while done.load(Ordering::Relaxed) < paths.len() * kill / kills {
                thread::sleep(Duration::from_millis(1));
            }
            let nanos = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |now| now.subsec_nanos());
            thread::sleep(Duration::from_millis(u64::from(nanos / 1000 % 40)));
            runtime.read().expect("a runtime").kill();
            runtime.write().expect("a runtime").restart();
        }
    });
    answers.into_inner().expect("answers")
}

/// The first 10 % of the paths once more, at the end.
fn with_repeats(mut paths: Vec<String>) -> Vec<String> {
    paths.extend_from_within(..paths.len() / 10);
    paths
}

/// A conversion that was answered `success=true;` is never lost, and none is counted twice, however often the machine
/// crashes.
#[test]
fn crashes_lose_and_double_nothing() {
    let (postbacks, kills) = (scaled(2_000), scaled(12).max(2));
    let runtime = RwLock::new(Runtime::start());
    let ids = mint(1, postbacks);
    let path = |(n, id)| format!("/aff_lsr?transaction_id={id}&amount={n}.25");
    let paths = with_repeats(ids.iter().enumerate().map(path).collect());
    let answers = send_through_crashes(&runtime, &paths, kills);

    let runtime = runtime.into_inner().expect("a runtime");
    let mut recorded: HashMap<String, Vec<String>> = HashMap::new();
    for row in conversions(&runtime, 1) {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let id = text(&row["click"]["transaction_id"]);
        recorded.entry(id).or_default().push(text(&row["amount"]));
    }
    let mut accepted = 0;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(recorded.remove(id), Some(vec![format!("{n}.25")]), "{id}");
        let answers = &answers[&path((n, id))];
        let successes = answers.iter().filter(|answer| *answer == ACCEPTED).count();
        assert!(successes <= 1, "{id}: {answers:?}");
        assert!(
            answers
                .iter()
                .all(|answer| answer == ACCEPTED || answer == DUPLICATE),
            "{answers:?}"
        );
        accepted += successes;
    }
    assert!(recorded.is_empty(), "nobody sent {recorded:?}");
    println!(
        "crash: {} postbacks, {kills} kills survived, {postbacks} conversions, {accepted} answered as accepted, \
         0 lost, 0 doubled",
        paths.len()
    );
}

/// The same where two offers want each unique ID, so that crashes hit the protocol between registry and ledgers.
#[test]
fn crashes_leave_unique_ids_unique() {
    const OFFERS: Range<u32> = 1..9;
    let (postbacks, kills) = (scaled(1_000), scaled(12).max(2));
    let runtime = RwLock::new(
        Options::default()
            .with_network(network(OFFERS, true))
            .start(),
    );
    let ids: Vec<Vec<String>> = OFFERS.map(|offer| mint(offer, postbacks)).collect();
    let offers_of = |n: usize| [n % 8, (n + 1 + n / 8 % 7) % 8];
    let paths = (0..postbacks)
        .flat_map(|n| offers_of(n).map(|offer| (n, &ids[offer][n])))
        .map(|(n, id)| format!("/aff_lsr?transaction_id={id}&conversion_unique_id=order-{n}"))
        .collect();
    let paths = with_repeats(paths);
    let answers = send_through_crashes(&runtime, &paths, kills);

    let runtime = runtime.into_inner().expect("a runtime");
    let mut recorded = HashMap::new();
    for row in OFFERS.flat_map(|offer| conversions(&runtime, offer)) {
        let unique_id = row["conversion_unique_id"]
            .as_str()
            .expect("an ID")
            .to_owned();
        *recorded.entry(unique_id).or_insert(0) += 1;
    }
    for n in 0..postbacks {
        assert_eq!(recorded.get(&format!("order-{n}")), Some(&1), "order-{n}");
    }
    let mut successes = HashMap::new();
    for (path, answers) in &answers {
        let unique_id = path.rsplit('=').next().unwrap_or_default();
        for answer in answers {
            assert!(
                [ACCEPTED, DUPLICATE_BY_UNIQUE_ID].contains(&answer.as_str()),
                "{answer}"
            );
            *successes.entry(unique_id).or_insert(0) += usize::from(answer == ACCEPTED);
        }
    }
    assert!(successes.values().all(|successes| *successes <= 1));
    println!(
        "crash by unique ID: {} postbacks, {kills} kills survived, {postbacks} unique IDs, {} answered as accepted, \
         0 lost, 0 doubled",
        paths.len(),
        successes.values().sum::<usize>()
    );
}

/// Fires `paths(id, sender)` from 64 senders at the same moment, for one ID after the other, and gives for each ID how
/// many were accepted.
fn race(
    runtime: &RwLock<Runtime>,
    ids: usize,
    path: impl Fn(usize, usize) -> String + Sync,
) -> Vec<usize> {
    let accepted: Vec<AtomicUsize> = (0..ids).map(|_| AtomicUsize::new(0)).collect();
    let barrier = Barrier::new(64);
    thread::scope(|scope| {
        for sender in 0..64 {
            let (accepted, barrier, path) = (&accepted, &barrier, &path);
            scope.spawn(move || {
                for (id, accepted) in accepted.iter().enumerate() {
                    let path = path(id, sender);
                    barrier.wait();
                    if send_until_processed(runtime, &path) == ACCEPTED {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    accepted.into_iter().map(AtomicUsize::into_inner).collect()
}

/// Of any number of postbacks for one transaction at the same moment, exactly one is accepted.
#[test]
fn of_racing_postbacks_one_is_accepted() {
    let ids = mint(1, scaled(200));
    let runtime = RwLock::new(Runtime::start());
    let accepted = race(&runtime, ids.len(), |id, _| {
        format!("/aff_lsr?transaction_id={}", ids[id])
    });
    assert!(
        accepted.iter().all(|accepted| *accepted == 1),
        "{accepted:?}"
    );
    println!(
        "race: {} IDs, 64 senders each, {} accepted",
        ids.len(),
        ids.len()
    );
}

/// The same for one unique ID at eight offers.
#[test]
fn of_racing_offers_one_gets_the_unique_id() {
    const OFFERS: Range<u32> = 1..9;
    let count = scaled(200);
    let ids: Vec<Vec<String>> = OFFERS.map(|offer| mint(offer, count * 8)).collect();
    let runtime = RwLock::new(
        Options::default()
            .with_network(network(OFFERS, true))
            .start(),
    );
    let accepted = race(&runtime, count, |id, sender| {
        let transaction_id = &ids[sender % 8][id * 8 + sender / 8];
        format!("/aff_lsr?transaction_id={transaction_id}&conversion_unique_id=order-{id}")
    });
    assert!(
        accepted.iter().all(|accepted| *accepted == 1),
        "{accepted:?}"
    );
    println!("race by unique ID: {count} IDs, 8 senders at each of 8 offers, {count} accepted");
}

/// Postbacks that come while a call to their ledger is under way go together with the next. Should the client hang up
/// whose request makes that call, nobody else notices.
#[test]
fn who_hangs_up_takes_nobody_with_him() {
    let far = Duration::from_millis(500);
    let runtime = Options::default()
        .lagging()
        .with("LEDGER_WAIT", &far.as_millis().to_string())
        .start();
    let ids = mint(1, 10);
    let path = |id: &String| format!("/aff_lsr?transaction_id={id}");
    let [first, gone, others @ ..] = ids.as_slice() else {
        panic!("ten IDs");
    };
    // Both documents are read and the ledger is opened.
    converts_once(&runtime, &redirects_at_once(&runtime, 1));
    thread::scope(|scope| {
        let runtime = &runtime;
        let patient = |id: &String| {
            let path = path(id);
            scope.spawn(move || assert_eq!(runtime.get(&path).body, ACCEPTED, "{path}"))
        };
        let started = Instant::now();
        // Each within the half second of the first one's call.
        let mut senders = vec![patient(first)];
        thread::sleep(far / 10);
        senders.push(scope.spawn(|| runtime.hang_up(&path(gone), far / 5)));
        thread::sleep(far / 10);
        senders.extend(others.iter().map(patient));
        for sender in senders {
            sender.join().expect("an answer");
        }
        // One after the other, they would take longer.
        assert!(started.elapsed() < far * 10, "{:?}", started.elapsed());
    });
    let recorded = conversions(&runtime, 1);
    for id in &ids {
        let count = recorded
            .iter()
            .filter(|row| row["click"]["transaction_id"] == **id)
            .count();
        assert_eq!(count, 1, "{id}");
    }
    check_log(&runtime);
    let log = runtime.log();
    let calls = log
        .lines()
        .filter_map(|line| line.strip_prefix("messages: ")?.parse::<usize>().ok());
    assert!(calls.max() > Some(1), "none went together: {log}");
}

/// Clicks, and gives the transaction ID.
fn click(runtime: &Runtime, offer: u32) -> String {
    let path = format!("/aff_c?offer_id={offer}&aff_id=2&aff_sub=s&format=json");
    let answer = runtime.get(&path);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["transaction_id"]
        .as_str()
        .expect("an ID")
        .to_owned()
}

/// A postback is accepted, its repeat is not, and that takes no longer than the limits allow.
fn converts_once(runtime: &Runtime, id: &str) {
    let started = Instant::now();
    let path = format!("/aff_lsr?transaction_id={id}");
    assert_eq!(runtime.get(&path).body, ACCEPTED);
    assert_eq!(runtime.get(&path).body, DUPLICATE);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
}

/// A redirect on a warm isolate waits for nothing.
fn redirects_at_once(runtime: &Runtime, offer: u32) -> String {
    let started = Instant::now();
    let id = click(runtime, offer);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    id
}

fn session_state(runtime: &Runtime, offer: u32) -> String {
    let newest = conversions(runtime, offer);
    newest[0]["click"]["session_state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

/// What the worker says when something is out of reach. Anything else of that level would be a defect.
fn check_log(runtime: &Runtime) {
    let log = runtime.log();
    for word in [
        "panic",
        "Critical",
        "Uncaught",
        "uncaught",
        "RuntimeError",
        "never generate a response",
    ] {
        assert!(!log.contains(word), "{word}: {log}");
    }
}

/// A postback right after the click is accepted though KV shows the click later, or never; and what shows is filled in.
#[test]
fn a_lagging_kv_changes_no_answer() {
    let runtime = Options::default().lagging().start();
    runtime.set_kv(r#"{"showAfter": 2000}"#);
    converts_once(&runtime, &redirects_at_once(&runtime, 1));
    assert_eq!(session_state(&runtime, 1), "awaited");
    let deadline = Instant::now() + Duration::from_mins(1);
    while session_state(&runtime, 1) != "recorded" && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(session_state(&runtime, 1), "recorded");

    runtime.set_kv(r#"{"showAfter": null}"#);
    converts_once(&runtime, &redirects_at_once(&runtime, 9));
    check_log(&runtime);
}

/// With KV not answering, what is warm goes on, and what is cold is told to come again.
#[test]
fn a_kv_that_hangs_hangs_nothing() {
    let runtime = Options::default().lagging().start();
    redirects_at_once(&runtime, 1);
    runtime.set_kv(r#"{"wait": 30000}"#);
    converts_once(&runtime, &redirects_at_once(&runtime, 1));
    comes_again(&runtime);
    check_log(&runtime);
}

/// The same with KV failing.
#[test]
fn a_kv_that_fails_breaks_nothing() {
    let runtime = Options::default().lagging().start();
    redirects_at_once(&runtime, 1);
    runtime.set_kv(r#"{"failReads": true, "failWrites": true}"#);
    converts_once(&runtime, &redirects_at_once(&runtime, 1));
    comes_again(&runtime);
    // The tries to write the page are over after 7 seconds, and what was lost is in the log.
    thread::sleep(Duration::from_secs(9));
    assert!(
        runtime.log().contains("click_page_lost"),
        "{}",
        runtime.log()
    );
    check_log(&runtime);

    runtime.set_kv("{}");
    converts_once(&runtime, &mint(11, 1)[0]);
}

/// What needs a document that the isolate has not seen and KV does not give.
fn comes_again(runtime: &Runtime) {
    let cold_click = runtime.get("/aff_c?offer_id=4&aff_id=2");
    let cold_postback = runtime.get(&format!("/aff_lsr?transaction_id={}", mint(4, 1)[0]));
    for answer in [cold_click, cold_postback] {
        assert_eq!(
            (answer.status, answer.header("Retry-After")),
            (503, Some("5")),
            "{}",
            answer.body
        );
    }
}

/// Half a million requests of all kinds leave no error, and no memory behind.
#[test]
fn a_long_run_leaves_nothing_behind() {
    let requests = scaled(500_000);
    let warm_up = requests / 10;
    // On plain workerd, whose memory is the worker's own; its KV does what it should.
    let runtime = Options::default().lagging().start();
    let done = AtomicUsize::new(0);
    let after_warm_up = Mutex::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for sender in 0..8 {
            let (runtime, done, after_warm_up) = (&runtime, &done, &after_warm_up);
            scope.spawn(move || {
                let mut id = click(runtime, 1);
                loop {
                    let n = done.fetch_add(1, Ordering::Relaxed);
                    if n >= requests {
                        return;
                    }
                    if n == warm_up {
                        *after_warm_up.lock().expect("a number") = runtime.memory();
                    }
                    let path = match n % 20 {
                        0..12 => format!(
                            "/aff_c?offer_id={}&aff_id=2&aff_sub={n}&x={sender}",
                            [1, 2, 8, 9, 11][n % 5]
                        ),
                        12 => "/aff_c?offer_id=7&aff_id=2".to_owned(),
                        13 => format!("/aff_c?offer_id={}&aff_id=2", 100 + n % 1_000_000),
                        14 => {
                            id = click(runtime, 1);
                            format!("/aff_lsr?transaction_id={id}&amount={}.5", n % 1000)
                        }
                        15 => format!("/aff_lsr?transaction_id={id}"),
                        16 => format!("/aff_lsr?transaction_id={n:030}"),
                        17 => format!("/aff_lsr?transaction_id={id}&amount=AMOUNT"),
                        18 => format!("/nothing/{n}"),
                        _ => "/api/v1/conversions?offer_id=1&limit=10".to_owned(),
                    };
                    let answer = if path.starts_with("/api") {
                        runtime.api("GET", &path, "")
                    } else {
                        runtime.get(&path)
                    };
                    assert!(
                        answer.status < 500,
                        "{path}: {} {}",
                        answer.status,
                        answer.body
                    );
                }
            });
        }
    });
    let (before, after) = (
        after_warm_up.into_inner().expect("a number"),
        runtime.memory(),
    );
    let rate = requests
        / usize::try_from(started.elapsed().as_secs())
            .unwrap_or(1)
            .max(1);
    println!(
        "soak: {requests} requests, {rate} a second, memory {} MB after {warm_up}, {} MB at the end",
        before >> 20,
        after >> 20
    );
    let log = runtime.log();
    assert!(!log.contains("error: "), "{log}");
    // A short run shows only how the runtime warms up.
    if warm_up >= 25_000 {
        assert!(after < before * 3 / 2, "{before} bytes have become {after}");
    }
}
