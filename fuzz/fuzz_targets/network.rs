//! A network that is accepted gives documents that the edge can read, and that say the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark::catalog::Network;
use tidemark::json;
use tidemark::tracking::offer::OfferDocument;
use tidemark::tracking::partner::Partner;

fuzz_target!(|text: &str| {
    let documents = match Network::parse(text).and_then(|network| network.documents()) {
        Ok(documents) => documents,
        Err(error) => {
            assert!(!error.reason.is_empty());
            return;
        }
    };
    for document in documents {
        let again = if document.key.starts_with("offer:") {
            json::write(&json::read::<OfferDocument>(&document.value).unwrap())
        } else {
            json::write(&json::read::<Partner>(&document.value).unwrap())
        };
        assert_eq!(again, document.value);
    }
});
