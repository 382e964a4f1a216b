//! A whitelist entry that is accepted keeps its text, and never matches the other family of addresses.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use tidemark::tracking::whitelist::WhitelistEntry;

fuzz_target!(|input: (&str, u128, u32)| {
    let (text, v6, v4) = input;
    let Ok(entry) = text.parse::<WhitelistEntry>() else {
        return;
    };
    let written = String::from(entry.clone());
    assert_eq!(written, text.trim());
    assert_eq!(written.parse(), Ok(entry.clone()));
    let (v4, v6) = (IpAddr::V4(v4.into()), IpAddr::V6(v6.into()));
    assert!(!(entry.contains(v4) && entry.contains(v6)) || v6.to_canonical().is_ipv4());
    if let Ok(address) = written.parse::<IpAddr>() {
        assert!(entry.contains(address));
    }
});
