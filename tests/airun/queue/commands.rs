//! Tests kinds whose tasks run a program.

use super::{insert_task, insert_task_with, is_alive, number_after, task, wait_for_exit, worker};
use crate::on_both;
use crate::support::stop;

on_both! {
    fn program_reads_the_payload_and_prints_the_result(db) {
        db.create_tables();
        let json = insert_task(db, "cat", r#"{"a": [1, 2]}"#);
        let text = insert_task(db, "script", r#""echo 'hello there'""#);
        let silent = insert_task(db, "script", r#""true""#);
        let told = insert_task_with(
            db,
            "script",
            r#""echo $AIRUN_TASK_ID $AIRUN_TASK_KIND $AIRUN_TASK_ATTEMPT $AIRUN_TASK_TIMEOUT_MS""#,
            ", timeout_ms = 54321",
        );
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        assert_eq!(task(db, json, "state, JSON_EXTRACT(result, '$.a[1]')"), "succeeded|2");
        assert_eq!(task(db, text, "state, result"), r#"succeeded|"hello there""#);
        assert_eq!(task(db, silent, "state, result"), "succeeded|NULL");
        assert_eq!(task(db, told, "result"), format!(r#""{told} script 1 54321""#));
    }

    fn program_fails_by_its_exit_code_with_the_reason_on_standard_error(db) {
        db.create_tables();
        let failed = insert_task(db, "script", r#""echo 'no ink' >&2; echo 'ERROR forged' >&2; exit 3""#);
        let useless = insert_task(db, "script", r#""echo 'not a lamp' >&2; exit 65""#);
        let killed = insert_task(db, "script", r#""kill -9 $$""#);
        let missing = insert_task(db, "missing", "{}");
        let mut worker = worker(db, "");
        let line = worker.wait_for("] no ink");
        assert!(line.contains("[INFO] no ink task=script") && line.contains(" attempt=1"), "{line}");
        db.wait_until_idle();
        stop(worker);
        let fate = "state, failures, crashes, last_error";
        assert_eq!(task(db, failed, fate), "dead|2|0|exit code 3: no ink\nERROR forged");
        assert_eq!(task(db, useless, fate), "dead|1|0|exit code 65: not a lamp");
        assert_eq!(task(db, killed, fate), "dead|2|0|signal 9 (SIGKILL)");
        let fate = task(db, missing, fate);
        assert!(
            fate.starts_with("dead|2|0|exit code 1: ") && fate.contains("failed to start `no-such-program`: No such file"),
            "{fate}"
        );
    }

    fn program_input_and_output_are_bounded(db) {
        db.create_tables();
        let deaf = insert_task(db, "ignores_input", &format!("\"{}\"", "x".repeat(500_000)));
        let large = insert_task(db, "script", r#""yes | head -c 3000000""#);
        let line = insert_task(db, "script", r#""yes | tr -d '[:space:]' | head -c 100000 >&2; exit 3""#);
        let worker = worker(db, "");
        db.wait_until_idle();
        let log = stop(worker).stderr;
        assert_eq!(task(db, deaf, "state"), "succeeded");
        // Half of the result is line ends, each of which takes two characters in JSON.
        assert_eq!(task(db, large, "state, CHAR_LENGTH(JSON_UNQUOTE(result))"), "succeeded|1048575");
        assert!(log.contains("printed more than 1048576 bytes: dropped 1951424 of them from its result"), "too much");
        assert_eq!(task(db, line, "state, failures, LENGTH(last_error) <= 8192"), "dead|2|1");
        assert!(log.lines().all(|line| line.len() < 9000));
    }

    fn program_is_killed_at_its_deadline_with_all_its_descendants(db) {
        db.create_tables();
        let id = insert_task_with(
            db,
            "script",
            r#""setsid sleep 1000 & echo started $! >&2; sleep 1000""#,
            ", timeout_ms = 3000, max_attempts = 1",
        );
        let mut worker = worker(db, "");
        let daemon = number_after(&worker.wait_for("] started "), "] started ");
        db.wait_for_state(id, "dead");
        wait_for_exit(daemon);
        stop(worker);
        assert_eq!(task(db, id, "last_error"), "timed out after 3s, and was killed");
    }

    fn program_may_leave_a_daemon_that_keeps_its_output_open(db) {
        db.create_tables();
        let id = insert_task(db, "script", r#""setsid sh -c 'sleep 1000 & echo $!'; true""#);
        let inside = insert_task(db, "script", r#""sleep 1000 & echo $!""#);
        let worker = worker(db, "");
        db.wait_until_idle();
        stop(worker);
        let daemon: u64 = task(db, id, "result").parse().unwrap();
        let stray: u64 = task(db, inside, "result").parse().unwrap();
        // Processes that stayed in the program's process group end together with it.
        wait_for_exit(stray);
        assert!(is_alive(daemon));
        assert!(std::process::Command::new("kill").arg(daemon.to_string()).status().unwrap().success());
        wait_for_exit(daemon);
    }
}
