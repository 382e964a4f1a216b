//! The twin of the bench answers as Tidemark does, to the byte, so that nobody can call it a straw man.

mod support;

use support::{Options, Response};

/// What there is to compare, with the transaction ID taken out.
fn essence(answer: &Response, id: &str) -> String {
    let headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
        .collect();
    let mut headers = headers.join("\n");
    if !id.is_empty() {
        headers = headers.replace(id, "ID");
    }
    format!("{}\n{headers}\n{}", answer.status, answer.body)
}

/// The value of `session_id` in the redirect.
fn id_in(answer: &Response) -> String {
    let location = answer.header("Location").expect("a location");
    let (_, rest) = location.split_once("session_id=").expect("an ID");
    rest.split('&').next().unwrap_or_default().to_owned()
}

#[test]
fn the_twin_answers_as_tidemark_does() {
    let tidemark = Options::default().beside_its_twin().start();
    let click = |answer: &Response| {
        let id = id_in(answer);
        (essence(answer, &id), id)
    };
    let mut ids = Vec::new();
    for query in [
        "aff_sub=109581A&source=awesomepub",
        "aff_sub=a%26b+%C3%A9%27()*!&source=",
        "",
    ] {
        let path = format!("/aff_c?offer_id=1&aff_id=2&{query}");
        // The first of each may read from KV.
        tidemark.get(&path);
        let (ours, id) = click(&tidemark.get(&path));
        let (its, its_id) = click(&tidemark.get_twin(&path));
        assert_eq!(ours, its);
        ids.push((id, its_id));
    }
    for (id, its_id) in ids {
        for query in ["&amount=20", "&amount=20", "&amount=x"] {
            // An ID of the one is good for the other: they have the same keys.
            let ours = tidemark.get(&format!("/aff_lsr?transaction_id={its_id}{query}"));
            let its = tidemark.get_twin(&format!("/aff_lsr?transaction_id={id}{query}"));
            assert_eq!(essence(&ours, ""), essence(&its, ""));
        }
    }
    let forged = "/aff_lsr?transaction_id=11xpc40000100000k5b7qj0aw9zh3m&amount=20";
    assert_eq!(
        essence(&tidemark.get(forged), ""),
        essence(&tidemark.get_twin(forged), "")
    );
}
