//! Decides what to poll, so that a poll is cheap. Pure.
//!
//! A full scan reads every class from its beginning. Busy classes, which had tasks at the last poll, have a query each.
//! One query covers all quiet ones and stops at the first task of any of them; that class is busy from then on.
//!
//! A full scan also reads the index entries of all tasks that were claimed and that the server has not purged yet (see
//! [`poll`]). While that is expensive, full scans run rarely, so that those of all workers together take only a small
//! part of the time. Between two full scans, an incremental scan reads newly enqueued tasks by primary key, and in each
//! class the tasks that are known to remain from earlier polls. All other tasks wait for the next full scan: retries,
//! delayed tasks, tasks that another worker released, and tasks of a transaction that took more than a second to
//! commit.
//!
//! [`poll`]: super::store::poll

use std::time::{Duration, Instant};

use super::store::Cursor;
use super::store::poll::{ClassQuery, PollRequest, PollResult};

/// After an expensive full scan the next one waits this many times as long as it took, times the number of workers.
const FULL_SCAN_COST_FACTOR: u32 = 20;
/// A full scan that takes less is cheap, and every poll may be one.
const CHEAP_SCAN: Duration = Duration::from_millis(5);
/// An id is assigned before its row can be seen, and rows become visible in another order. So an incremental scan starts
/// after the id that was the newest this long ago.
const VISIBILITY_DELAY: Duration = Duration::from_secs(1);
/// Until that id is known, an incremental scan starts this many ids before the newest.
const FIRST_ID_MARGIN: u64 = 1000;

#[derive(Debug)]
pub struct PollPlanner {
    classes: Vec<ClassState>,
    /// When the next full scan may run; `None` if every poll may be one.
    pub full_scan_at: Option<Instant>,
    newest: NewestIds,
}

/// Knowledge about a class.
#[derive(Debug, Clone, Default)]
struct ClassState {
    /// The class had tasks at the last poll.
    busy: bool,
    /// None of its tasks is due yet.
    waiting: bool,
    /// The last claim got as many tasks as were wanted, so there are probably more.
    backlogged: bool,
    /// The start of its remaining tasks, if it is known to have any.
    resume: Option<Resume>,
}

/// Tasks that are known to exist.
#[derive(Debug, Clone)]
struct Resume {
    from: Cursor,
    /// Their number, if that is known exactly. A query that asks for more tasks than exist is expensive.
    count: Option<usize>,
}

/// The newest ids, now and a while ago.
#[derive(Debug, Default)]
struct NewestIds {
    /// The incremental scan reads ids greater than this.
    floor: u64,
    /// The newest id at a time, which becomes the floor after [`VISIBILITY_DELAY`].
    next_floor: Option<(Instant, u64)>,
}

impl PollPlanner {
    pub fn new(classes: usize) -> Self {
        Self { classes: vec![ClassState::default(); classes], full_scan_at: None, newest: NewestIds::default() }
    }

    /// Plans a poll. `limit` is the number of tasks that the worker would claim of a class. `rescan` is true if tasks are
    /// known to have become due in another way than by being enqueued.
    pub fn plan_poll(&self, now: Instant, rescan: bool, limit: impl Fn(usize) -> usize) -> PollRequest {
        if rescan || self.full_scan_at.is_none_or(|at| now >= at) {
            self.plan_full_scan(limit)
        } else {
            self.plan_incremental_scan(limit)
        }
    }

    fn plan_full_scan(&self, limit: impl Fn(usize) -> usize) -> PollRequest {
        let (busy, quiet): (Vec<_>, Vec<_>) = self.classes.iter().enumerate().partition(|(_, state)| state.busy);
        let query = |(class, state): (usize, &ClassState)| {
            // One task is enough to learn when it is due, or where a backlog starts.
            let limit = if state.waiting || state.backlogged { 1 } else { limit(class) + 1 };
            ClassQuery { class, limit, from: None }
        };
        PollRequest {
            alone: busy.into_iter().map(query).collect(),
            together: quiet.into_iter().map(|(class, _)| class).collect(),
            newer_than: None,
        }
    }

    fn plan_incremental_scan(&self, limit: impl Fn(usize) -> usize) -> PollRequest {
        let queries = self.classes.iter().enumerate().filter_map(|(class, state)| {
            let Resume { from, count } = state.resume.clone()?;
            let limit = if state.backlogged { 1 } else { (limit(class) + 1).min(count.unwrap_or(usize::MAX)) };
            Some(ClassQuery { class, limit, from: Some(from) })
        });
        PollRequest { alone: queries.collect(), together: Vec::new(), newer_than: Some(self.newest.floor) }
    }

    /// Records the result of a poll of one of `workers`. Returns true if the worker should poll again immediately, because
    /// more tasks may be due.
    pub fn record_poll(
        &mut self,
        request: &PollRequest,
        result: &PollResult,
        elapsed: Duration,
        now: Instant,
        workers: u32,
    ) -> bool {
        let is_full = request.newer_than.is_none();
        if is_full {
            self.schedule_full_scan(result.woken.is_some(), elapsed, now, workers);
        }
        self.newest.record(result.newest, now);
        if let Some(last) = result.newer_end {
            self.newest.floor = last;
        }
        if let Some(class) = result.woken {
            self.classes[class].busy = true;
        }
        for query in request.alone.iter().filter(|query| result.heads.iter().all(|head| head.class != query.class)) {
            let state = &mut self.classes[query.class];
            *state = ClassState { busy: state.busy && !is_full, ..ClassState::default() };
        }
        let mut poll_again = result.woken.is_some();
        for head in &result.heads {
            let query = request.alone.iter().find(|query| query.class == head.class);
            let state = &mut self.classes[head.class];
            let waiting = head.due.is_empty();
            // Only the first task of the class was requested, and it has become due: there may be others.
            poll_again |= state.waiting && !waiting && is_full;
            let known = state.resume.as_ref().and_then(|resume| resume.count).filter(|_| !is_full);
            let found = head.due.len() + usize::from(head.ahead.is_some());
            // An incremental scan that asks for as many as were known to be left finds all, together with the new ones.
            let is_complete =
                query.is_none_or(|query| found < query.limit || known.is_some_and(|known| query.limit >= known));
            let ahead = head.ahead.as_ref().map(|(cursor, _)| cursor);
            let count = if waiting { Some(1) } else { Some(head.due.len()).filter(|_| is_complete) };
            *state = ClassState {
                busy: true,
                waiting,
                backlogged: state.backlogged && !waiting,
                resume: head.due.first().or(ahead).map(|from| Resume { from: from.clone(), count }),
            };
        }
        poll_again
    }

    fn schedule_full_scan(&mut self, has_woken: bool, elapsed: Duration, now: Instant, workers: u32) {
        let is_expensive = elapsed >= CHEAP_SCAN;
        if is_expensive && has_woken {
            // The scan stopped at one class, and others may have become busy as well. To find them one by one would take
            // an expensive scan each, so the next one gives each class its own query.
            self.classes.iter_mut().for_each(|state| state.busy = true);
        }
        let wait = elapsed.saturating_mul(FULL_SCAN_COST_FACTOR.saturating_mul(workers));
        self.full_scan_at = (is_expensive && !has_woken).then(|| now + wait);
    }

    /// True if the class probably has more tasks than were found.
    pub fn is_backlogged(&self, class: usize) -> bool {
        self.classes[class].backlogged
    }

    /// The first `count` of the tasks in `due` were claimed, by this worker or another.
    pub fn record_claim(&mut self, class: usize, due: &[Cursor], count: usize) {
        let is_complete = self.classes[class].resume.as_ref().is_some_and(|resume| resume.count.is_some());
        let rest = due.get(count..).unwrap_or_default();
        let resume = match (rest.first(), due.last()) {
            (Some(from), _) => Some(Resume { from: from.clone(), count: is_complete.then_some(rest.len()) }),
            (None, Some(last)) if !is_complete => Some(Resume { from: last.next(), count: None }),
            _ => None,
        };
        self.set_resume(class, resume, false);
    }

    /// Records that a claim got as many tasks as were wanted, so there are probably more from `next` on.
    pub fn record_full_claim(&mut self, class: usize, next: Cursor) {
        self.set_resume(class, Some(Resume { from: next, count: None }), true);
    }

    /// Records that a claim got fewer tasks than were wanted. `next` is given if the kind's concurrency limit is the
    /// reason, because there may be more tasks from there on.
    pub fn record_partial_claim(&mut self, class: usize, next: Option<Cursor>) {
        self.set_resume(class, next.map(|from| Resume { from, count: None }), false);
    }

    fn set_resume(&mut self, class: usize, resume: Option<Resume>, backlogged: bool) {
        let state = &mut self.classes[class];
        (state.resume, state.backlogged) = (resume, backlogged);
    }

    /// The class is paused. Its tasks are ignored until a full scan finds them again.
    pub fn record_paused(&mut self, class: usize) {
        self.classes[class].resume = None;
    }
}

impl NewestIds {
    fn record(&mut self, newest: u64, now: Instant) {
        match self.next_floor {
            Some((at, id)) if now - at >= VISIBILITY_DELAY => {
                self.floor = self.floor.max(id);
                self.next_floor = Some((now, newest));
            }
            Some(_) => {}
            None => {
                self.floor = newest.saturating_sub(FIRST_ID_MARGIN);
                self.next_floor = Some((now, newest));
            }
        }
        // The newest id can only decrease if the table was truncated.
        self.floor = self.floor.min(newest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::poll::DueTasks;
    use super::*;

    const CHEAP: Duration = Duration::from_millis(1);
    const EXPENSIVE: Duration = Duration::from_millis(100);

    fn cursor(id: u64) -> Cursor {
        Cursor { next_action_at: "5".to_owned(), id }
    }

    /// Tasks that are due; without any, one that isn't due yet.
    fn head(class: usize, due: &[u64]) -> DueTasks {
        let ahead = due.is_empty().then(|| (cursor(99), 1000));
        DueTasks { class, due: due.iter().copied().map(cursor).collect(), waited_micros: 0, ahead }
    }

    fn query(class: usize, limit: usize, from: Option<Cursor>) -> ClassQuery {
        ClassQuery { class, limit, from }
    }

    fn result(heads: &[DueTasks]) -> PollResult {
        PollResult { heads: heads.to_vec(), newest: 2007, ..PollResult::default() }
    }

    fn woken(class: usize) -> PollResult {
        PollResult { woken: Some(class), ..PollResult::default() }
    }

    /// Ten tasks of the first class, eleven of the second, and so on.
    fn limit(class: usize) -> usize {
        10 + class
    }

    /// Plans a poll and records `result` for it. Returns the request, and whether to poll again immediately.
    fn poll(planner: &mut PollPlanner, result: &PollResult, elapsed: Duration, now: Instant) -> (PollRequest, bool) {
        let request = planner.plan_poll(now, false, limit);
        let again = planner.record_poll(&request, result, elapsed, now, 1);
        (request, again)
    }

    #[test]
    fn a_class_is_quiet_until_a_task_is_found() {
        let (mut planner, now) = (PollPlanner::new(3), Instant::now());
        let (request, again) = poll(&mut planner, &woken(1), CHEAP, now);
        assert_eq!((request.alone, request.together, again), (vec![], vec![0, 1, 2], true));
        let (request, again) = poll(&mut planner, &result(&[head(1, &[4])]), CHEAP, now);
        assert_eq!((request.alone, request.together, again), (vec![query(1, 12, None)], vec![0, 2], false));
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now);
        assert_eq!(request.alone, [query(1, 12, None)]);
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now);
        assert_eq!((request.alone, request.together), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn one_task_of_a_waiting_or_backlogged_class_is_enough() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        poll(&mut planner, &result(&[head(0, &[])]), CHEAP, now);
        let (request, again) = poll(&mut planner, &result(&[head(0, &[4])]), CHEAP, now);
        assert_eq!((request.together, request.alone, again), (vec![], vec![query(0, 1, None)], true));
        let (request, again) = poll(&mut planner, &result(&[head(0, &[4, 5, 6])]), CHEAP, now);
        assert_eq!((request.alone, again), (vec![query(0, 11, None)], false));
        planner.record_full_claim(0, cursor(7));
        let (request, again) = poll(&mut planner, &result(&[head(0, &[7])]), CHEAP, now);
        assert_eq!((request.alone, again, planner.is_backlogged(0)), (vec![query(0, 1, None)], false, true));
        planner.record_partial_claim(0, None);
        assert_eq!(planner.plan_poll(now, false, limit).alone, [query(0, 11, None)]);
    }

    #[test]
    fn expensive_full_scans_run_rarely() {
        let (mut planner, now) = (PollPlanner::new(2), Instant::now());
        poll(&mut planner, &result(&[]), EXPENSIVE, now);
        assert_eq!(planner.full_scan_at, Some(now + EXPENSIVE * FULL_SCAN_COST_FACTOR));
        let (request, _) = poll(&mut planner, &result(&[head(1, &[8, 9])]), CHEAP, now + EXPENSIVE);
        assert_eq!(request, PollRequest { newer_than: Some(1007), ..PollRequest::default() });
        // Incremental scans read what was found and not claimed, but not beyond it.
        let (request, _) = poll(&mut planner, &result(&[head(1, &[8, 9])]), CHEAP, now + EXPENSIVE);
        assert_eq!((request.alone, request.newer_than), (vec![query(1, 2, Some(cursor(8)))], Some(1007)));
        planner.record_claim(1, &[cursor(8), cursor(9)], 1);
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now + EXPENSIVE);
        assert_eq!((request.alone, request.newer_than), (vec![query(1, 1, Some(cursor(9)))], Some(1007)));
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now + EXPENSIVE);
        assert_eq!((request.alone, request.newer_than), (vec![], Some(1007)));
        // The next full scan has a query for each class that was seen busy meanwhile.
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now + EXPENSIVE * FULL_SCAN_COST_FACTOR);
        assert_eq!((request.alone, request.together, request.newer_than), (vec![query(1, 12, None)], vec![0], None));
        assert_eq!(planner.full_scan_at, None);
    }

    #[test]
    fn a_class_with_more_tasks_than_were_asked_for_resumes_after_them() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        let two = |_| 2;
        planner.record_poll(&planner.plan_poll(now, false, two), &woken(0), EXPENSIVE, now, 1);
        planner.record_poll(&planner.plan_poll(now, false, two), &result(&[head(0, &[4, 5, 6])]), EXPENSIVE, now, 1);
        planner.record_claim(0, &[4, 5, 6].map(cursor), 3);
        assert_eq!(planner.plan_poll(now, false, limit).alone, [query(0, 11, Some(cursor(7)))]);
        planner.record_partial_claim(0, Some(cursor(6)));
        assert_eq!(planner.plan_poll(now, false, two).alone, [query(0, 3, Some(cursor(6)))]);
        // There are exactly two tasks.
        planner.record_poll(&planner.plan_poll(now, false, two), &result(&[head(0, &[6, 7])]), EXPENSIVE, now, 1);
        assert_eq!(planner.plan_poll(now, false, limit).alone, [query(0, 2, Some(cursor(6)))]);
        planner.record_claim(0, &[cursor(6), cursor(7)], 2);
        assert_eq!(planner.plan_poll(now, false, limit).alone, []);
    }

    #[test]
    fn an_expensive_full_scan_that_wakes_a_class_is_followed_by_a_query_for_each_class() {
        let (mut planner, now) = (PollPlanner::new(3), Instant::now());
        let (_, again) = poll(&mut planner, &woken(1), EXPENSIVE, now);
        assert!(again);
        let (request, _) = poll(&mut planner, &result(&[head(0, &[4]), head(1, &[])]), EXPENSIVE, now);
        assert_eq!(request.alone, [query(0, 11, None), query(1, 12, None), query(2, 13, None)]);
        // The first task that isn't due yet is known as well.
        let (request, _) = poll(&mut planner, &result(&[]), CHEAP, now);
        assert_eq!(request.alone, [query(0, 1, Some(cursor(4))), query(1, 1, Some(cursor(99)))]);
    }

    #[test]
    fn a_rescan_is_a_full_scan_at_once() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        poll(&mut planner, &result(&[]), EXPENSIVE, now);
        assert_eq!(planner.plan_poll(now, true, limit).newer_than, None);
        assert_eq!(planner.plan_poll(now, false, limit).newer_than, Some(1007));
    }

    #[test]
    fn an_incremental_scan_that_finds_its_maximum_is_continued_by_the_next() {
        let (mut planner, now) = (PollPlanner::new(1), Instant::now());
        poll(&mut planner, &result(&[]), EXPENSIVE, now);
        poll(&mut planner, &PollResult { newer_end: Some(1500), ..result(&[]) }, CHEAP, now);
        assert_eq!(planner.plan_poll(now, false, limit).newer_than, Some(1500));
    }

    #[test]
    fn an_incremental_scan_starts_at_an_earlier_newest_id() {
        let mut newest = NewestIds::default();
        let now = Instant::now();
        let mut floor_at = |millis, id| {
            newest.record(id, now + Duration::from_millis(millis));
            newest.floor
        };
        assert_eq!([floor_at(0, 1010), floor_at(500, 1020), floor_at(1000, 1030)], [10, 10, 1010]);
        assert_eq!([floor_at(1900, 1040), floor_at(2000, 1050), floor_at(3000, 1060)], [1010, 1030, 1050]);
        assert_eq!(floor_at(3100, 3), 3);
    }
}
