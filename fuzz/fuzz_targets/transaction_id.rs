//! What is accepted as a transaction ID was minted: minting its fields again gives the same text.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidemark::tracking::transaction_id::{Keyring, Unverified};

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(&format!("1:{}", "07".repeat(32))).unwrap());

fuzz_target!(|text: &str| {
    Unverified::read(text);
    let _ = Keyring::parse(text);
    if let Ok(id) = KEYRING.verify(text) {
        let minted = KEYRING.mint(id.offer, id.partner, id.page, id.position);
        assert_eq!(minted.as_str(), text.trim().to_ascii_lowercase());
    }
});
