//! Tests the progress line on a terminal, and the log lines elsewhere.

use std::process::Command;

use crate::on_both;
use crate::support::{Running, airun};

on_both! {
    fn long_statement_is_logged_every_five_seconds_without_a_terminal(db) {
        db.migration(1, "slow", "CREATE TABLE t (a INT);\nSELECT SLEEP(8);", "");
        let mut up = db.start("migrate up");
        let line = up.wait_for("[INFO]");
        let (_, text) = line.split_once("[INFO] ").unwrap();
        assert_eq!(text, "20260101000001_slow (1 of 1): statement 2 of 2, 24 of 40 bytes, 5s, User sleep");
        let up = up.finish();
        assert_eq!((up.code, up.stderr.lines().count()), (0, 1), "{up:?}");
    }

    fn terminal_shows_a_progress_line_and_clears_it_at_the_end(db) {
        db.migration(1, "slow", "CREATE TABLE t (a INT);\nSELECT SLEEP(1.5);\nINSERT INTO t VALUES (1);", "SELECT SLEEP(1);");
        for (command, done) in [("migrate up", "applied"), ("migrate rollback", "rolled back")] {
            let shown = on_a_terminal(db, command);
            let drawn = format!("{START}20260101000001_slow (1 of 1): statement ");
            assert!(shown.matches(&drawn).count() > 2, "{shown:?}");
            let cleared = format!("{START}{END}{done} 20260101000001_slow: ");
            assert!(shown.contains(&cleared) && !shown[shown.find(&cleared).unwrap()..].contains(&drawn), "{shown:?}");
        }
    }

    fn terminal_shows_nothing_for_a_quick_migration(db) {
        db.migration(1, "quick", "CREATE TABLE t (a INT);", "");
        assert!(!on_a_terminal(db, "migrate up").contains('\u{1b}'));
    }

    fn error_is_printed_on_its_own_line(db) {
        db.migration(1, "slow", "SELECT SLEEP(1.5);\nSELECT nosuch;", "");
        let shown = on_a_terminal(db, "migrate up");
        assert!(shown.contains(&format!("{START}{END}airun: error: ")), "{shown:?}");
    }
}

const START: &str = "\r\u{1b}[?7l";
const END: &str = "\u{1b}[K\u{1b}[?7h";

/// Returns everything that airun writes to a terminal, which util-linux's `script` provides.
fn on_a_terminal(db: &crate::support::Database, args: &str) -> String {
    let line = format!("{} {args}", airun("").get_program().to_string_lossy());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    command.env("DATABASE_URL", db.url()).env("AIRUN_MIGRATIONS_DIR", db.folder()).env("TERM", "xterm");
    Running::start(command).finish().stdout
}
