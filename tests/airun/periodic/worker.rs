//! Tests the worker with periodic tasks, as a process that receives real signals.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::on_both;
use crate::support::{Running, airun, lab};

fn start(tasks: &str, interval_ms: u32, args: &str) -> Running {
    let mut command = lab(args);
    command.env("LAB", tasks).env("LAB_INTERVAL_MS", interval_ms.to_string());
    // Tests run at the same time, so each needs its own task locks. Their scope is this URL; no such server is needed.
    let test = std::thread::current().name().unwrap().replace("::", "_");
    command.env("DATABASE_URL", format!("mysql://nobody@nowhere.invalid/{test}"));
    Running::start(command)
}

/// Returns the number after `key=` in a log line.
fn number(line: &str, key: &str) -> u64 {
    let (_, rest) = line.split_once(&format!(" {key}=")).unwrap_or_else(|| panic!("no {key} in {line}"));
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn closes(heartbeat: &str) {
    let sum: u64 = ["ok", "failed", "panicked", "skipped", "running"].iter().map(|key| number(heartbeat, key)).sum();
    assert_eq!(number(heartbeat, "due"), sum, "{heartbeat}");
}

on_both! {
    fn worker_runs_this_servers_tasks_immediately(db) {
        db.create_tables();
        let mut worker = db.start("worker");
        worker.wait_for("💓 alive: ");
        worker.signal("TERM");
        let ended = worker.finish();
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
        assert!(ended.stderr.trim_end().ends_with("[INFO] stopped"), "{ended:?}");
    }
}

#[test]
fn only_database_tasks_need_a_database() {
    let without = Running::start(airun("worker")).finish();
    assert_eq!(without.code, 2);
    assert!(
        without.stderr.ends_with(
            "airun: error: the database tasks `name_conversation` need a database; set `--database-url` or \
             `DATABASE_URL`, for example to mysql://user:password@127.0.0.1:3306/database\n"
        ),
        "{without:?}"
    );
    let mut command = lab("worker");
    command.env("LAB", "quick").env("LAB_INTERVAL_MS", "60000");
    let mut worker = Running::start(command);
    worker.wait_for("ran task=quick");
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 0);
}

#[test]
fn failing_and_panicking_tasks_keep_running_and_are_counted() {
    let mut worker = start("fails,panics,quick", 100, "worker --heartbeat 1s");
    for _ in 0..2 {
        let panic = worker.wait_for("panicked at examples/lab/main.rs:");
        assert!(
            panic.contains("[ERROR]") && panic.contains(": out of paper (after ") && panic.contains(" task=panics"),
            "{panic}"
        );
        let failure = worker.wait_for("failed after ");
        // The error's second line must not become a line of the log.
        assert!(failure.contains(r"the lamp is broken\nERROR forged line task=fails"), "{failure}");
    }
    for name in ["fails", "panics", "quick"] {
        let heartbeat = worker.wait_for(&format!(" task={name} due="));
        assert!(heartbeat.contains("heartbeat: "), "{heartbeat}");
        closes(&heartbeat);
        let bad = if name == "quick" {
            "ok"
        } else if name == "fails" {
            "failed"
        } else {
            "panicked"
        };
        assert!(number(&heartbeat, bad) >= 9, "{heartbeat}");
    }
    worker.signal("INT");
    let ended = worker.finish();
    assert_eq!(ended.code, 0);
    assert!(!ended.stderr.contains("RUST_BACKTRACE") && !ended.stderr.contains("stack backtrace"), "{}", ended.stderr);
}

#[test]
fn overrun_runs_once_late_and_skips_the_missed_ticks() {
    let mut worker = start("overruns", 100, "worker --heartbeat 1s");
    for run in 1..4 {
        let late = worker.wait_for(" late; the ticks before this one are skipped ");
        // A run takes three and a half intervals, so one tick runs late and the two before it are skipped. On a slow
        // machine more are skipped.
        assert!(number(&late, "skipped") >= 2, "{late}");
        assert!(number(&late, "tick") >= 3 * run, "{late}");
    }
    closes(&worker.wait_for("heartbeat: "));
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 0);
}

#[test]
fn suspended_process_skips_the_missed_ticks() {
    let mut worker = start("quick", 200, "worker --heartbeat 1s");
    worker.wait_for("heartbeat: ");
    worker.signal("STOP");
    // The sleep is part of the test: five ticks become due during it.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    worker.signal("CONT");
    let late = worker.wait_for(" late; the ticks before this one are skipped ");
    let skipped = number(&late, "skipped");
    assert!(skipped >= 4, "{late}");
    let tick = number(&late, "tick");
    assert_eq!(number(&worker.wait_for("ran "), "tick"), tick);
    assert!(number(&worker.wait_for("ran "), "tick") > tick);
    let heartbeat = worker.wait_for("heartbeat: ");
    closes(&heartbeat);
    assert!(number(&heartbeat, "skipped") >= skipped, "{heartbeat}");
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 0);
}

#[test]
fn shutdown_notifies_a_running_task_and_waits_for_it() {
    let mut worker = start("ends", 60_000, "worker");
    worker.wait_for("ran task=ends");
    worker.signal("TERM");
    let ended = worker.finish();
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("ended because the worker stops: true task=ends"), "{}", ended.stderr);
}

#[test]
fn task_that_hangs_at_shutdown_is_named_and_abandoned() {
    let mut worker = start("hangs,quick", 200, "worker --stop-timeout 300ms");
    worker.wait_for("ran task=hangs");
    worker.signal("TERM");
    let ended = worker.finish();
    assert_eq!(ended.code, 124, "{ended:?}");
    assert!(
        ended.stderr.ends_with("airun: error: stopped with tasks still running after 300ms: `hangs`\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn second_signal_ends_the_worker_immediately() {
    let mut worker = start("hangs", 200, "worker --stop-timeout 1h");
    worker.wait_for("ran task=hangs");
    worker.signal("TERM");
    worker.wait_for("stopping: ");
    worker.signal("INT");
    let ended = worker.finish();
    assert_eq!(ended.code, 130, "{ended:?}");
}

#[test]
fn run_over_its_time_limit_is_reported_as_stuck() {
    let mut worker = start("hangs", 200, "worker --heartbeat 1500ms --stop-timeout 0");
    let stuck = worker.wait_for("stuck: running for ");
    assert!(stuck.contains("[WARN]") && stuck.contains("task=hangs"), "{stuck}");
    for _ in 0..2 {
        let heartbeat = worker.wait_for("heartbeat: stuck for ");
        assert_eq!(number(&heartbeat, "running"), 1);
        closes(&heartbeat);
    }
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 124);
}

#[test]
fn periodic_run_and_the_worker_exclude_each_other() {
    let mut worker = start("ends", 60_000, "worker");
    worker.wait_for("ran task=ends");
    let loser = start("ends", 60_000, "periodic run ends").finish();
    assert_eq!(loser.code, 75);
    assert!(loser.stderr.contains("the task `ends` is already running in another process on this host"), "{loser:?}");
    // The reverse: the worker skips a tick while cron runs the task.
    worker.signal("KILL");
    assert_eq!(worker.finish().code, 128 + 9);
    let mut cron = start("ends", 60_000, "periodic run ends");
    cron.wait_for("ran task=ends");
    let mut worker = start("ends", 60_000, "worker");
    worker.wait_for("skipped 1 tick: another process on this host is running the task task=ends");
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 0);
    cron.signal("TERM");
    assert_eq!(cron.finish().code, 0);
}

#[test]
fn periodic_run_exits_with_the_outcome() {
    assert_eq!(start("quick", 100, "periodic run quick").finish().code, 0);
    for name in ["fails", "panics"] {
        let failed = start(name, 100, &format!("periodic run {name}")).finish();
        assert_eq!(failed.code, 1, "{failed:?}");
        assert!(
            failed.stderr.ends_with(&format!("airun: error: the task `{name}` failed; see the log for the cause\n")),
            "{failed:?}"
        );
    }
}

#[test]
fn periodic_list_names_the_tasks() {
    let listed = start("quick,fails", 90_000, "periodic list").finish();
    assert_eq!(listed.stdout, "⏱️ quick  every 1m 30s\n⏱️ fails  every 1m 30s\n");
    let json: serde_json::Value =
        serde_json::from_str(&start("quick", 90_000, "periodic list --json").finish().stdout).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["interval_ms"]), (&"quick".into(), &90_000.into()));
}

#[test]
fn invalid_periodic_tasks_are_refused() {
    let twice = start("quick,quick", 100, "worker").finish();
    assert_eq!(twice.code, 2);
    assert!(twice.stderr.ends_with("airun: error: two periodic tasks have the name `quick`; rename one of them\n"));
    assert!(start("quick", 0, "worker").finish().stderr.contains("the interval of the periodic task `quick` is zero"));
    assert_eq!(start("", 100, "worker").finish().code, 2);
}

#[test]
fn json_lines_carry_the_task() {
    let mut worker = start("quick", 60_000, "worker --log-format json");
    let line: serde_json::Value = serde_json::from_str(&worker.wait_for(r#""message":"ran""#)).unwrap();
    assert_eq!((&line["task"], &line["level"], &line["tick"]), (&"quick".into(), &"info".into(), &0.into()));
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 0);
}

#[test]
fn metrics_and_health_are_served_over_http_and_written_to_a_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("airun.prom");
    let mut worker = start(
        "hangs,quick",
        100,
        &format!(
            "worker --heartbeat 100ms --stop-timeout 0 --metrics-addr 127.0.0.1:0 --metrics-file {}",
            file.display()
        ),
    );
    let line = worker.wait_for("serving metrics and health at http://");
    let address = line.rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    let get = |path: &str| {
        let mut client = TcpStream::connect(&address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    worker.wait_for("stuck: running for ");
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("\nairun_periodic_stuck{task=\"hangs\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nairun_periodic_ticks_total{task=\"quick\",outcome=\"panicked\"} 0\n"), "{metrics}");
    let health = get("/health");
    assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("stuck: hangs has been running for "), "{health}");
    assert!(get("/other").starts_with("HTTP/1.1 404 "));
    worker.wait_for("heartbeat: ");
    worker.wait_for("heartbeat: stuck");
    assert!(std::fs::read_to_string(&file).unwrap().contains("airun_uptime_seconds"));
    worker.signal("TERM");
    assert_eq!(worker.finish().code, 124);
}

#[test]
fn systemd_is_notified_of_the_workers_state() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let heard = |part: &str| loop {
        let mut buffer = [0; 1000];
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("`{part}`: {error}"));
        if String::from_utf8_lossy(&buffer[..length]).contains(part) {
            return;
        }
    };
    let mut command = lab("worker --stop-timeout 5s");
    command.env("LAB", "ends").env("LAB_INTERVAL_MS", "100").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let worker = Running::start(command);
    heard("READY=1");
    heard("WATCHDOG=1");
    // After the time limit the worker reports the stuck task to systemd.
    heard("STATUS=stuck: ends has been running for ");
    worker.signal("TERM");
    heard("STOPPING=1");
    assert_eq!(worker.finish().code, 0);
}

#[test]
fn log_for_the_systemd_journal_has_priorities_and_no_timestamps() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = std::fs::File::create(folder.path().join("journal")).unwrap();
    let metadata = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
    let device = std::os::unix::fs::MetadataExt::dev(&file.metadata().unwrap());
    let mut command = lab("periodic run fails");
    command.env("LAB", "fails").env("JOURNAL_STREAM", format!("{device}:{metadata}")).stderr(file);
    assert_eq!(command.status().unwrap().code(), Some(1));
    let log = std::fs::read_to_string(folder.path().join("journal")).unwrap();
    assert!(log.starts_with("<6>ran task=fails\n<3>"), "{log}");
}
