//! Where to look for due tasks, so that a look is cheap. Pure.
//!
//! A whole look sees every class from its beginning: those that have something each by itself, all the quiet ones
//! together, by one query that stops at the first task of any of them, which has that class looked at by itself from
//! then on.
//!
//! Whoever looks from the beginning passes the dead index entries of all that was claimed (see [`look`]). While they are
//! many, whole looks are rare: all workers' together take a small part of the time. In between, quick looks see what was
//! enqueued meanwhile, by the primary key, and what is known to be there and wasn't claimed. What becomes due otherwise
//! then waits for the next whole look: a retry, what was given back, what a transaction that took longer than a second
//! has enqueued.
//!
//! [`look`]: super::store::poll

use std::time::{Duration, Instant};

use super::store::poll::{ClassQuery, Cursor, PollRequest, PollResult};

/// From one whole look to the next, this many times as long as it took.
const FULL_SCAN_COST_FACTOR: u32 = 20;
/// Where a whole look takes less, every look is one.
const CHEAP_SCAN: Duration = Duration::from_millis(5);
/// Ids are given away before their rows can be seen, and rows are seen in another order: a quick look begins at the
/// newest id of so long ago.
const UNSEEN: Duration = Duration::from_secs(1);
/// At first nobody knows what that was: so many ids less than the newest.
const UNSEEN_FIRST: u64 = 1000;

#[derive(Debug)]
pub struct PollPlanner {
    classes: Vec<ClassState>,
    /// When the next whole look may be; any time, where there is none.
    full_scan_at: Option<Instant>,
    /// The next whole look is at all classes by themselves: several that were quiet may have something.
    all_alone: bool,
    newest: Newest,
}

/// What is known of a class.
#[derive(Debug, Clone, Default)]
struct ClassState {
    /// It had something at the last look.
    busy: bool,
    /// What it has isn't due yet.
    waits: bool,
    /// It had as much as was wanted at the last claim, so there is likely more.
    backlogged: bool,
    /// Where something is.
    next: Option<Resume>,
    /// Something before that was left to others.
    skipped: bool,
}

/// Tasks that are there from a place on.
#[derive(Debug, Clone)]
struct Resume {
    from: Cursor,
    /// How many, where there are no more; a look that asks for more than there are is dear.
    count: Option<usize>,
}

/// What a worker would take of a class.
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

impl PollPlanner {
    pub fn new(classes: usize) -> Self {
        Self {
            classes: vec![ClassState::default(); classes],
            full_scan_at: None,
            all_alone: false,
            newest: Newest::default(),
        }
    }

    /// What to look at, by what is wanted of each class; with `look_back` something is known to have become due that
    /// wasn't enqueued.
    pub fn plan_poll(&self, now: Instant, look_back: bool, want: impl Fn(usize) -> Want) -> PollRequest {
        let states = self.classes.iter().enumerate();
        if look_back || self.full_scan_at.is_none_or(|at| now >= at) {
            let (alone, together): (Vec<_>, Vec<_>) = states.partition(|(_, states)| states.busy || self.all_alone);
            let part = |(class, states): (usize, &ClassState)| {
                let Want { count, skip } = want(class);
                // One is enough to learn when the first is due, and to begin where there are many.
                let limit = if states.waits || states.backlogged { 1 } else { count + 1 };
                ClassQuery { class, limit, from: None, skip: if states.backlogged { skip } else { 0 } }
            };
            return PollRequest {
                alone: alone.into_iter().map(part).collect(),
                together: together.into_iter().map(|(class, _)| class).collect(),
                newer_than: None,
            };
        }
        let known = states.filter_map(|(class, states)| {
            let Resume { from, count } = states.next.clone()?;
            let limit = (want(class).count + 1).min(count.unwrap_or(usize::MAX));
            Some(ClassQuery { class, limit: if states.backlogged { 1 } else { limit }, from: Some(from), skip: 0 })
        });
        PollRequest { alone: known.collect(), together: Vec::new(), newer_than: Some(self.newest.before) }
    }

    /// What a look has found, and how long it took; so many `workers` look. Returns whether it is to be looked again at
    /// once, since there may be more.
    pub fn record_poll(
        &mut self,
        request: &PollRequest,
        result: &PollResult,
        took: Duration,
        now: Instant,
        workers: u32,
    ) -> bool {
        let whole = request.newer_than.is_none();
        if whole {
            self.all_alone = took >= CHEAP_SCAN && result.woken.is_some();
            let rare = took >= CHEAP_SCAN && !self.all_alone;
            self.full_scan_at = rare.then(|| now + took.saturating_mul(FULL_SCAN_COST_FACTOR.saturating_mul(workers)));
        }
        self.newest.end(result.newest, now);
        if let Some(last) = result.newer_end {
            self.newest.before = last;
        }
        let mut again = result.woken.is_some();
        if let Some(class) = result.woken {
            self.classes[class].busy = true;
        }
        for part in request.alone.iter().filter(|part| result.heads.iter().all(|head| head.class != part.class)) {
            let states = &mut self.classes[part.class];
            if part.skip > 0 || states.skipped {
                // Those that were left to others may still be there.
                again = true;
                self.full_scan_at = None;
            }
            *states = ClassState { busy: states.busy && (!whole || part.skip > 0), ..ClassState::default() };
        }
        for head in &result.heads {
            let part = request.alone.iter().find(|part| part.class == head.class);
            let skipped = part.is_some_and(|part| part.skip > 0);
            let states = &mut self.classes[head.class];
            let seen = head.due.len() + usize::from(head.ahead.is_some());
            let known = states.next.as_ref().and_then(|known| known.count).filter(|_| !whole);
            // Asked for as many as were known, there are as many; what is new was seen as well.
            let all = part.is_none_or(|part| seen < part.limit || known.is_some_and(|known| part.limit >= known));
            let waits = head.due.is_empty();
            again |= states.waits && !waits && whole;
            let ahead = head.ahead.as_ref().map(|(place, _)| place);
            let count = if waits { Some(1) } else { Some(head.due.len()).filter(|_| all) };
            *states = ClassState {
                busy: true,
                waits,
                backlogged: states.backlogged && !waits,
                next: head.due.first().or(ahead).map(|place| Resume { from: place.clone(), count }),
                skipped: skipped || states.skipped && !whole,
            };
        }
        again
    }

    /// Whether there is likely more of a class than was found.
    pub fn is_backlogged(&self, class: usize) -> bool {
        self.classes[class].backlogged
    }

    /// The first `count` of those that were `due` were claimed, by this worker or another.
    pub fn claimed(&mut self, class: usize, due: &[Cursor], count: usize) {
        let all = self.classes[class].next.as_ref().is_some_and(|known| known.count.is_some());
        let rest = due.get(count..).unwrap_or_default();
        let next = match (rest.first(), due.last()) {
            (Some(from), _) => Some(Resume { from: from.clone(), count: all.then_some(rest.len()) }),
            (None, Some(last)) if !all => Some(Resume { from: last.next(), count: None }),
            _ => None,
        };
        self.go_on(class, next, false);
    }

    /// As many as were wanted were claimed, so there are likely more from `next` on.
    pub fn claimed_whole(&mut self, class: usize, next: Cursor) {
        self.go_on(class, Some(Resume { from: next, count: None }), true);
    }

    /// Less was claimed than was wanted. Where that was since no more may run at once, there may be more from `next` on.
    pub fn claimed_less(&mut self, class: usize, next: Option<Cursor>) {
        self.go_on(class, next.map(|from| Resume { from, count: None }), false);
    }

    fn go_on(&mut self, class: usize, next: Option<Resume>, backlogged: bool) {
        let states = &mut self.classes[class];
        if next.is_none() && std::mem::take(&mut states.skipped) {
            self.full_scan_at = None;
        }
        (states.next, states.backlogged) = (next, backlogged);
    }

    /// A class is paused: what it has is no matter until a whole look finds it again.
    pub fn paused(&mut self, class: usize) {
        self.classes[class].next = None;
    }

    /// When the next whole look may be, where that isn't at any time.
    pub fn full_scan_at(&self) -> Option<Instant> {
        self.full_scan_at
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
    use super::super::store::poll::DueTasks;
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const DEAR: Duration = Duration::from_millis(100);

    fn place(id: u64) -> Cursor {
        Cursor { next_action_at: "5".to_owned(), id }
    }

    fn head(class: usize, due: &[u64]) -> DueTasks {
        let ahead = due.is_empty().then(|| (place(99), 1000));
        DueTasks { class, due: due.iter().copied().map(place).collect(), waited_micros: 0, ahead }
    }

    fn part(class: usize, limit: usize, from: Option<Cursor>) -> ClassQuery {
        ClassQuery { class, limit, from, skip: 0 }
    }

    fn result(heads: &[DueTasks]) -> PollResult {
        PollResult { heads: heads.to_vec(), newest: 2007, ..PollResult::default() }
    }

    /// Ten of the first class, eleven of the second, and so on.
    fn want(class: usize) -> Want {
        Want { count: 10 + class, skip: 0 }
    }

    /// A look at `planner` that finds `found`.
    fn look(planner: &mut PollPlanner, result: &PollResult, took: Duration, now: Instant) -> (PollRequest, bool) {
        let request = planner.plan_poll(now, false, want);
        let again = planner.record_poll(&request, result, took, now, 1);
        (request, again)
    }

    #[test]
    fn a_source_is_quiet_until_something_is_found_there() {
        let (mut planner, now) = (PollPlanner::new(3), Instant::now());
        let (request, again) = look(&mut planner, &PollResult { woken: Some(1), ..PollResult::default() }, QUICK, now);
        assert_eq!((request.alone, request.together, again), (vec![], vec![0, 1, 2], true));
        let (request, again) = look(&mut planner, &result(&[head(1, &[4])]), QUICK, now);
        assert_eq!((request.alone, request.together, again), (vec![part(1, 12, None)], vec![0, 2], false));
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now);
        assert_eq!(request.alone, [part(1, 12, None)]);
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now);
        assert_eq!((request.alone, request.together), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn of_what_waits_and_of_what_is_deep_one_is_enough() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        look(&mut planner, &result(&[head(0, &[])]), QUICK, now);
        let (request, again) = look(&mut planner, &result(&[head(0, &[4])]), QUICK, now);
        assert_eq!((request.together, request.alone, again), (vec![], vec![part(0, 1, None)], true));
        let (request, again) = look(&mut planner, &result(&[head(0, &[4, 5, 6])]), QUICK, now);
        assert_eq!((request.alone, again), (vec![part(0, 11, None)], false));
        planner.claimed_whole(0, place(7));
        let (request, again) = look(&mut planner, &result(&[head(0, &[7])]), QUICK, now);
        assert_eq!((request.alone, again, planner.is_backlogged(0)), (vec![part(0, 1, None)], false, true));
        planner.claimed_less(0, None);
        assert_eq!(planner.plan_poll(now, false, want).alone, [part(0, 11, None)]);
    }

    #[test]
    fn where_many_are_due_the_first_are_left_to_others() {
        let (mut planner, now) = (PollPlanner::new(2), Instant::now());
        let skipping = |class| Want { skip: 500, ..want(class) };
        look(&mut planner, &result(&[head(0, &[4]), head(1, &[5])]), QUICK, now);
        planner.claimed_whole(0, place(7));
        let request = planner.plan_poll(now, false, skipping);
        assert_eq!(request.alone, [ClassQuery { skip: 500, ..part(0, 1, None) }, part(1, 12, None)]);
        // There are none behind those: so they are looked at.
        assert!(planner.record_poll(&request, &result(&[head(1, &[5])]), DEAR, now, 1));
        assert_eq!(planner.plan_poll(now, false, skipping).alone, [part(0, 11, None), part(1, 12, None)]);
    }

    #[test]
    fn what_was_left_to_others_is_looked_at_when_nothing_else_is_left() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        look(&mut planner, &result(&[head(0, &[4])]), QUICK, now);
        planner.claimed_whole(0, place(7));
        let request = planner.plan_poll(now, false, |_| Want { count: 1, skip: 500 });
        planner.record_poll(&request, &result(&[head(0, &[600])]), DEAR, now, 1);
        planner.claimed_whole(0, place(601));
        let (request, _) = look(&mut planner, &result(&[head(0, &[601])]), QUICK, now);
        assert_eq!(request.alone, [part(0, 1, Some(place(601)))]);
        planner.claimed_less(0, None);
        assert_eq!(planner.plan_poll(now, false, want).newer_than, None);
    }

    #[test]
    fn whole_looks_that_are_dear_are_rare() {
        let (mut planner, now) = (PollPlanner::new(2), Instant::now());
        look(&mut planner, &result(&[]), DEAR, now);
        assert_eq!(planner.full_scan_at(), Some(now + DEAR * FULL_SCAN_COST_FACTOR));
        let (request, _) = look(&mut planner, &result(&[head(1, &[8, 9])]), QUICK, now + DEAR);
        assert_eq!(request, PollRequest { newer_than: Some(1007), ..PollRequest::default() });
        // What was found and not claimed is looked at again, and what comes behind what was claimed; no more than that.
        let (request, _) = look(&mut planner, &result(&[head(1, &[8, 9])]), QUICK, now + DEAR);
        assert_eq!((request.alone, request.newer_than), (vec![part(1, 2, Some(place(8)))], Some(1007)));
        planner.claimed(1, &[place(8), place(9)], 1);
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now + DEAR);
        assert_eq!((request.alone, request.newer_than), (vec![part(1, 1, Some(place(9)))], Some(1007)));
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now + DEAR);
        assert_eq!((request.alone, request.newer_than), (vec![], Some(1007)));
        // Whatever was seen meanwhile is looked at by itself.
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now + DEAR * FULL_SCAN_COST_FACTOR);
        assert_eq!((request.alone, request.together, request.newer_than), (vec![part(1, 12, None)], vec![0], None));
        assert_eq!(planner.full_scan_at(), None);
    }

    #[test]
    fn where_less_was_asked_for_than_there_may_be_it_goes_on_behind_that() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        let two = |_| Want { count: 2, skip: 0 };
        let first = PollResult { woken: Some(0), ..PollResult::default() };
        planner.record_poll(&planner.plan_poll(now, false, two), &first, DEAR, now, 1);
        let three = [4, 5, 6].map(place);
        planner.record_poll(&planner.plan_poll(now, false, two), &result(&[head(0, &[4, 5, 6])]), DEAR, now, 1);
        planner.claimed(0, &three, 3);
        assert_eq!(planner.plan_poll(now, false, want).alone, [part(0, 11, Some(place(7)))]);
        planner.claimed_less(0, Some(place(6)));
        assert_eq!(planner.plan_poll(now, false, two).alone, [part(0, 3, Some(place(6)))]);
        // Two are there, and no more.
        planner.record_poll(&planner.plan_poll(now, false, two), &result(&[head(0, &[6, 7])]), DEAR, now, 1);
        assert_eq!(planner.plan_poll(now, false, want).alone, [part(0, 2, Some(place(6)))]);
        planner.claimed(0, &[place(6), place(7)], 2);
        assert_eq!(planner.plan_poll(now, false, want).alone, []);
    }

    #[test]
    fn a_dear_look_that_wakes_one_is_followed_by_one_at_all() {
        let (mut planner, now) = (PollPlanner::new(3), Instant::now());
        let (_, again) = look(&mut planner, &PollResult { woken: Some(1), ..PollResult::default() }, DEAR, now);
        assert!(again);
        let (request, _) = look(&mut planner, &result(&[head(0, &[4]), head(1, &[])]), DEAR, now);
        assert_eq!(request.alone, [part(0, 11, None), part(1, 12, None), part(2, 13, None)]);
        // What isn't due yet is known by then.
        let (request, _) = look(&mut planner, &result(&[]), QUICK, now);
        assert_eq!(request.alone, [part(0, 1, Some(place(4))), part(1, 1, Some(place(99)))]);
    }

    #[test]
    fn a_whole_look_comes_at_once_where_a_quick_one_would_miss_something() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        look(&mut planner, &result(&[]), DEAR, now);
        assert_eq!(planner.plan_poll(now, true, want).newer_than, None);
        assert_eq!(planner.plan_poll(now, false, want).newer_than, Some(1007));
        // More than one looks at together: the next look goes on behind them.
        look(&mut planner, &PollResult { newer_end: Some(1500), ..result(&[]) }, QUICK, now);
        assert_eq!(planner.plan_poll(now, false, want).newer_than, Some(1500));
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
