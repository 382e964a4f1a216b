//! The management API against its own description: schemathesis sends it what the description allows, and what it does
//! not, and checks each answer.

mod support;

use std::process::Command;

use support::Runtime;

#[test]
#[ignore = "needs Python: run `npm run contract`"]
fn the_api_does_what_its_description_says() {
    let runtime = Runtime::start();
    let id = runtime.get("/aff_c?offer_id=1&aff_id=2&format=json").json();
    let id = id["transaction_id"].as_str().expect("an ID");
    assert_eq!(
        runtime
            .get(&format!("/aff_lsr?transaction_id={id}&amount=5"))
            .body,
        "success=true;"
    );
    // It keeps what it found in the folder where it runs.
    let folder = tempfile::tempdir().expect("a folder");
    let status = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/tools/python/bin/st"
    ))
    .args([
        "--config-file",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/schemathesis.toml"
        ),
    ])
    .args(["run", &format!("{}/api/v1/openapi.json", runtime.url())])
    .args([
        "-H",
        &format!("Authorization: Bearer {}", support::ADMIN_TOKEN),
    ])
    .current_dir(folder.path())
    .status()
    .expect("schemathesis is installed");
    assert!(status.success());
    assert!(!runtime.log().contains("error:"), "{}", runtime.log());
}
