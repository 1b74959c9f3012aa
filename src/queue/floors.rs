//! Where each source's tasks begin, for when looking below that has become dear.
//!
//! A transaction that is left open, such as a dump's, keeps the server from throwing the index entries of finished
//! tasks away, and whoever looks for the first pending one passes them all. While looks are quick there are no floors.
//! When one was slow, the next begin where the last first task was; now and then one looks all the way down, since a
//! task can be due before those that were seen: given back, or enqueued in a transaction that took its time.

use std::time::{Duration, Instant};

use super::store::claim::Found;

/// A look takes a tenth of that as a rule.
const SLOW: Duration = Duration::from_millis(3);
/// Between two looks all the way down, at least.
const DOWN_EVERY: Duration = Duration::from_secs(1);
/// And so many times as long as one takes, so that they stay a small part of the time.
const DOWN_SHARE: u32 = 20;

#[derive(Debug)]
pub struct Floors {
    floors: Vec<Option<String>>,
    /// When to look all the way down again; `None` while looks are quick.
    down_at: Option<Instant>,
}

impl Floors {
    pub fn new(sources: usize) -> Self {
        Self { floors: vec![None; sources], down_at: None }
    }

    /// Whether the look that begins at `now` is to keep above the floors.
    pub fn begin(&self, now: Instant, look_back: bool) -> bool {
        !look_back && self.down_at.is_some_and(|at| now < at)
    }

    /// Of a source.
    pub fn of(&self, source: usize) -> Option<&str> {
        self.floors.get(source)?.as_deref()
    }

    /// What a look has found, how long it took, and whether it kept above the floors.
    pub fn end(&mut self, found: &Found, took: Duration, floored: bool, now: Instant) {
        if !floored {
            self.down_at = (took >= SLOW).then(|| now + DOWN_EVERY.max(took * DOWN_SHARE));
        }
        if self.down_at.is_none() {
            return;
        }
        if !floored {
            // A source that has nothing begins now.
            self.floors.fill(Some(found.now.clone()));
        }
        for head in &found.heads {
            if let Some(floor) = self.floors.get_mut(head.source) {
                *floor = Some(head.due_at.clone().min(found.now.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::claim::Head;
    use super::*;

    const QUICK: Duration = Duration::from_micros(300);
    const DEAR: Duration = Duration::from_millis(100);

    fn found(now: &str, heads: &[(usize, &str)]) -> Found {
        let heads =
            heads.iter().map(|&(source, due_at)| Head { source, due_at: due_at.to_owned(), wait_micros: 0 }).collect();
        Found { now: now.to_owned(), heads, paused: Vec::new() }
    }

    #[test]
    fn there_are_none_while_looks_are_quick() {
        let (mut floors, now) = (Floors::new(1), Instant::now());
        assert!(!floors.begin(now, false));
        floors.end(&found("5", &[(0, "4")]), QUICK, false, now);
        assert!(!floors.begin(now, false));
    }

    #[test]
    fn after_a_slow_look_the_next_keep_above_what_was_seen() {
        let (mut floors, now) = (Floors::new(3), Instant::now());
        floors.end(&found("5", &[(0, "4"), (1, "9")]), DEAR, false, now);
        assert!(floors.begin(now + DOWN_EVERY, false));
        // The first task that is there, or the time of the look where that comes first.
        assert_eq!([0, 1, 2].map(|source| floors.of(source)), [Some("4"), Some("5"), Some("5")]);
        floors.end(&found("7", &[(0, "6")]), QUICK, true, now);
        assert_eq!([0, 1, 2].map(|source| floors.of(source)), [Some("6"), Some("5"), Some("5")]);
    }

    #[test]
    fn now_and_then_one_looks_all_the_way_down() {
        let (mut floors, now) = (Floors::new(1), Instant::now());
        floors.end(&found("5", &[(0, "4")]), DEAR, false, now);
        assert!(floors.begin(now, false));
        assert!(!floors.begin(now, true), "something was given back");
        assert!(!floors.begin(now + DEAR * DOWN_SHARE, false));
        // It was quick, so all of them do again.
        floors.end(&found("8", &[(0, "2")]), QUICK, false, now);
        assert!(!floors.begin(now, false));
    }
}
