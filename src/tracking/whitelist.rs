//! The addresses from which an advertiser may fire postbacks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most entries of a whitelist.
pub const MAX_ENTRIES: usize = 100;

/// An address, a range in the last octet (`192.0.2.0-255`), or a CIDR block: in each case, the addresses from one to
/// another of the same family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("examples" = ["203.0.113.0/24", "192.0.2.0-255", "2001:db8::1"])))]
#[serde(try_from = "String", into = "String")]
pub struct WhitelistEntry {
    text: String,
    first: IpAddr,
    last: IpAddr,
}

/// The text is no whitelist entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not an IP address, a last-octet range (192.0.2.0-255) or a CIDR block (2001:db8::/32)")]
pub struct InvalidEntry;

impl WhitelistEntry {
    /// Whether `address` is one of the entry's. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

impl std::str::FromStr for WhitelistEntry {
    type Err = InvalidEntry;

    fn from_str(text: &str) -> Result<Self, InvalidEntry> {
        let text = text.trim();
        let (first, last) = if let Some((base, bits)) = text.split_once('/') {
            block(base, bits)?
        } else if let Some((first, last)) = text.split_once('-') {
            last_octet_range(first, last)?
        } else {
            let address = address(text)?;
            (address, address)
        };
        Ok(Self {
            text: text.to_owned(),
            first,
            last,
        })
    }
}

fn address(text: &str) -> Result<IpAddr, InvalidEntry> {
    text.parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| InvalidEntry)
}

fn last_octet_range(first: &str, last: &str) -> Result<(IpAddr, IpAddr), InvalidEntry> {
    let first: Ipv4Addr = first.parse().map_err(|_| InvalidEntry)?;
    let last = number(last)?;
    let [a, b, c, from] = first.octets();
    if last < from {
        return Err(InvalidEntry);
    }
    Ok((first.into(), Ipv4Addr::new(a, b, c, last).into()))
}

/// The block of `base` in which the first `bits` bits are the same; bits of `base` behind them do not matter.
fn block(base: &str, bits: &str) -> Result<(IpAddr, IpAddr), InvalidEntry> {
    let bits = u32::from(number(bits)?);
    match address(base)? {
        IpAddr::V4(base) if bits <= 32 => {
            let free = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = base.to_bits() & !free;
            Ok((
                Ipv4Addr::from(first).into(),
                Ipv4Addr::from(first | free).into(),
            ))
        }
        IpAddr::V6(base) if bits <= 128 => {
            let free = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = base.to_bits() & !free;
            Ok((
                Ipv6Addr::from(first).into(),
                Ipv6Addr::from(first | free).into(),
            ))
        }
        _ => Err(InvalidEntry),
    }
}

fn number(text: &str) -> Result<u8, InvalidEntry> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_err(|_| InvalidEntry)
    } else {
        Err(InvalidEntry)
    }
}

impl TryFrom<String> for WhitelistEntry {
    type Error = InvalidEntry;

    fn try_from(text: String) -> Result<Self, InvalidEntry> {
        text.parse()
    }
}

impl From<WhitelistEntry> for String {
    fn from(entry: WhitelistEntry) -> Self {
        entry.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_addresses() {
        let check = |entry: &str, address: &str, expected: bool| {
            let entry: WhitelistEntry = entry.parse().expect(entry);
            let address = address.parse().expect(address);
            assert_eq!(entry.contains(address), expected, "{entry:?} {address}");
        };
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
        check("192.0.2.7", "::ffff:192.0.2.7", true);
        check("::ffff:192.0.2.7", "192.0.2.7", true);
        check("192.0.2.10-20", "192.0.2.10", true);
        check("192.0.2.10-20", "192.0.2.20", true);
        check("192.0.2.10-20", "192.0.2.21", false);
        check("192.0.2.10-20", "192.0.3.15", false);
        check("192.0.2.0-255", "192.0.2.255", true);
        check("203.0.113.0/24", "203.0.113.255", true);
        check("203.0.113.99/24", "203.0.113.0", true);
        check("203.0.113.0/24", "203.0.114.0", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("192.0.2.1/32", "192.0.2.1", true);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("2001:db8::1/128", "2001:db8::1", true);
        check("::/0", "2001:db8::1", true);
        check("::/0", "192.0.2.1", false);
    }

    #[test]
    fn refuses_what_is_no_entry() {
        for text in [
            "",
            "example.com",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1/33",
            "192.0.2.1/",
            "192.0.2.1/+8",
            "2001:db8::/129",
            "192.0.2.9-8",
            "192.0.2.9-256",
            "192.0.2.9-",
            "2001:db8::1-5",
            "192.0.2.0-192.0.2.9",
            "1.2.3.4 5.6.7.8",
        ] {
            assert_eq!(text.parse::<WhitelistEntry>(), Err(InvalidEntry), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_anything_without_panic(text in "[0-9a-f:./-]{0,40}") {
            if let Ok(entry) = text.parse::<WhitelistEntry>() {
                prop_assert!(entry.contains(entry.first) && entry.contains(entry.last));
            }
        }
    }
}
