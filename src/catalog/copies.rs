//! An isolate's own copies of published documents, so that a click waits for no read.
//!
//! A copy is served as it is for some time (30 seconds, unless set otherwise); then it is still served, and read again in the background. After [`STALE`]
//! it is read again first, but only by one request at a time: while KV is out of reach, the others are served, up to
//! the age that they allow.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};

/// How old a copy may be that is served while a newer one is on its way.
pub const STALE: TimeDelta = TimeDelta::minutes(5);

/// When a read that has not come back is tried again.
pub const READ_AGAIN: TimeDelta = TimeDelta::seconds(10);

/// The most copies: at some 4 KB, those of both kinds stay far under the isolate's 128 MB.
pub const MAX_COPIES: usize = 2_048;

/// What is known of a document without waiting. `None` in it: there is no such document.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<D> {
    /// It can be served.
    Fresh(Option<Rc<D>>),
    /// It can be served, and is to be read again in the background.
    Stale(Option<Rc<D>>),
    /// It has to be read first.
    Unknown,
}

#[derive(Debug)]
struct CopyOf<D> {
    document: Option<Rc<D>>,
    read_at: DateTime<Utc>,
    fresh_until: DateTime<Utc>,
    read_again_at: DateTime<Utc>,
}

impl<D> CopyOf<D> {
    /// Whether it was read a short time ago; a copy that somebody else is reading again is not.
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        now < self.fresh_until
    }
}

/// The copies of one kind of document.
#[derive(Debug)]
pub struct Copies<I, D>(HashMap<I, CopyOf<D>>);

impl<I, D> Default for Copies<I, D> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<I: Copy + Eq + Hash, D> Copies<I, D> {
    /// The document, if nothing has to be done but serve it.
    pub fn fresh(&self, id: I, now: DateTime<Utc>) -> Option<&Rc<D>> {
        let copy = self.0.get(&id)?;
        copy.document.as_ref().filter(|_| copy.is_fresh(now))
    }

    /// What can be done without waiting. Sends only one request in [`READ_AGAIN`] to read the document again.
    pub fn look_up(&mut self, id: I, now: DateTime<Utc>, max_age: TimeDelta) -> Known<D> {
        let Some(copy) = self.0.get_mut(&id) else {
            return Known::Unknown;
        };
        let age = now.signed_duration_since(copy.read_at);
        if age > max_age {
            return Known::Unknown;
        }
        if now < copy.read_again_at {
            return Known::Fresh(copy.document.clone());
        }
        copy.read_again_at = later(now, READ_AGAIN);
        if age > STALE {
            Known::Unknown
        } else {
            Known::Stale(copy.document.clone())
        }
    }

    /// A copy that may serve where the document cannot be read: of at most `max_age`.
    pub fn in_need(&self, id: I, now: DateTime<Utc>, max_age: TimeDelta) -> Option<Option<Rc<D>>> {
        let copy = self.0.get(&id)?;
        (now.signed_duration_since(copy.read_at) <= max_age).then(|| copy.document.clone())
    }

    /// Keeps what was read, which is fresh for some time.
    pub fn keep(&mut self, id: I, document: Option<Rc<D>>, now: DateTime<Utc>, fresh: TimeDelta) {
        if self.0.len() >= MAX_COPIES && !self.0.contains_key(&id) {
            // Whoever asks for IDs that do not exist shall not push out those that do.
            self.0.retain(|_, copy| copy.document.is_some());
            if self.0.len() >= MAX_COPIES {
                self.0.clear();
            }
        }
        let copy = CopyOf {
            document,
            read_at: now,
            fresh_until: later(now, fresh),
            read_again_at: later(now, fresh),
        };
        self.0.insert(id, copy);
    }

    /// Drops all copies.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

fn later(now: DateTime<Utc>, delta: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(delta).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: TimeDelta = TimeDelta::seconds(30);
    const MAX_AGE: TimeDelta = TimeDelta::hours(24);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Looks up a document that was read at 0, at each of these seconds.
    fn check(seconds: &[i64], expected: &[&str]) {
        let mut copies = Copies::default();
        copies.keep(1, Some(Rc::new("document")), at(0), FRESH);
        let found: Vec<&str> = seconds
            .iter()
            .map(|seconds| match copies.look_up(1, at(*seconds), MAX_AGE) {
                Known::Fresh(Some(_)) => "fresh",
                Known::Stale(Some(_)) => "stale",
                Known::Unknown => "unknown",
                Known::Fresh(None) | Known::Stale(None) => "no document",
            })
            .collect();
        assert_eq!(found, expected, "{seconds:?}");
    }

    #[test]
    fn a_copy_ages() {
        check(&[0, 29], &["fresh", "fresh"]);
        // One request reads it again; if that does not come back, another one 10 seconds later.
        check(&[30, 31, 39, 40], &["stale", "fresh", "fresh", "stale"]);
        check(&[300, 310], &["stale", "unknown"]);
        // One request waits; the others are served.
        check(
            &[301, 301, 310, 311],
            &["unknown", "fresh", "fresh", "unknown"],
        );
        check(
            &[86_400, 86_401, 86_401],
            &["unknown", "unknown", "unknown"],
        );
    }

    #[test]
    fn serves_in_need_up_to_an_age() {
        let mut copies = Copies::default();
        copies.keep(1, Some(Rc::new("document")), at(0), FRESH);
        assert!(copies.in_need(1, at(86_400), MAX_AGE).is_some());
        assert!(copies.in_need(1, at(86_401), MAX_AGE).is_none());
        assert!(copies.in_need(2, at(0), MAX_AGE).is_none());
        copies.forget();
        assert!(copies.in_need(1, at(0), MAX_AGE).is_none());
    }

    #[test]
    fn who_asks_for_nothing_pushes_nothing_out() {
        let mut copies = Copies::default();
        copies.keep(0, Some(Rc::new("document")), at(0), FRESH);
        for id in 1..=2 * MAX_COPIES {
            copies.keep(id, None, at(0), FRESH);
        }
        assert!(copies.0.len() <= MAX_COPIES);
        assert_eq!(
            copies.look_up(0, at(1), MAX_AGE),
            Known::Fresh(Some(Rc::new("document")))
        );
    }
}
