//! Which messages to a ledger go together.
//!
//! While a call to a ledger is under way, the messages that come for it gather, and go as one call when it is back. The
//! ledger then has one call to take and one write to make durable for all of them, so that what an offer can convert is
//! not bounded by how many calls and writes one object can do. A message that meets no other goes at once.
//!
//! **Invariant.** Each message goes in exactly one call, and each of those who wait is told by the one who makes it. The
//! lines only say when: should they forget something, messages go in more calls, and nothing else changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::tracking::id::OfferId;

/// The most messages of one call: some milliseconds of a ledger's time.
pub const MAX_MESSAGES: usize = 64;

/// How long a batch gathers at the most; then it goes, even if the call before it is not back. The one who was to say so
/// can be gone.
pub const MAX_GATHERING: TimeDelta = TimeDelta::seconds(1);

/// The calls under way and the batches that gather, ledger by ledger. `W` is how to reach somebody who waits.
#[derive(Debug)]
pub struct Lines<W>(HashMap<OfferId, Line<W>>);

#[derive(Debug)]
struct Line<W> {
    /// When the last call set off.
    set_off: DateTime<Utc>,
    gathering: Option<Batch<W>>,
}

/// Messages that will go together, in the order in which they came. The one who opened it makes the call.
#[derive(Debug)]
pub struct Batch<W> {
    opened: DateTime<Utc>,
    messages: Rc<RefCell<Vec<(String, W)>>>,
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Place<W> {
    /// It goes at once, alone.
    Free(String),
    /// It opens a batch, which goes when [`Lines::back`] gives its waiter, or after [`MAX_GATHERING`].
    Opened(Batch<W>, W),
    /// It goes with others; its waiter is given the answer.
    Joined(W),
}

impl<W> Default for Lines<W> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<W: Clone> Lines<W> {
    /// Finds a place for a message. `waiter` is called if it has to wait.
    pub fn place(
        &mut self,
        offer: OfferId,
        message: String,
        now: DateTime<Utc>,
        waiter: impl FnOnce() -> W,
    ) -> Place<W> {
        let is_recent = |time| now.signed_duration_since(time) < MAX_GATHERING;
        let Some(line) = self
            .0
            .get_mut(&offer)
            .filter(|line| is_recent(line.set_off))
        else {
            self.set_off(offer, now);
            return Place::Free(message);
        };
        match &line.gathering {
            Some(batch) if is_recent(batch.opened) => {
                let mut messages = batch.messages.borrow_mut();
                if messages.len() >= MAX_MESSAGES {
                    return Place::Free(message);
                }
                let waiter = waiter();
                messages.push((message, waiter.clone()));
                Place::Joined(waiter)
            }
            _ => {
                let waiter = waiter();
                let batch = Batch {
                    opened: now,
                    messages: Rc::new(RefCell::new(vec![(message, waiter.clone())])),
                };
                line.gathering = Some(batch.clone());
                Place::Opened(batch, waiter)
            }
        }
    }

    /// Closes a batch, whose messages go now; the first is that of the one who opened it.
    pub fn close(
        &mut self,
        offer: OfferId,
        batch: &Batch<W>,
        now: DateTime<Utc>,
    ) -> Vec<(String, W)> {
        let is_this = |other: &Batch<W>| Rc::ptr_eq(&other.messages, &batch.messages);
        let line = self.set_off(offer, now);
        line.gathering.take_if(|gathering| is_this(gathering));
        batch.messages.take()
    }

    /// A call is back: gives whose turn it is, if somebody waits for it.
    pub fn back(&mut self, offer: OfferId) -> Option<W> {
        let line = self.0.get(&offer)?;
        if let Some(batch) = &line.gathering {
            let messages = batch.messages.borrow();
            return messages.first().map(|(_, waiter)| waiter.clone());
        }
        self.0.remove(&offer);
        None
    }

    fn set_off(&mut self, offer: OfferId, now: DateTime<Utc>) -> &mut Line<W> {
        let line = self.0.entry(offer).or_insert(Line {
            set_off: now,
            gathering: None,
        });
        line.set_off = now;
        line
    }
}

impl<W> Clone for Batch<W> {
    fn clone(&self) -> Self {
        Self {
            opened: self.opened,
            messages: Rc::clone(&self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer() -> OfferId {
        1.try_into().expect("an offer")
    }

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).expect("a time")
    }

    fn place(lines: &mut Lines<usize>, n: usize, ms: i64) -> Place<usize> {
        lines.place(offer(), n.to_string(), at(ms), || n)
    }

    fn texts(messages: Vec<(String, usize)>) -> Vec<String> {
        messages.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn what_comes_while_a_call_is_under_way_goes_together() {
        let mut lines = Lines::default();
        assert!(matches!(place(&mut lines, 0, 0), Place::Free(text) if text == "0"));
        let Place::Opened(batch, 1) = place(&mut lines, 1, 1) else {
            panic!("no batch");
        };
        assert!(matches!(place(&mut lines, 2, 2), Place::Joined(2)));
        assert_eq!(lines.back(offer()), Some(1));
        assert!(matches!(place(&mut lines, 3, 3), Place::Joined(3)));
        assert_eq!(texts(lines.close(offer(), &batch, at(4))), ["1", "2", "3"]);
        let Place::Opened(next, 4) = place(&mut lines, 4, 5) else {
            panic!("no batch");
        };
        assert_eq!(lines.back(offer()), Some(4));
        assert_eq!(texts(lines.close(offer(), &next, at(6))), ["4"]);
        assert_eq!(lines.back(offer()), None);
        assert!(matches!(place(&mut lines, 5, 7), Place::Free(_)));
    }

    #[test]
    fn one_offer_does_not_wait_for_another() {
        let mut lines = Lines::default();
        for id in 1..9 {
            let offer = id.try_into().expect("an offer");
            let place = lines.place(offer, String::new(), at(0), || 0);
            assert!(matches!(place, Place::Free(_)));
        }
    }

    #[test]
    fn nobody_waits_for_long_for_one_who_is_gone() {
        let mut lines = Lines::default();
        let late = 1 + MAX_GATHERING.num_milliseconds();
        // A call that never comes back.
        assert!(matches!(place(&mut lines, 0, 0), Place::Free(_)));
        assert!(matches!(place(&mut lines, 1, late), Place::Free(_)));
        // A batch that never goes.
        let Place::Opened(gone, _) = place(&mut lines, 2, late) else {
            panic!("no batch");
        };
        lines.set_off(offer(), at(2 * late));
        assert!(matches!(place(&mut lines, 3, 2 * late), Place::Opened(..)));
        // It goes after all, and the one after it still stands in the line.
        assert_eq!(texts(lines.close(offer(), &gone, at(2 * late))), ["2"]);
        assert_eq!(lines.back(offer()), Some(3));
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut lines = Lines::default();
        let mut places = (0..MAX_MESSAGES + 2)
            .map(|n| place(&mut lines, n, 0))
            .collect::<Vec<_>>();
        assert!(matches!(places.pop(), Some(Place::Free(_))));
        assert!(matches!(places.pop(), Some(Place::Joined(_))));
    }

    proptest! {
        /// Whatever happens in whatever order, each message goes once.
        #[test]
        fn each_message_goes_once(events in prop::collection::vec((0..4_u8, 0..600_i64), 0..200)) {
            let mut lines = Lines::default();
            let (mut now, mut sent, mut open) = (0, Vec::new(), Vec::new());
            let mut count = 0;
            for (event, wait) in events {
                now += wait;
                match event {
                    0 | 1 => {
                        match place(&mut lines, count, now) {
                            Place::Free(text) => sent.push(text),
                            Place::Opened(batch, _) => open.push(batch),
                            Place::Joined(_) => {}
                        }
                        count += 1;
                    }
                    2 => {
                        lines.back(offer());
                    }
                    _ => {
                        if let Some(batch) = open.pop() {
                            let messages = lines.close(offer(), &batch, at(now));
                            prop_assert!((1..=MAX_MESSAGES).contains(&messages.len()));
                            sent.extend(texts(messages));
                        }
                    }
                }
            }
            for batch in open {
                sent.extend(texts(lines.close(offer(), &batch, at(now))));
            }
            sent.sort_by_key(|text| text.parse::<usize>().unwrap_or_default());
            let all: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            prop_assert_eq!(sent, all);
        }
    }
}
