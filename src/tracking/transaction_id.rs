//! The transaction ID: 150 signed bits that say who is to be paid for a click, without a look-up.
//!
//! | bits | field |
//! |---|---|
//! | 5 | key number |
//! | 30 | seconds since [`EPOCH`] |
//! | 20 | offer |
//! | 22 | partner |
//! | 27 | page number |
//! | 8 | position in the page |
//! | 38 | the first 38 bits of HMAC-SHA-256 over the 14 bytes before it |
//!
//! Written big-endian in Crockford base32, lower case: 30 characters.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::base32;
use super::id::{OfferId, PartnerId};

/// Where the time in an ID starts: 2025-01-01T00:00:00Z, in Unix seconds.
pub const EPOCH: i64 = 1_735_689_600;

/// Characters in an ID.
pub const LENGTH: usize = 30;

/// Characters that hold the first 110 of the 112 signed bits; the last two share a character with the signature.
const HEAD: usize = 22;

const SIGNATURE_BITS: u32 = 38;

/// When a click happened, in whole seconds since [`EPOCH`]: 30 bits, up to 2059.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClickTime(u32);

impl ClickTime {
    const MAX: u32 = (1 << 30) - 1;

    /// The second that `time` lies in; a time outside the range gets the nearest one inside.
    pub fn from_utc(time: DateTime<Utc>) -> Self {
        let seconds = time
            .timestamp()
            .saturating_sub(EPOCH)
            .clamp(0, i64::from(Self::MAX));
        Self(u32::try_from(seconds).unwrap_or(Self::MAX))
    }

    /// The start of the second.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp(EPOCH + i64::from(self.0), 0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Names a click page: the second in which it was opened, and a random number of 27 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageName {
    time: ClickTime,
    number: u32,
}

impl PageName {
    /// A page opened at `time`; of `random`, the lowest 27 bits are taken.
    pub fn new(time: ClickTime, random: u32) -> Self {
        Self {
            time,
            number: random & ((1 << 27) - 1),
        }
    }

    fn in_signed(signed: u128) -> Self {
        Self {
            time: ClickTime(field(signed, 77, 30)),
            number: field(signed, 8, 27),
        }
    }

    /// The second in which the page was opened, which is the second of each click in it.
    pub fn time(self) -> ClickTime {
        self.time
    }

    /// The key of the page in KV: `clicks:`, six characters of time, six of number.
    pub fn key(self) -> String {
        let mut digits = [0; 12];
        base32::write(
            u128::from(self.time.0) << 30 | u128::from(self.number),
            &mut digits,
        );
        let mut key = String::from("clicks:");
        key.extend(digits.map(char::from));
        key
    }
}

/// What a text in the form of a transaction ID says, whoever wrote it: for IDs that were verified before they were
/// stored, and to tell what is wrong with one that is not genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// The number of the key that signed it.
    pub key: u32,
    /// The offer.
    pub offer: OfferId,
    /// The partner.
    pub partner: PartnerId,
    /// The page.
    pub page: PageName,
}

impl Unverified {
    /// Reads 30 characters, in lower case.
    pub fn read(text: &str) -> Option<Self> {
        let head = base32::read(text.as_bytes().get(..HEAD)?)? << 2;
        let tail = base32::read(text.as_bytes().get(HEAD..LENGTH)?)?;
        let signed = head | tail >> SIGNATURE_BITS;
        Some(Self {
            key: field(signed, 107, 5),
            offer: field(signed, 57, 20).try_into().ok()?,
            partner: field(signed, 35, 22).try_into().ok()?,
            page: PageName::in_signed(signed),
        })
    }
}

/// A transaction ID that was minted here, or whose signature was verified: there is no other way to get one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TransactionId {
    /// The offer that was clicked.
    pub offer: OfferId,
    /// The partner to be paid.
    pub partner: PartnerId,
    /// The page that holds the click's session.
    pub page: PageName,
    /// The click's place in the page.
    pub position: u8,
    text: [u8; LENGTH],
}

impl TransactionId {
    /// The 30 characters, in lower case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// When the click happened, to the second.
    pub fn clicked_at(&self) -> DateTime<Utc> {
        self.page.time.to_utc()
    }
}

impl std::fmt::Display for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TransactionId({self})")
    }
}

/// The text is no ID of this network: cut off, mistyped or forged. It is not said which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a transaction ID of this network")]
pub struct Invalid;

/// What is wrong with the setting that holds the keys. Never shows a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// No entry at all.
    #[error("holds no key")]
    Empty,
    /// An entry has no `number:` from 0 to 31 in front.
    #[error("entry {0} does not start with a key number from 0 to 31 and a colon")]
    Number(usize),
    /// The key is not written in hexadecimal, or is too short.
    #[error("the key of entry {0} is not at least 64 hexadecimal digits (32 bytes)")]
    Key(usize),
    /// Two entries have one number.
    #[error("key number {0} stands twice")]
    Twice(u8),
}

struct SigningKey {
    number: u8,
    /// The key schedule, computed once.
    mac: Hmac<Sha256>,
}

/// The keys of a network: the first signs, all verify.
pub struct Keyring {
    signing: SigningKey,
    retired: Vec<SigningKey>,
}

impl Keyring {
    /// Reads `number:hex` entries, separated by commas: `2:9f86…,1:60303a…`.
    ///
    /// # Errors
    /// Says which entry is wrong, without showing it.
    pub fn parse(setting: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for (index, entry) in setting.split(',').map(str::trim).enumerate() {
            if entry.is_empty() {
                continue;
            }
            let (number, key) = entry
                .split_once(':')
                .ok_or(KeyringError::Number(index + 1))?;
            let number = number
                .trim()
                .parse::<u8>()
                .ok()
                .filter(|number| *number < 32)
                .ok_or(KeyringError::Number(index + 1))?;
            if keys.iter().any(|key| key.number == number) {
                return Err(KeyringError::Twice(number));
            }
            let mac = decode_hex(key.trim())
                .filter(|bytes| bytes.len() >= 32)
                .and_then(|bytes| Hmac::new_from_slice(&bytes).ok())
                .ok_or(KeyringError::Key(index + 1))?;
            keys.push(SigningKey { number, mac });
        }
        let mut keys = keys.into_iter();
        Ok(Self {
            signing: keys.next().ok_or(KeyringError::Empty)?,
            retired: keys.collect(),
        })
    }

    /// Signs an ID for a click on `offer` by a visitor of `partner`, recorded at `position` in `page`.
    pub fn mint(
        &self,
        offer: OfferId,
        partner: PartnerId,
        page: PageName,
        position: u8,
    ) -> TransactionId {
        let key = &self.signing;
        let mut signed = u128::from(key.number);
        signed = signed << 30 | u128::from(page.time.0);
        signed = signed << 20 | u128::from(u32::from(offer));
        signed = signed << 22 | u128::from(u32::from(partner));
        signed = signed << 27 | u128::from(page.number);
        signed = signed << 8 | u128::from(position);

        let mut text = [0; LENGTH];
        let (head, tail) = text.split_at_mut(HEAD);
        base32::write(signed >> 2, head);
        base32::write(
            (signed & 3) << SIGNATURE_BITS | u128::from(sign(&key.mac, signed)),
            tail,
        );
        TransactionId {
            offer,
            partner,
            page,
            position,
            text,
        }
    }

    /// Reads an ID, in upper or lower case, with white space around it, and verifies its signature.
    ///
    /// # Errors
    /// [`Invalid`] for anything that one of these keys has not signed.
    pub fn verify(&self, text: &str) -> Result<TransactionId, Invalid> {
        let mut canonical: [u8; LENGTH] = text.trim().as_bytes().try_into().map_err(|_| Invalid)?;
        canonical.make_ascii_lowercase();
        let (head, tail) = canonical.split_at(HEAD);
        let head = base32::read(head).ok_or(Invalid)?;
        let tail = base32::read(tail).ok_or(Invalid)?;
        let signed = head << 2 | tail >> SIGNATURE_BITS;
        let signature = signature_in(tail);

        let number = field(signed, 107, 5);
        let key = std::iter::once(&self.signing)
            .chain(&self.retired)
            .find(|key| u32::from(key.number) == number)
            .ok_or(Invalid)?;
        if !bool::from(sign(&key.mac, signed).ct_eq(&signature)) {
            return Err(Invalid);
        }
        Ok(TransactionId {
            offer: field(signed, 57, 20).try_into().map_err(|_| Invalid)?,
            partner: field(signed, 35, 22).try_into().map_err(|_| Invalid)?,
            page: PageName::in_signed(signed),
            position: u8::try_from(field(signed, 0, 8)).map_err(|_| Invalid)?,
            text: canonical,
        })
    }
}

/// `bits` bits of the signed part, the last of them being bit `lowest`; at most 32.
fn field(signed: u128, lowest: u32, bits: u32) -> u32 {
    u32::try_from(signed >> lowest & ((1 << bits) - 1)).unwrap_or_default()
}

/// The signature, which is the end of the last eight characters.
fn signature_in(tail: u128) -> u64 {
    u64::try_from(tail & ((1 << SIGNATURE_BITS) - 1)).unwrap_or_default()
}

/// The first 38 bits of the HMAC over the 112 signed bits, as 14 bytes.
fn sign(mac: &Hmac<Sha256>, signed: u128) -> u64 {
    let mut mac = mac.clone();
    mac.update(&signed.to_be_bytes()[2..]);
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let first = u64::from_be_bytes([
        digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7],
    ]);
    first >> (64 - SIGNATURE_BITS)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Key number 1 is the bytes 00 01 … 1f, key number 0 the bytes ff ff … ff.
    const KEY_1: &str = "1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const KEY_0: &str = "0:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    fn keyring(keys: &[&str]) -> Keyring {
        Keyring::parse(&keys.join(",")).expect("keys")
    }

    fn mint(
        keyring: &Keyring,
        time: u32,
        offer: u32,
        partner: u32,
        page: u32,
        position: u8,
    ) -> TransactionId {
        keyring.mint(
            offer.try_into().expect("offer"),
            partner.try_into().expect("partner"),
            PageName::new(ClickTime(time), page),
            position,
        )
    }

    /// Made once with Python's `hmac`, from the table in the contract, and never by this code:
    /// `head = key<<107 | time<<77 | offer<<57 | partner<<35 | page<<8 | position`,
    /// `mac = int(hmac_sha256(key, head.to_bytes(14)).hex(), 16) >> 218`, `base32(head << 38 | mac)`.
    #[test]
    fn known_answers() {
        let check = |key, fields: (u32, u32, u32, u32, u8), expected: &str| {
            let (time, offer, partner, page, position) = fields;
            let id = mint(&keyring(&[key]), time, offer, partner, page, position);
            assert_eq!(id.as_str(), expected);
        };
        check(KEY_1, (0, 1, 1, 0, 0), "10000000001000080000007y524jd0");
        check(
            KEY_1,
            (59_000_000, 1, 2, 123_456_789, 7),
            "11r8h6000010000qbf6ha1wmpvzxxv",
        );
        check(
            KEY_0,
            (1_073_741_823, 1_048_575, 4_194_303, 134_217_727, 255),
            "0zzzzzzzzzzzzzzzzzzzzzz0k0mq5p",
        );
        check(
            KEY_1,
            (1_398_101, 699_050, 1_398_101, 44_739_242, 85),
            "101anannanaananananamnef1525yg",
        );
    }

    #[test]
    fn reads_upper_case_and_white_space_around() {
        let keyring = keyring(&[KEY_1]);
        let id = mint(&keyring, 59_000_000, 1, 2, 3, 4);
        let loose = format!(" \t{}\n", id.as_str().to_ascii_uppercase());
        assert_eq!(keyring.verify(&loose), Ok(id));
        assert_eq!(id.clicked_at().timestamp(), EPOCH + 59_000_000);
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let keyring = keyring(&[KEY_1]);
        let id = mint(&keyring, 59_000_000, 1, 2, 3, 4);
        for cut in 0..LENGTH {
            assert_eq!(keyring.verify(&id.as_str()[..cut]), Err(Invalid));
        }
        assert_eq!(keyring.verify(&format!("{id}0")), Err(Invalid));
        assert_eq!(keyring.verify(&format!("{id}{id}")), Err(Invalid));
        assert_eq!(keyring.verify("ééééééééééééééé"), Err(Invalid));
    }

    #[test]
    fn keys_rotate_without_breaking_ids_in_flight() {
        let before = keyring(&[KEY_0]);
        let after = keyring(&[KEY_1, KEY_0]);
        let old = mint(&before, 1, 1, 1, 1, 1);
        let new = mint(&after, 1, 1, 1, 1, 1);
        assert_eq!(after.verify(old.as_str()), Ok(old));
        assert_eq!(after.verify(new.as_str()), Ok(new));
        assert_eq!(before.verify(new.as_str()), Err(Invalid));
        assert_eq!(keyring(&[KEY_1]).verify(old.as_str()), Err(Invalid));
    }

    #[test]
    fn names_what_is_wrong_with_the_keys() {
        let check = |setting: &str, expected| {
            assert_eq!(Keyring::parse(setting).err(), Some(expected), "{setting}");
        };
        check("", KeyringError::Empty);
        check(" , ", KeyringError::Empty);
        check("secret", KeyringError::Number(1));
        check("32:00", KeyringError::Number(1));
        check("1:00", KeyringError::Key(1));
        check(&format!("{KEY_1}0"), KeyringError::Key(1));
        check(
            &format!("{KEY_1},2:{}", "zz".repeat(32)),
            KeyringError::Key(2),
        );
        check(&format!("{KEY_1},{KEY_1}"), KeyringError::Twice(1));
    }

    #[test]
    fn pins_the_key_of_a_page() {
        let check = |time, number, expected: &str| {
            assert_eq!(PageName::new(ClickTime(time), number).key(), expected);
        };
        check(0, 0, "clicks:000000000000");
        check(1, 31, "clicks:00000100000z");
        check((1 << 30) - 1, (1 << 27) - 1, "clicks:zzzzzz3zzzzz");
    }

    #[test]
    fn clamps_times_outside_the_range() {
        assert_eq!(ClickTime::from_utc(DateTime::UNIX_EPOCH), ClickTime(0));
        assert_eq!(
            ClickTime::from_utc(DateTime::<Utc>::MAX_UTC),
            ClickTime(ClickTime::MAX)
        );
    }

    proptest! {
        #[test]
        fn round_trip(
            time in 0u32..1 << 30,
            offer in 1..=OfferId::MAX,
            partner in 1..=PartnerId::MAX,
            page in 0u32..1 << 27,
            position: u8,
        ) {
            let keyring = keyring(&[KEY_1, KEY_0]);
            let id = mint(&keyring, time, offer, partner, page, position);
            prop_assert_eq!(id.as_str().len(), LENGTH);
            prop_assert_eq!(keyring.verify(id.as_str()), Ok(id));
            let read = Unverified::read(id.as_str()).map(|read| (read.offer, read.partner, read.page));
            prop_assert_eq!(read, Some((id.offer, id.partner, id.page)));
        }

        #[test]
        fn any_other_character_at_any_place_is_refused(
            place in 0..LENGTH,
            character in "[0-9a-z]",
            page: u32,
        ) {
            let keyring = keyring(&[KEY_1, KEY_0]);
            let id = mint(&keyring, 59_000_000, 1, 2, page, 4);
            let mut text = id.as_str().to_owned();
            text.replace_range(place..=place, &character);
            prop_assume!(text != id.as_str());
            prop_assert_eq!(keyring.verify(&text), Err(Invalid));
        }

        #[test]
        fn reads_anything_without_panic(text: String) {
            prop_assert_eq!(keyring(&[KEY_1]).verify(&text), Err(Invalid));
            Unverified::read(&text);
        }
    }
}
