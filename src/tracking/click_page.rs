//! Click pages: the session records of one isolate's clicks of one second, in one KV value.
//!
//! A write to KV costs more than all the rest of a click, so up to 256 clicks share one. The transaction ID says which
//! page a click is in; a line counts only if it starts with that very ID, so a page that another isolate wrote under
//! the same name can never give a click somebody else's values.
//!
//! A page is text: the format's number, then a line a click. A line has the ID, country, IP address and the values of
//! [`SubIds`] in their order, separated by tabs, without the empty ones at the end; tab, line feed, carriage return and
//! backslash in a value are written `\t`, `\n`, `\r` and `\\`.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::transaction_id::{ClickTime, LENGTH, PageName, TransactionId, Unverified};
use super::values::SubIds;

/// The most clicks in a page: what the position in the ID can tell apart.
pub const MAX_CLICKS: usize = 256;

const FORMAT: &str = "1\n";

/// What was recorded of a click besides what its ID says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Session<'s> {
    /// The visitor's country, ISO 3166-1 alpha-2; empty where unknown.
    pub country: Cow<'s, str>,
    /// The visitor's IP address.
    pub ip: Cow<'s, str>,
    /// The partner's own values.
    #[serde(bound(deserialize = "SubIds<'s>: Deserialize<'de>"))]
    pub sub_ids: SubIds<'s>,
}

impl Session<'_> {
    /// The same, kept for longer than the text that it was read from.
    fn into_owned(self) -> Session<'static> {
        let owned = |value: Cow<'_, str>| Cow::Owned(value.into_owned());
        Session {
            country: owned(self.country),
            ip: owned(self.ip),
            sub_ids: self.sub_ids.into_owned(),
        }
    }
}

/// A page that takes clicks.
#[derive(Debug)]
pub struct ClickPage {
    name: PageName,
    next: Option<u8>,
    text: String,
    expires: DateTime<Utc>,
}

impl ClickPage {
    /// An empty page.
    pub fn open(name: PageName) -> Self {
        Self {
            name,
            next: Some(0),
            text: FORMAT.to_owned(),
            expires: name.time().to_utc(),
        }
    }

    /// The name, which the IDs of its clicks carry.
    pub fn name(&self) -> PageName {
        self.name
    }

    /// The position of the next click, if it happens at `time` and the page has room.
    pub fn position_for(&self, time: ClickTime) -> Option<u8> {
        self.next.filter(|_| self.name.time() == time)
    }

    /// Whether it holds no click, because none that was to come here was answered.
    pub fn is_empty(&self) -> bool {
        self.text.len() == FORMAT.len()
    }

    /// Whether the next click needs another page.
    pub fn is_full(&self) -> bool {
        self.next.is_none()
    }

    /// Adds a click, whose ID was minted for [`Self::position_for`]; its session ends at `expires`.
    pub fn append(&mut self, id: &TransactionId, session: &Session<'_>, expires: DateTime<Utc>) {
        self.text.push_str(id.as_str());
        let mut empty = 0;
        let values = session.sub_ids.values().iter().map(AsRef::as_ref);
        for value in [session.country.as_ref(), session.ip.as_ref()]
            .into_iter()
            .chain(values)
        {
            if value.is_empty() {
                empty += 1;
                continue;
            }
            for _ in 0..=empty {
                self.text.push('\t');
            }
            empty = 0;
            escape(value, &mut self.text);
        }
        self.text.push('\n');
        self.next = id.position.checked_add(1);
        self.expires = self.expires.max(expires);
    }

    /// What is to be written to KV: key, value, and when the longest session in it ends.
    pub fn close(self) -> (String, String, DateTime<Utc>) {
        (self.name.key(), self.text, self.expires)
    }
}

/// The clicks of a page that was written here.
pub fn clicks(page: &str) -> impl Iterator<Item = (Unverified, Session<'_>)> {
    let lines = page.strip_prefix(FORMAT).unwrap_or_default().lines();
    lines.filter_map(|line| {
        let (id, values) = line.split_at_checked(LENGTH)?;
        Some((Unverified::read(id)?, session(values)))
    })
}

/// Finds the session of a click in the text of its page, by the click's transaction ID.
pub fn find(page: &str, id: &str) -> Option<Session<'static>> {
    let mut lines = page.strip_prefix(FORMAT)?.lines();
    let values = lines.find_map(|line| {
        let (start, values) = line.split_at_checked(LENGTH)?;
        (start == id).then_some(values)
    })?;
    Some(session(values).into_owned())
}

/// Reads what follows the ID in a line.
fn session(values: &str) -> Session<'_> {
    // The first tab ends the ID.
    let mut values = values.split('\t').skip(1).map(unescape);
    Session {
        country: values.next().unwrap_or_default(),
        ip: values.next().unwrap_or_default(),
        sub_ids: SubIds::from_fn(|_| values.next().unwrap_or_default()),
    }
}

fn escape(value: &str, out: &mut String) {
    let is_special = |byte| matches!(byte, b'\t' | b'\n' | b'\r' | b'\\');
    if !value.bytes().any(is_special) {
        return out.push_str(value);
    }
    for c in value.chars() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            _ => out.push(c),
        }
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            _ => c,
        });
    }
    Cow::Owned(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::transaction_id::Keyring;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    const NAME: fn() -> PageName = || PageName::new(ClickTime::from_utc(DateTime::UNIX_EPOCH), 5);

    fn mint(position: u8) -> TransactionId {
        let key = format!("1:{}", "00".repeat(32));
        let (offer, partner) = (1.try_into().expect("offer"), 2.try_into().expect("partner"));
        Keyring::parse(&key)
            .expect("keys")
            .mint(offer, partner, NAME(), position)
    }

    fn session(country: &str, ip: &str, sub_id: impl Fn(&str) -> String) -> Session<'static> {
        Session {
            country: country.to_owned().into(),
            ip: ip.to_owned().into(),
            sub_ids: SubIds::from_fn(sub_id),
        }
    }

    #[test]
    fn pins_the_text() {
        let mut page = ClickPage::open(NAME());
        let opened = NAME().time().to_utc();
        let full = session("DE", "192.0.2.1", |name| {
            if name == "aff_sub2" {
                "a\tb\\\n".into()
            } else {
                String::new()
            }
        });
        page.append(&mint(0), &full, opened + TimeDelta::hours(2));
        page.append(&mint(1), &Session::default(), opened + TimeDelta::hours(1));
        let (key, text, expires) = page.close();
        assert_eq!(key, "clicks:000000000005");
        assert_eq!(
            text,
            format!(
                "1\n{}\tDE\t192.0.2.1\t\t\ta\\tb\\\\\\n\n{}\n",
                mint(0),
                mint(1)
            )
        );
        assert_eq!(expires, opened + TimeDelta::hours(2));
    }

    #[test]
    fn takes_256_clicks_of_one_second() {
        let mut page = ClickPage::open(NAME());
        let time = NAME().time();
        for position in 0..=255 {
            assert_eq!(page.position_for(time), Some(position));
            assert!(!page.is_full());
            page.append(&mint(position), &Session::default(), time.to_utc());
        }
        assert!(page.is_full());
        assert_eq!(page.position_for(time), None);
        let next_second = ClickTime::from_utc(time.to_utc() + TimeDelta::seconds(1));
        assert_eq!(ClickPage::open(NAME()).position_for(next_second), None);
    }

    #[test]
    fn a_line_counts_only_under_its_whole_id() {
        let page = format!("1\n{}\tDE\n", mint(0));
        assert!(find(&page, mint(0).as_str()).is_some());
        assert_eq!(find(&page, mint(1).as_str()), None);
        assert_eq!(find(&page.replace("1\n", "2\n"), mint(0).as_str()), None);
        assert_eq!(find("", mint(0).as_str()), None);
    }

    proptest! {
        #[test]
        fn finds_what_was_appended(values in prop::collection::vec(any::<[String; 14]>(), 0..8)) {
            let mut page = ClickPage::open(NAME());
            let mut sessions = Vec::new();
            for (position, [country, ip, sub_ids @ ..]) in (0..=255).zip(values) {
                let mut sub_ids = sub_ids.into_iter();
                let session = session(&country, &ip, |_| String::new());
                let session = Session {
                    sub_ids: SubIds::from_fn(|_| sub_ids.next().unwrap_or_default()),
                    ..session
                };
                page.append(&mint(position), &session, DateTime::UNIX_EPOCH);
                sessions.push((mint(position), session));
            }
            let (_, text, _) = page.close();
            for (id, session) in sessions {
                prop_assert_eq!(find(&text, id.as_str()), Some(session));
            }
        }

        #[test]
        fn reads_anything_without_panic(text: String) {
            find(&text, mint(0).as_str());
            find(&format!("1\n{}\t{text}", mint(0)), mint(0).as_str());
        }
    }
}
