//! The README's tour, its commands as they stand, against the worker with nothing in its catalog.

mod support;

use std::process::Command;

use support::Options;

const README: &str = include_str!("../README.md");

#[test]
fn the_tour_of_the_readme_works() {
    let runtime = Options::default().without_network().start();
    let (_, tour) = README.split_once("## A tour with curl").expect("the tour");
    let (tour, _) = tour.split_once("### The demo network").expect("its end");
    let commands: Vec<&str> = tour
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let vars = format!("ADMIN_TOKEN={}\n", support::ADMIN_TOKEN);
    std::fs::write(folder.path().join(".dev.vars"), vars).expect("written");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.join("\n")])
        .current_dir(folder.path())
        .env("WORKER", runtime.url())
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complained}");

    // What the comments promise: a quoted text, or the answer to a postback.
    let comments = commands.iter().flat_map(|block| block.lines());
    let comments: Vec<&str> = comments
        .filter_map(|line| line.split_once("# "))
        .map(|(_, comment)| comment)
        .collect();
    let promised = comments.iter().flat_map(|comment| {
        let quoted = comment.split('"').skip(1).step_by(2);
        quoted.chain(comment.starts_with("success=").then_some(*comment))
    });
    let promised: Vec<&str> = promised.collect();
    assert_eq!(promised.len(), 9, "{promised:?}");
    for text in promised {
        assert!(said.contains(text), "{text} is not in\n{said}");
    }
    for shown in [
        "\"clicks\":",
        "\"approved\":1",
        "\"genuine\":true",
        "HTTP/1.1 302",
        "TRANSACTION_ID&amount=AMOUNT",
    ] {
        assert!(said.contains(shown), "{shown} is not in\n{said}");
    }
    assert!(!said.contains("about:blank"), "{said}");
}
