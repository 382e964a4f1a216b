//! A session that was put into a page is found again, whatever its values; and any text can be looked through.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use tidemark::tracking::click_page::{ClickPage, Session, find};
use tidemark::tracking::transaction_id::{ClickTime, Keyring, PageName};
use tidemark::tracking::values::SubIds;

static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(&format!("1:{}", "07".repeat(32))).unwrap());

fuzz_target!(|values: Vec<&str>| {
    let name = PageName::new(ClickTime::from_utc(DateTime::<Utc>::UNIX_EPOCH), 0);
    let mint =
        |position| KEYRING.mint(1.try_into().unwrap(), 2.try_into().unwrap(), name, position);
    let mut page = ClickPage::open(name);
    let mut sessions = Vec::new();
    for (position, values) in (0..=255).zip(values.chunks(14)) {
        let mut values = values.iter().map(|value| Cow::Borrowed(*value));
        let session = Session {
            country: values.next().unwrap_or_default(),
            ip: values.next().unwrap_or_default(),
            sub_ids: SubIds::from_fn(|_| values.next().unwrap_or_default()),
        };
        page.append(&mint(position), &session, DateTime::UNIX_EPOCH);
        sessions.push((mint(position), session));
    }
    let (_, text, _) = page.close();
    for (id, session) in sessions {
        assert_eq!(find(&text, id.as_str()), Some(session));
    }
    for value in values {
        find(&format!("1\n{}{value}", mint(0)), mint(0).as_str());
    }
});
