//! Tests error messages for wrong usage, and the help pages.

use crate::support::{Finished, Running, airun};

fn run(args: &str) -> Finished {
    Running::start(airun(args)).finish()
}

#[test]
fn a_wrong_command_line_is_one_clear_line_and_exit_2() {
    for (args, expected) in [
        ("", "no command; `airun help` lists the commands"),
        ("migrate stauts", "unknown command `migrate stauts`; did you mean `status`?"),
        ("migrate up --wiat", "unknown flag `--wiat`; did you mean `--wait`?"),
        (
            "migrate up",
            "no database URL; set `--database-url` or `DATABASE_URL`, for example mysql://user:password@127.0.0.1:3306/database",
        ),
        (
            "migrate up --database-url postgres://u:hunter2@h/d",
            "invalid URL in `--database-url`: it must start with `mysql://`, for example mysql://user:password@host:3306/database",
        ),
        (
            "migrate status --database-url mysql://u:hunter2@h",
            "`--database-url` has no database name; append it to the host, for example mysql://user@host/database",
        ),
        (
            "worker --stop-timeout never",
            "`--stop-timeout`: invalid duration `never`; use for example 30s, 5m or 1h 30m",
        ),
        (
            "worker --metrics-addr here",
            "invalid value `here` for `--metrics-addr`: use IP:PORT, for example 127.0.0.1:9464",
        ),
        (
            "worker --log-level loud",
            "invalid log level `loud`; use error, warn, info, debug or trace, or for example info,airun::periodic=debug",
        ),
        ("periodic run puls", "unknown periodic task `puls`; did you mean `pulse`?"),
    ] {
        let finished = run(args);
        assert_eq!((finished.code, finished.stdout.as_str()), (2, ""), "{args}: {finished:?}");
        assert_eq!(finished.stderr, format!("airun: error: {expected}\n"), "{args}");
    }
}

#[test]
fn missing_folder_error_names_the_folder() {
    let finished = run("migrate check --dir /nonexistent");
    assert_eq!(finished.code, 2);
    assert_eq!(
        finished.stderr,
        "airun: error: failed to read the migrations folder `/nonexistent`: No such file or directory (os error 2); set `--dir` or `AIRUN_MIGRATIONS_DIR`\n"
    );
}

#[test]
fn version_and_help_need_no_database() {
    let version = run("--version");
    assert_eq!((version.code, version.stdout), (0, format!("airun {}\n", env!("CARGO_PKG_VERSION"))));
    for args in ["help", "--help", "migrate --help", "migrate up -h", "worker -h", "periodic --help"] {
        let help = run(args);
        assert_eq!(help.code, 0, "{args}");
        assert!(help.stdout.starts_with("usage: airun "), "{args}: {help:?}");
    }
}

#[test]
fn migrate_check_needs_no_database() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let check = || run(&format!("migrate check --dir {}", folder.path().display()));
    write("20260101000000_a_UP.sql", "SELECT 1;\nSELECT 2;");
    assert_eq!(check().stdout, "1 migration with 2 statements: no errors\n");
    write("20260101000001_b_UP.sql", "SELECT 1;\nSELECT 'open;\n");
    let wrong = check();
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("/20260101000001_b_UP.sql:2:8: "), "{wrong:?}");
    write("20260101000002_c_up.sql", "SELECT 1;");
    let wrong = check();
    assert!(wrong.stderr.contains("20260101000002_c_up.sql`: name it YYYYMMDDHHMMSS_name_UP.sql"), "{wrong:?}");
}

#[test]
fn generate_writes_a_pair_newer_than_all_others() {
    let folder = tempfile::TempDir::new().unwrap();
    let dir = folder.path().display();
    std::fs::write(folder.path().join("29990101000000_far_UP.sql"), "SELECT 1;").unwrap();
    let wrote = run(&format!("migrate generate add-users --dir {dir}"));
    assert_eq!(wrote.code, 0, "{wrote:?}");
    assert_eq!(
        wrote.stdout,
        format!("created {dir}/29990101000001_add_users_UP.sql\ncreated {dir}/29990101000001_add_users_DOWN.sql\n")
    );
    let bad = run(&format!("migrate generate ../up --dir {dir}"));
    assert_eq!(bad.code, 2, "{bad:?}");
}

#[test]
fn password_on_the_command_line_is_hidden_from_the_process_list() {
    let mut waiting = Running::start(airun("migrate status --wait --database-url mysql://u:hunter2@127.0.0.1:1/d"));
    let line = waiting.wait_for("waiting for the server: failed to connect to `u@127.0.0.1:1/d`");
    assert!(!line.contains("hunter2"), "{line}");
    let listed = std::fs::read_to_string(format!("/proc/{}/cmdline", waiting.id())).unwrap();
    assert!(listed.ends_with("migrate\0status\0--wait\0"), "{listed}");
    waiting.signal("TERM");
    let ended = waiting.finish();
    assert_eq!(ended.code, 130, "{ended:?}");
}
