//! What is known of each source, so that a look is cheap.
//!
//! A source with pending tasks is looked at by itself; all the quiet ones together, by one query that stops at the first
//! task of any of them, which has that source looked at by itself from then on.
//!
//! The server throws the index entries of claimed tasks away only some time later; while a transaction is left open
//! somewhere, such as a dump's, not at all. Whoever looks for the first pending task passes them all. So a look begins
//! at a floor: where the last first task was. Now and then one looks all the way down, since a task can be due before
//! those that were seen: given back, or enqueued in a transaction that took its time. Looks all the way down are as many
//! as take a small part of the time: every one of an idle worker, one every few seconds where they are dear.
//!
//! Quiet sources have no floors. MariaDB's look above one goes on through the entries that are to be thrown away of
//! whatever source is next in the index; a look at a source as a whole ends with it.

use std::time::{Duration, Instant};

use super::store::claim::{Found, Place};

/// From one look all the way down to the next, this many times as long as it took.
const DOWN_SHARE: u32 = 20;
/// Where a look all the way down takes less, no floor is needed.
const CHEAP: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub struct Outlook {
    /// Of each source that is looked at by itself, its floor.
    floors: Vec<Option<Place>>,
    /// When to look all the way down again.
    down_at: Option<Instant>,
}

impl Outlook {
    pub fn new(sources: usize) -> Self {
        Self { floors: vec![None; sources], down_at: None }
    }

    /// Whether the look that begins at `now` keeps above the floors.
    pub fn begin(&self, now: Instant, look_back: bool) -> bool {
        !look_back && self.down_at.is_some_and(|at| now < at)
    }

    /// The sources that are looked at by themselves, each with its floor.
    pub fn busy(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.floors.iter().enumerate().filter_map(|(number, floor)| Some((number, floor.as_ref()?)))
    }

    /// The others.
    pub fn quiet(&self) -> impl Iterator<Item = usize> {
        self.floors.iter().enumerate().filter(|(_, floor)| floor.is_none()).map(|(number, _)| number)
    }

    /// The first tasks of a source were claimed: the next may be at `end`.
    pub fn claimed(&mut self, source: usize, end: Place) {
        self.floors[source] = Some(end);
    }

    /// What a look has found, how long it took, and whether it kept above the floors. Returns whether it came upon a
    /// quiet source that has something: there may be more behind it.
    pub fn end(&mut self, found: &Found, took: Duration, floored: bool, now: Instant) -> bool {
        if !floored {
            self.down_at = Some(now + took * DOWN_SHARE);
        }
        let woken = found.heads.iter().any(|head| self.floors[head.source].is_none());
        // A busy one that has nothing begins at the time of the look.
        let seen = Place { due_at: found.now.clone(), id: 0 };
        let without = if !floored && took < CHEAP { None } else { Some(seen.clone()) };
        for floor in self.floors.iter_mut().filter(|floor| floor.is_some()) {
            floor.clone_from(&without);
        }
        for head in &found.heads {
            self.floors[head.source] = Some(head.place.clone().min(seen.clone()));
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::claim::Head;
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const DEAR: Duration = Duration::from_millis(100);

    fn place(due_at: &str) -> Place {
        Place { due_at: due_at.to_owned(), id: 0 }
    }

    fn found(now: &str, heads: &[(usize, &str)]) -> Found {
        let heads = heads.iter().map(|&(source, due_at)| Head { source, place: place(due_at), wait_micros: 0 });
        Found { now: now.to_owned(), heads: heads.collect(), paused: Vec::new() }
    }

    fn busy(outlook: &Outlook) -> Vec<(usize, &str)> {
        outlook.busy().map(|(source, floor)| (source, floor.due_at.as_str())).collect()
    }

    #[test]
    fn a_source_is_quiet_until_something_is_found_there() {
        let (mut outlook, now) = (Outlook::new(3), Instant::now());
        assert_eq!(outlook.quiet().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(outlook.end(&found("5", &[(1, "4")]), QUICK, false, now));
        assert_eq!(busy(&outlook), [(1, "4")]);
        // The first task that is there, or the time of the look where that comes first.
        assert!(outlook.end(&found("7", &[(1, "6"), (2, "9")]), QUICK, true, now));
        assert_eq!(busy(&outlook), [(1, "6"), (2, "7")]);
        outlook.claimed(1, place("6.5"));
        assert_eq!(busy(&outlook), [(1, "6.5"), (2, "7")]);
        assert!(!outlook.end(&found("8", &[]), QUICK, true, now));
        assert_eq!(busy(&outlook), [(1, "8"), (2, "8")]);
    }

    #[test]
    fn a_source_is_quiet_again_where_looking_all_the_way_down_is_cheap() {
        let (mut outlook, now) = (Outlook::new(2), Instant::now());
        outlook.end(&found("5", &[(0, "4")]), DEAR, false, now);
        outlook.end(&found("6", &[]), DEAR, false, now);
        assert_eq!(busy(&outlook), [(0, "6")]);
        outlook.end(&found("7", &[]), QUICK, false, now);
        assert_eq!((busy(&outlook), outlook.quiet().count()), (vec![], 2));
    }

    #[test]
    fn now_and_then_one_looks_all_the_way_down() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        assert!(!outlook.begin(now, false), "nothing was seen yet");
        outlook.end(&found("5", &[(0, "4")]), DEAR, false, now);
        assert!(!outlook.begin(now, true), "something was given back");
        assert!(outlook.begin(now + DEAR, false));
        assert!(!outlook.begin(now + DEAR * DOWN_SHARE, false));
    }
}
