//! Where to look for due tasks, so that a look is cheap. Pure.
//!
//! A whole look sees every source from its beginning: those that have something each by itself, all the quiet ones
//! together, by one query that stops at the first task of any of them, which has that source looked at by itself from
//! then on.
//!
//! Whoever looks from the beginning passes the dead index entries of all that was claimed (see [`look`]). While they are
//! many, whole looks are rare: all workers' together take a small part of the time. In between, quick looks see what was
//! enqueued meanwhile, by the primary key, and what is known to be there and wasn't claimed. What becomes due otherwise
//! then waits for the next whole look: a retry, what was given back, what a transaction that took longer than a second
//! has enqueued.
//!
//! [`look`]: super::store::look

use std::time::{Duration, Instant};

use super::store::look::{Found, Part, Place, View};

/// From one whole look to the next, this many times as long as it took.
const WHOLE_SHARE: u32 = 20;
/// Where a whole look takes less, every look is one.
const CHEAP: Duration = Duration::from_millis(5);
/// Ids are given away before their rows can be seen, and rows are seen in another order: a quick look begins at the
/// newest id of so long ago.
const UNSEEN: Duration = Duration::from_secs(1);
/// At first nobody knows what that was: so many ids less than the newest.
const UNSEEN_FIRST: u64 = 1000;

#[derive(Debug)]
pub struct Outlook {
    sources: Vec<Sight>,
    /// When the next whole look may be; any time, where there is none.
    whole_at: Option<Instant>,
    /// The next whole look is at all sources by themselves: several that were quiet may have something.
    all_alone: bool,
    newest: Newest,
}

/// What is known of a source.
#[derive(Debug, Clone, Default)]
struct Sight {
    /// It had something at the last look.
    busy: bool,
    /// What it has isn't due yet.
    waits: bool,
    /// It had as much as was wanted at the last claim, so there is likely more.
    deep: bool,
    /// Where something is.
    next: Option<Known>,
    /// Something before that was left to others.
    skipped: bool,
}

/// Tasks that are there from a place on.
#[derive(Debug, Clone)]
struct Known {
    from: Place,
    /// How many, where there are no more; a look that asks for more than there are is dear.
    count: Option<usize>,
}

/// What a worker would take of a source.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    pub count: usize,
    /// So many of the first are left to others, where there are many.
    pub skip: usize,
}

/// The newest ids, now and a while ago.
#[derive(Debug, Default)]
struct Newest {
    before: u64,
    then: Option<(Instant, u64)>,
}

impl Outlook {
    pub fn new(sources: usize) -> Self {
        Self { sources: vec![Sight::default(); sources], whole_at: None, all_alone: false, newest: Newest::default() }
    }

    /// What to look at, by what is wanted of each source; with `look_back` something is known to have become due that
    /// wasn't enqueued.
    pub fn view(&self, now: Instant, look_back: bool, want: impl Fn(usize) -> Want) -> View {
        let sights = self.sources.iter().enumerate();
        if look_back || self.whole_at.is_none_or(|at| now >= at) {
            let (alone, together): (Vec<_>, Vec<_>) = sights.partition(|(_, sight)| sight.busy || self.all_alone);
            let part = |(source, sight): (usize, &Sight)| {
                let Want { count, skip } = want(source);
                // One is enough to learn when the first is due, and to begin where there are many.
                let limit = if sight.waits || sight.deep { 1 } else { count + 1 };
                Part { source, limit, from: None, skip: if sight.deep { skip } else { 0 } }
            };
            return View {
                alone: alone.into_iter().map(part).collect(),
                together: together.into_iter().map(|(source, _)| source).collect(),
                behind: None,
            };
        }
        let known = sights.filter_map(|(source, sight)| {
            let Known { from, count } = sight.next.clone()?;
            let limit = (want(source).count + 1).min(count.unwrap_or(usize::MAX));
            Some(Part { source, limit: if sight.deep { 1 } else { limit }, from: Some(from), skip: 0 })
        });
        View { alone: known.collect(), together: Vec::new(), behind: Some(self.newest.before) }
    }

    /// What a look has found, and how long it took; so many `workers` look. Returns whether it is to be looked again at
    /// once, since there may be more.
    pub fn end(&mut self, view: &View, found: &Found, took: Duration, now: Instant, workers: u32) -> bool {
        let whole = view.behind.is_none();
        if whole {
            self.all_alone = took >= CHEAP && found.woken.is_some();
            let rare = took >= CHEAP && !self.all_alone;
            self.whole_at = rare.then(|| now + took.saturating_mul(WHOLE_SHARE.saturating_mul(workers)));
        }
        self.newest.end(found.newest, now);
        if let Some(last) = found.behind_end {
            self.newest.before = last;
        }
        let mut again = found.woken.is_some();
        if let Some(source) = found.woken {
            self.sources[source].busy = true;
        }
        for part in view.alone.iter().filter(|part| found.heads.iter().all(|head| head.source != part.source)) {
            let sight = &mut self.sources[part.source];
            if part.skip > 0 || sight.skipped {
                // Those that were left to others may still be there.
                again = true;
                self.whole_at = None;
            }
            *sight = Sight { busy: sight.busy && (!whole || part.skip > 0), ..Sight::default() };
        }
        for head in &found.heads {
            let part = view.alone.iter().find(|part| part.source == head.source);
            let skipped = part.is_some_and(|part| part.skip > 0);
            let sight = &mut self.sources[head.source];
            let seen = head.due.len() + usize::from(head.ahead.is_some());
            let known = sight.next.as_ref().and_then(|known| known.count).filter(|_| !whole);
            // Asked for as many as were known, there are as many; what is new was seen as well.
            let all = part.is_none_or(|part| seen < part.limit || known.is_some_and(|known| part.limit >= known));
            let waits = head.due.is_empty();
            again |= sight.waits && !waits && whole;
            let ahead = head.ahead.as_ref().map(|(place, _)| place);
            let count = if waits { Some(1) } else { Some(head.due.len()).filter(|_| all) };
            *sight = Sight {
                busy: true,
                waits,
                deep: sight.deep && !waits,
                next: head.due.first().or(ahead).map(|place| Known { from: place.clone(), count }),
                skipped: skipped || sight.skipped && !whole,
            };
        }
        again
    }

    /// Whether there is likely more of a source than was found.
    pub fn is_deep(&self, source: usize) -> bool {
        self.sources[source].deep
    }

    /// The first `count` of those that were `due` were claimed, by this worker or another.
    pub fn claimed(&mut self, source: usize, due: &[Place], count: usize) {
        let all = self.sources[source].next.as_ref().is_some_and(|known| known.count.is_some());
        let rest = due.get(count..).unwrap_or_default();
        let next = match (rest.first(), due.last()) {
            (Some(from), _) => Some(Known { from: from.clone(), count: all.then_some(rest.len()) }),
            (None, Some(last)) if !all => Some(Known { from: last.next(), count: None }),
            _ => None,
        };
        self.go_on(source, next, false);
    }

    /// As many as were wanted were claimed, so there are likely more from `next` on.
    pub fn claimed_whole(&mut self, source: usize, next: Place) {
        self.go_on(source, Some(Known { from: next, count: None }), true);
    }

    /// Less was claimed than was wanted. Where that was since no more may run at once, there may be more from `next` on.
    pub fn claimed_less(&mut self, source: usize, next: Option<Place>) {
        self.go_on(source, next.map(|from| Known { from, count: None }), false);
    }

    fn go_on(&mut self, source: usize, next: Option<Known>, deep: bool) {
        let sight = &mut self.sources[source];
        if next.is_none() && std::mem::take(&mut sight.skipped) {
            self.whole_at = None;
        }
        (sight.next, sight.deep) = (next, deep);
    }

    /// A source is paused: what it has is no matter until a whole look finds it again.
    pub fn paused(&mut self, source: usize) {
        self.sources[source].next = None;
    }

    /// When the next whole look may be, where that isn't at any time.
    pub fn whole_at(&self) -> Option<Instant> {
        self.whole_at
    }
}

impl Newest {
    fn end(&mut self, newest: u64, now: Instant) {
        match self.then {
            Some((at, id)) if now - at >= UNSEEN => {
                self.before = self.before.max(id);
                self.then = Some((now, newest));
            }
            Some(_) => {}
            None => {
                self.before = newest.saturating_sub(UNSEEN_FIRST);
                self.then = Some((now, newest));
            }
        }
        // The table was emptied, and counts anew.
        self.before = self.before.min(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::look::Head;
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const DEAR: Duration = Duration::from_millis(100);

    fn place(id: u64) -> Place {
        Place { due_at: "5".to_owned(), id }
    }

    fn head(source: usize, due: &[u64]) -> Head {
        let ahead = due.is_empty().then(|| (place(99), 1000));
        Head { source, due: due.iter().copied().map(place).collect(), waited_micros: 0, ahead }
    }

    fn part(source: usize, limit: usize, from: Option<Place>) -> Part {
        Part { source, limit, from, skip: 0 }
    }

    fn found(heads: &[Head]) -> Found {
        Found { heads: heads.to_vec(), newest: 2007, ..Found::default() }
    }

    /// Ten of the first source, eleven of the second, and so on.
    fn want(source: usize) -> Want {
        Want { count: 10 + source, skip: 0 }
    }

    /// A look at `outlook` that finds `found`.
    fn look(outlook: &mut Outlook, found: &Found, took: Duration, now: Instant) -> (View, bool) {
        let view = outlook.view(now, false, want);
        let again = outlook.end(&view, found, took, now, 1);
        (view, again)
    }

    #[test]
    fn a_source_is_quiet_until_something_is_found_there() {
        let (mut outlook, now) = (Outlook::new(3), Instant::now());
        let (view, again) = look(&mut outlook, &Found { woken: Some(1), ..Found::default() }, QUICK, now);
        assert_eq!((view.alone, view.together, again), (vec![], vec![0, 1, 2], true));
        let (view, again) = look(&mut outlook, &found(&[head(1, &[4])]), QUICK, now);
        assert_eq!((view.alone, view.together, again), (vec![part(1, 12, None)], vec![0, 2], false));
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now);
        assert_eq!(view.alone, [part(1, 12, None)]);
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now);
        assert_eq!((view.alone, view.together), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn of_what_waits_and_of_what_is_deep_one_is_enough() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        look(&mut outlook, &found(&[head(0, &[])]), QUICK, now);
        let (view, again) = look(&mut outlook, &found(&[head(0, &[4])]), QUICK, now);
        assert_eq!((view.together, view.alone, again), (vec![], vec![part(0, 1, None)], true));
        let (view, again) = look(&mut outlook, &found(&[head(0, &[4, 5, 6])]), QUICK, now);
        assert_eq!((view.alone, again), (vec![part(0, 11, None)], false));
        outlook.claimed_whole(0, place(7));
        let (view, again) = look(&mut outlook, &found(&[head(0, &[7])]), QUICK, now);
        assert_eq!((view.alone, again, outlook.is_deep(0)), (vec![part(0, 1, None)], false, true));
        outlook.claimed_less(0, None);
        assert_eq!(outlook.view(now, false, want).alone, [part(0, 11, None)]);
    }

    #[test]
    fn where_many_are_due_the_first_are_left_to_others() {
        let (mut outlook, now) = (Outlook::new(2), Instant::now());
        let skipping = |source| Want { skip: 500, ..want(source) };
        look(&mut outlook, &found(&[head(0, &[4]), head(1, &[5])]), QUICK, now);
        outlook.claimed_whole(0, place(7));
        let view = outlook.view(now, false, skipping);
        assert_eq!(view.alone, [Part { skip: 500, ..part(0, 1, None) }, part(1, 12, None)]);
        // There are none behind those: so they are looked at.
        assert!(outlook.end(&view, &found(&[head(1, &[5])]), DEAR, now, 1));
        assert_eq!(outlook.view(now, false, skipping).alone, [part(0, 11, None), part(1, 12, None)]);
    }

    #[test]
    fn what_was_left_to_others_is_looked_at_when_nothing_else_is_left() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        look(&mut outlook, &found(&[head(0, &[4])]), QUICK, now);
        outlook.claimed_whole(0, place(7));
        let view = outlook.view(now, false, |_| Want { count: 1, skip: 500 });
        outlook.end(&view, &found(&[head(0, &[600])]), DEAR, now, 1);
        outlook.claimed_whole(0, place(601));
        let (view, _) = look(&mut outlook, &found(&[head(0, &[601])]), QUICK, now);
        assert_eq!(view.alone, [part(0, 1, Some(place(601)))]);
        outlook.claimed_less(0, None);
        assert_eq!(outlook.view(now, false, want).behind, None);
    }

    #[test]
    fn whole_looks_that_are_dear_are_rare() {
        let (mut outlook, now) = (Outlook::new(2), Instant::now());
        look(&mut outlook, &found(&[]), DEAR, now);
        assert_eq!(outlook.whole_at(), Some(now + DEAR * WHOLE_SHARE));
        let (view, _) = look(&mut outlook, &found(&[head(1, &[8, 9])]), QUICK, now + DEAR);
        assert_eq!(view, View { behind: Some(1007), ..View::default() });
        // What was found and not claimed is looked at again, and what comes behind what was claimed; no more than that.
        let (view, _) = look(&mut outlook, &found(&[head(1, &[8, 9])]), QUICK, now + DEAR);
        assert_eq!((view.alone, view.behind), (vec![part(1, 2, Some(place(8)))], Some(1007)));
        outlook.claimed(1, &[place(8), place(9)], 1);
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now + DEAR);
        assert_eq!((view.alone, view.behind), (vec![part(1, 1, Some(place(9)))], Some(1007)));
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now + DEAR);
        assert_eq!((view.alone, view.behind), (vec![], Some(1007)));
        // Whatever was seen meanwhile is looked at by itself.
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now + DEAR * WHOLE_SHARE);
        assert_eq!((view.alone, view.together, view.behind), (vec![part(1, 12, None)], vec![0], None));
        assert_eq!(outlook.whole_at(), None);
    }

    #[test]
    fn where_less_was_asked_for_than_there_may_be_it_goes_on_behind_that() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        let two = |_| Want { count: 2, skip: 0 };
        let first = Found { woken: Some(0), ..Found::default() };
        outlook.end(&outlook.view(now, false, two), &first, DEAR, now, 1);
        let three = [4, 5, 6].map(place);
        outlook.end(&outlook.view(now, false, two), &found(&[head(0, &[4, 5, 6])]), DEAR, now, 1);
        outlook.claimed(0, &three, 3);
        assert_eq!(outlook.view(now, false, want).alone, [part(0, 11, Some(place(7)))]);
        outlook.claimed_less(0, Some(place(6)));
        assert_eq!(outlook.view(now, false, two).alone, [part(0, 3, Some(place(6)))]);
        // Two are there, and no more.
        outlook.end(&outlook.view(now, false, two), &found(&[head(0, &[6, 7])]), DEAR, now, 1);
        assert_eq!(outlook.view(now, false, want).alone, [part(0, 2, Some(place(6)))]);
        outlook.claimed(0, &[place(6), place(7)], 2);
        assert_eq!(outlook.view(now, false, want).alone, []);
    }

    #[test]
    fn a_dear_look_that_wakes_one_is_followed_by_one_at_all() {
        let (mut outlook, now) = (Outlook::new(3), Instant::now());
        let (_, again) = look(&mut outlook, &Found { woken: Some(1), ..Found::default() }, DEAR, now);
        assert!(again);
        let (view, _) = look(&mut outlook, &found(&[head(0, &[4]), head(1, &[])]), DEAR, now);
        assert_eq!(view.alone, [part(0, 11, None), part(1, 12, None), part(2, 13, None)]);
        // What isn't due yet is known by then.
        let (view, _) = look(&mut outlook, &found(&[]), QUICK, now);
        assert_eq!(view.alone, [part(0, 1, Some(place(4))), part(1, 1, Some(place(99)))]);
    }

    #[test]
    fn a_whole_look_comes_at_once_where_a_quick_one_would_miss_something() {
        let (mut outlook, now) = (Outlook::new(1), Instant::now());
        look(&mut outlook, &found(&[]), DEAR, now);
        assert_eq!(outlook.view(now, true, want).behind, None);
        assert_eq!(outlook.view(now, false, want).behind, Some(1007));
        // More than one looks at together: the next look goes on behind them.
        look(&mut outlook, &Found { behind_end: Some(1500), ..found(&[]) }, QUICK, now);
        assert_eq!(outlook.view(now, false, want).behind, Some(1500));
    }

    #[test]
    fn a_quick_look_begins_at_an_id_of_a_while_ago() {
        let mut newest = Newest::default();
        let now = Instant::now();
        let mut after = |millis, id| {
            newest.end(id, now + Duration::from_millis(millis));
            newest.before
        };
        assert_eq!([after(0, 1010), after(500, 1020), after(1000, 1030)], [10, 10, 1010]);
        assert_eq!([after(1900, 1040), after(2000, 1050), after(3000, 1060)], [1010, 1030, 1050]);
        assert_eq!(after(3100, 3), 3);
    }
}
