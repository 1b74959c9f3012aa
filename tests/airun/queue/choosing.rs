//! Tests which worker runs a task, and when.

use mysql::TxOpts;
use mysql::prelude::Queryable as _;
use serde::{Deserialize, Serialize};

use airun::queue::{Enqueue, Enqueued, Priority, TaskPayload, enqueue};

use super::{insert_task, insert_task_with, task, worker};
use crate::on_both;
use crate::support::{stop, worker_at};

/// The payload of the lab's `echo`. A program that only enqueues tasks doesn't need their handlers.
#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl TaskPayload for Echo {
    const KIND: &'static str = "echo";
}

on_both! {
    fn every_task_is_found_though_full_scans_are_rare(db) {
        db.create_tables();
        let worker = worker_at(&db.url(), "--threads 2", &[("AIRUN_FORCE", "expensive-polls")]);
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_workers", &["1"]);
        // There are more tasks than threads and more than one poll reads, and some of them become due later.
        let slow: Vec<u64> = (0..10).map(|_| insert_task(db, "act", r#"{"sleep_ms": 100}"#)).collect();
        let many = vec!["('noop', '1')"; 3000].join(", ");
        db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload) VALUES {many}")]);
        let again = insert_task(db, "fails", r#"{"times": 2}"#);
        let later = insert_task_with(db, "echo", "1", ", scheduled_at = UTC_TIMESTAMP(6) + INTERVAL 1500000 MICROSECOND");
        db.wait_until_idle();
        stop(worker);
        for id in slow {
            assert_eq!(task(db, id, "state, claim_count, failures"), "succeeded|1|0");
        }
        assert_eq!(task(db, again, "state, claim_count, failures"), "succeeded|3|2");
        assert_eq!(task(db, later, "state, claim_count, started_at >= created_at + INTERVAL 1500000 MICROSECOND"), "succeeded|1|1");
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state = 'succeeded'"), ["3012"]);
    }

    fn due_and_new_tasks_are_found_without_a_full_scan(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE spans (id INT AUTO_INCREMENT PRIMARY KEY, began DATETIME(6) NOT NULL, ended DATETIME(6))"]);
        let fill = |kind: &str, count: usize| {
            let rows = vec![format!("('{kind}', '1')"); count].join(", ");
            db.execute(&[&format!("INSERT INTO ai_server_tasks (kind, payload) VALUES {rows}")]);
        };
        // Before the first poll, several kinds have tasks: one of them with a concurrency limit, one with more than a batch.
        fill("cat", 3);
        fill("echo", 30);
        fill("noop", 4000);
        fill("single", 5);
        // After the first full scans, the next one is minutes away.
        let very_dear = [("AIRUN_FORCE", "very-expensive-polls")];
        let workers = [0, 1].map(|_| worker_at(&db.url(), "--threads 2", &very_dear));
        db.wait_until_idle();
        for round in 0..5 {
            fill("versioned", 1);
            fill("echo", 20 * round + 1);
            fill("single", 2);
            fill("noop", 1500 * round + 1);
            db.wait_until_idle();
        }
        for worker in workers {
            stop(worker);
        }
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state NOT IN ('succeeded', 'dead')"), ["0"]);
    }

    fn urgent_runs_before_normal_and_normal_before_bulk(db) {
        db.create_tables();
        // The order of the kinds' names differs from the order of the priorities.
        for (kind, priority) in [("act", 2), ("echo", 1), ("noop", 0), ("cat", 2), ("echo", 1), ("versioned", 0)] {
            insert_task_with(db, kind, "1", &format!(", priority = {priority}"));
        }
        let worker = worker(db, "--threads 1");
        db.wait_until_idle();
        stop(worker);
        let order = "SELECT priority FROM ai_server_tasks ORDER BY finished_at, id";
        assert_eq!(db.rows(order), ["0", "0", "1", "1", "2", "2"]);
    }

    fn worker_claims_only_from_its_queues(db) {
        db.create_tables();
        let other = insert_task(db, "noop", "{}");
        let mine = insert_task_with(db, "noop", "{}", ", queue = 'mine'");
        let yours = insert_task_with(db, "noop", "{}", ", queue = 'yours'");
        let first = worker(db, "--queues mine,yours");
        db.wait_for_state(mine, "succeeded");
        db.wait_for_state(yours, "succeeded");
        stop(first);
        assert_eq!(task(db, other, "state, claim_count"), "pending|0");
        // Without `--queues` a worker takes tasks from the default queues of its kinds.
        let second = worker(db, "");
        db.wait_for_state(other, "succeeded");
        stop(second);
    }

    fn concurrency_limit_holds_across_workers(db) {
        db.create_tables();
        db.execute(&["CREATE TABLE spans (id INT AUTO_INCREMENT PRIMARY KEY, began DATETIME(6) NOT NULL, ended DATETIME(6))"]);
        let workers = [worker(db, ""), worker(db, "")];
        for _ in 0..12 {
            insert_task(db, "single", "30");
            insert_task(db, "noop", "{}");
        }
        db.wait_until_idle();
        workers.into_iter().for_each(|worker| drop(stop(worker)));
        let overlaps = "SELECT a.id, b.id FROM spans a JOIN spans b ON a.id < b.id AND a.ended > b.began";
        assert!(db.rows(overlaps).is_empty());
        assert_eq!(db.rows("SELECT COUNT(*), COUNT(ended) FROM spans"), ["12|12"]);
    }

    fn pause_holds_back_only_its_kind_or_queue(db) {
        db.create_tables();
        db.execute(&[
            "REPLACE INTO ai_server_controls (scope, name, paused) VALUES ('kind', 'echo', TRUE), ('queue', 'shut', TRUE), ('kind', 'single', TRUE)",
            "CREATE TABLE spans (id INT AUTO_INCREMENT PRIMARY KEY, began DATETIME(6) NOT NULL, ended DATETIME(6))",
        ]);
        let paused = [insert_task(db, "echo", "1"), insert_task_with(db, "noop", "{}", ", queue = 'shut'"), insert_task(db, "single", "1")];
        let worker = worker(db, "--queues default,shut");
        for _ in 0..3 {
            let other = insert_task(db, "noop", "{}");
            db.wait_for_state(other, "succeeded");
        }
        for id in paused {
            assert_eq!(task(db, id, "state, claim_count"), "pending|0");
        }
        db.execute(&["UPDATE ai_server_controls SET paused = FALSE"]);
        db.wait_until_idle();
        stop(worker);
    }

    fn delayed_task_starts_when_it_is_due(db) {
        db.create_tables();
        let worker = worker(db, "");
        let delay = std::time::Duration::from_millis(1200);
        let delayed = Enqueue::new().delay(delay).insert(&mut db.conn(), &Echo(7)).unwrap().id;
        db.wait_for_state(delayed, "succeeded");
        stop(worker);
        assert_eq!(task(db, delayed, "result, started_at >= created_at + INTERVAL 1200000 MICROSECOND"), "7|1");
    }

    fn enqueue_is_part_of_the_callers_transaction(db) {
        db.create_tables();
        let worker = worker(db, "");
        let mut conn = db.conn();
        let mut transaction = conn.start_transaction(TxOpts::default()).unwrap();
        let undone = enqueue(&mut transaction, &Echo(1)).unwrap();
        assert!(undone.inserted);
        transaction.rollback().unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).unwrap();
        let id = enqueue(&mut transaction, &Echo(2)).unwrap().id;
        let before = insert_task(db, "noop", "{}");
        db.wait_for_state(before, "succeeded");
        // The worker has polled since the INSERT, which is not committed yet.
        assert!(task(db, id, "state").is_empty());
        transaction.commit().unwrap();
        db.wait_for_state(id, "succeeded");
        stop(worker);
        assert!(task(db, undone.id, "state").is_empty());
    }

    fn insert_many_stores_every_option(db) {
        db.create_tables();
        let payloads: Vec<Echo> = (0..2500).map(Echo).collect();
        let how = Enqueue::new().queue("bulk").priority(Priority::Bulk).max_attempts(3).timeout(std::time::Duration::from_secs(9));
        assert_eq!(how.insert_many(&mut db.conn(), &payloads).unwrap(), 2500);
        let worker = worker(db, "--queues bulk");
        db.wait_until_idle();
        stop(worker);
        let all = "SELECT state, queue, priority, max_attempts, timeout_ms, COUNT(*), COUNT(DISTINCT result), MAX(CAST(CAST(result AS CHAR) AS UNSIGNED)) \
                   FROM ai_server_tasks GROUP BY 1, 2, 3, 4, 5";
        assert_eq!(db.rows(all), ["succeeded|bulk|2|3|9000|2500|2500|2499"]);
    }

    fn only_one_active_task_has_a_dedupe_key(db) {
        db.create_tables();
        let how = || Enqueue::new().dedupe_key("once");
        let first = how().insert(&mut db.conn(), &Echo(1)).unwrap();
        assert!(first.inserted);
        let same = how().insert(&mut db.conn(), &Echo(2)).unwrap();
        assert_eq!((same.id, same.inserted), (first.id, false));
        // The result is correct even in a transaction with an older snapshot, which still shows the first task as pending.
        let mut conn = db.conn();
        let mut transaction = conn.start_transaction(TxOpts::default()).unwrap();
        transaction.query_drop("SELECT * FROM ai_server_tasks").unwrap();
        let worker = worker(db, "");
        db.wait_for_state(first.id, "succeeded");
        let second = how().insert(&mut db.conn(), &Echo(3)).unwrap();
        assert!(second.inserted && second.id != first.id);
        db.wait_for_state(second.id, "succeeded");
        let third = how().insert(&mut db.conn(), &Echo(4)).unwrap();
        db.wait_for_state(third.id, "succeeded");
        drop(transaction);
        stop(worker);
    }

    fn concurrent_enqueues_with_one_dedupe_key_insert_one_task(db) {
        db.create_tables();
        let race = |round: u64| -> Vec<Enqueued> {
            std::thread::scope(|scope| {
                let racers: Vec<_> = (0..8)
                    .map(|n| {
                        scope.spawn(move || {
                            let mut conn = db.conn();
                            Enqueue::new().dedupe_key(format!("race {round}")).insert(&mut conn, &Echo(n)).unwrap()
                        })
                    })
                    .collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            })
        };
        for round in 0..5 {
            let told = race(round);
            assert_eq!(told.iter().filter(|told| told.inserted).count(), 1, "{told:?}");
            assert!(told.iter().all(|one| one.id == told[0].id), "{told:?}");
        }
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks"), ["5"]);
    }

    fn task_enqueues_others_in_its_completing_transaction(db) {
        db.create_tables();
        let parent = insert_task(db, "parent", "5");
        let worker = worker(db, "");
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state = 'succeeded' AND kind = 'echo'", &["5"]);
        stop(worker);
        assert_eq!(task(db, parent, "state, claim_count, result"), "succeeded|1|NULL");
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks"), ["6"]);
    }

    fn finished_tasks_are_purged_after_their_retention(db) {
        db.create_tables();
        let ids = [insert_task(db, "noop", "{}"), insert_task(db, "noop", "{}"), insert_task(db, "fails", r#""fatal""#), insert_task(db, "noop", "{}")];
        db.execute(&[&format!("UPDATE ai_server_tasks SET state = 'cancelled', next_action_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR WHERE id = {}", ids[3])]);
        let first = worker(db, "--retention 0s --dead-retention 1h");
        db.wait_for_rows("SELECT COUNT(*) FROM ai_server_tasks WHERE state IN ('pending', 'running')", &["0"]);
        stop(first);
        // A worker deletes expired tasks when it starts.
        let second = worker(db, "");
        db.wait_for_rows("SELECT id FROM ai_server_tasks ORDER BY id", &[&ids[2].to_string(), &ids[3].to_string()]);
        stop(second);
    }
}
