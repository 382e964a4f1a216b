//! Bounds how many postbacks that anybody can make up are logged, so that they cost little and push nothing out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

/// How long is counted at a time.
const WINDOW: TimeDelta = TimeDelta::minutes(1);

/// The most of one address in a window, in one isolate.
const MAX_OF_ADDRESS: u32 = 20;

/// The most of all addresses in a window, in one isolate.
const MAX_OF_ALL: u32 = 200;

#[derive(Default)]
struct Window {
    ends: Option<DateTime<Utc>>,
    all: u32,
    /// At most [`MAX_OF_ALL`] addresses.
    of_address: HashMap<Option<IpAddr>, u32>,
}

thread_local! {
    static CURRENT: RefCell<Window> = RefCell::default();
}

impl Window {
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.ends.is_none_or(|end| end <= now)
    }

    fn has_room(&self, address: Option<IpAddr>) -> bool {
        let of_address = self.of_address.get(&address).copied().unwrap_or_default();
        self.all < MAX_OF_ALL && of_address < MAX_OF_ADDRESS
    }
}

/// Whether one more may be logged, without counting it.
pub(super) fn would_admit(address: Option<IpAddr>, now: DateTime<Utc>) -> bool {
    CURRENT.with_borrow(|window| window.is_over(now) || window.has_room(address))
}

/// Whether one more may be logged; then it counts.
pub(super) fn admits(address: Option<IpAddr>, now: DateTime<Utc>) -> bool {
    CURRENT.with_borrow_mut(|window| {
        if window.is_over(now) {
            *window = Window {
                ends: now.checked_add_signed(WINDOW),
                ..Window::default()
            };
        }
        let admits = window.has_room(address);
        if admits {
            let of_address = window.of_address.entry(address).or_default();
            *of_address = of_address.saturating_add(1);
            window.all = window.all.saturating_add(1);
        }
        admits
    })
}
