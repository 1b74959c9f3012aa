//! What is known of each source, so that a look is cheap.
//!
//! A source with pending tasks is looked at by itself; all the quiet ones together, by one query that stops at the first
//! task of any of them, which makes that source known as pending for the next look.
//!
//! The server throws the index entries of claimed tasks away only some time later; while a transaction is left open
//! somewhere, such as a dump's, not at all. Whoever looks for the first pending task passes them all. So looks begin at
//! a floor: where the last first task was. Now and then one looks all the way down, since a task can be due before those
//! that were seen: given back, or enqueued in a transaction that took its time. Looks all the way down are as many as
//! take a small part of the time: every one of an idle worker, one every few seconds where they are dear.

use std::time::{Duration, Instant};

use super::store::claim::{Found, Place};

/// From one look all the way down to the next, this many times as long as it took.
const DOWN_SHARE: u32 = 20;

#[derive(Debug)]
pub struct Outlook {
    sources: Vec<Standing>,
    /// When to look all the way down again.
    down_at: Option<Instant>,
}

/// Of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    /// Whether it had a pending task at the last look.
    pending: bool,
    /// The first one's time, or that of the look where there was none, or none that was due.
    floor: Option<Place>,
}

impl Outlook {
    pub fn new(sources: usize) -> Self {
        Self { sources: vec![Standing::default(); sources], down_at: None }
    }

    /// Whether the look that begins at `now` keeps above the floors.
    pub fn begin(&self, now: Instant, look_back: bool) -> bool {
        !look_back && self.down_at.is_some_and(|at| now < at)
    }

    /// The sources that are looked at by themselves, each with its floor.
    pub fn pending(&self) -> impl Iterator<Item = (usize, Option<&Place>)> {
        let pending = self.sources.iter().enumerate().filter(|(_, standing)| standing.pending);
        pending.map(|(number, standing)| (number, standing.floor.as_ref()))
    }

    /// The others.
    pub fn quiet(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().enumerate().filter(|(_, standing)| !standing.pending).map(|(number, _)| number)
    }

    /// The lowest floor of the others.
    pub fn quiet_floor(&self) -> Option<&Place> {
        self.sources.iter().filter(|standing| !standing.pending).filter_map(|standing| standing.floor.as_ref()).min()
    }

    /// The first tasks of a source were claimed: the next may be at `end`.
    pub fn claimed(&mut self, source: usize, end: Place) {
        self.sources[source].floor = Some(end);
    }

    /// What a look has found, how long it took, and whether it kept above the floors. Returns whether it came upon a
    /// quiet source that has something: there may be more behind it.
    pub fn end(&mut self, found: &Found, took: Duration, floored: bool, now: Instant) -> bool {
        if !floored {
            self.down_at = Some(now + took * DOWN_SHARE);
        }
        // The quiet ones that come after one that has something weren't reached.
        let woken = found.heads.iter().any(|head| !self.sources[head.source].pending);
        let now = Place { due_at: found.now.clone(), id: 0 };
        for standing in &mut self.sources {
            if standing.pending || !woken {
                *standing = Standing { pending: false, floor: Some(now.clone()) };
            }
        }
        for head in &found.heads {
            let floor = head.place.clone().min(now.clone());
            self.sources[head.source] = Standing { pending: true, floor: Some(floor) };
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::claim::Head;
    use super::*;

    const TOOK: Duration = Duration::from_millis(100);

    fn place(due_at: &str) -> Place {
        Place { due_at: due_at.to_owned(), id: 0 }
    }

    fn found(now: &str, heads: &[(usize, &str)]) -> Found {
        let heads =
            heads.iter().map(|&(source, due_at)| Head { source, place: place(due_at), wait_micros: 0 }).collect();
        Found { now: now.to_owned(), heads, paused: Vec::new() }
    }

    #[test]
    fn a_source_is_quiet_until_something_is_found_there() {
        let (mut outlook, now) = (Outlook::new(3), Instant::now());
        assert_eq!(outlook.quiet().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(outlook.end(&found("5", &[(1, "4")]), TOOK, true, now));
        assert_eq!(outlook.pending().collect::<Vec<_>>(), [(1, Some(&place("4")))]);
        outlook.end(&found("7", &[(1, "6"), (2, "9")]), TOOK, true, now);
        // The first task that is there, or the time of the look where that comes first.
        assert_eq!(outlook.pending().collect::<Vec<_>>(), [(1, Some(&place("6"))), (2, Some(&place("7")))]);
        outlook.claimed(1, place("6.5"));
        assert_eq!(outlook.pending().next(), Some((1, Some(&place("6.5")))));
        assert!(!outlook.end(&found("8", &[]), TOOK, true, now));
        assert_eq!((outlook.pending().count(), outlook.quiet_floor()), (0, Some(&place("8"))));
    }

    #[test]
    fn what_was_not_reached_keeps_its_floor() {
        let (mut outlook, now) = (Outlook::new(3), Instant::now());
        outlook.end(&found("5", &[]), TOOK, false, now);
        outlook.end(&found("7", &[(0, "6")]), TOOK, true, now);
        assert_eq!(outlook.quiet_floor(), Some(&place("5")));
    }

    #[test]
    fn now_and_then_one_looks_all_the_way_down() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        assert!(!outlook.begin(now, false), "nothing was seen yet");
        outlook.end(&found("5", &[(0, "4")]), TOOK, false, now);
        assert!(!outlook.begin(now, true), "something was given back");
        assert!(outlook.begin(now + TOOK, false));
        assert!(!outlook.begin(now + TOOK * DOWN_SHARE, false));
    }
}
