//! An offer that is accepted is written so that it can be read again, and says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark::json;
use tidemark::tracking::offer::Offer;

fuzz_target!(|text: &str| {
    match json::read::<Offer>(text) {
        Ok(offer) => {
            let written = json::write(&offer);
            assert_eq!(
                json::write(&json::read::<Offer>(&written).unwrap()),
                written
            );
        }
        Err(error) => assert!(!error.reason.is_empty()),
    }
});
