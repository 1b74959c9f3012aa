//! Tests `airun doctor` on servers that are fit for airun and on servers that are not.

use crate::on_both;
use crate::support::{Database, Finished, Kind, Running, User, airun};

fn doctor(db: &Database, args: &str) -> Finished {
    db.airun(&format!("doctor --dir {}/migrations {args}", env!("CARGO_MANIFEST_DIR")))
}

/// Returns each finding as its check, level, text and advice.
fn findings(finished: &Finished) -> Vec<(String, String, String, Option<String>)> {
    let json: serde_json::Value =
        serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"));
    assert_eq!((&json["format"], json["fit"].as_bool()), (&1.into(), Some(finished.code == 0)), "{json}");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let finding = |f: &serde_json::Value| {
        (text(&f["check"]), text(&f["level"]), text(&f["found"]), f["advice"].as_str().map(str::to_owned))
    };
    json["findings"].as_array().unwrap().iter().map(finding).collect()
}

/// Returns the level, check and text of each finding that isn't `ok`.
fn complaints(finished: &Finished) -> Vec<String> {
    let bad = findings(finished).into_iter().filter(|(_, level, ..)| level != "ok");
    bad.map(|(check, level, found, advice)| {
        assert!(advice.is_some_and(|advice| !advice.is_empty()), "{check} has no advice");
        format!("{level} {check}: {found}")
    })
    .collect()
}

on_both! {
    fn a_fit_server_is_reported_fit_and_left_unchanged(db) {
        db.create_tables();
        db.execute(&["INSERT INTO ai_server_tasks (kind, payload) VALUES ('echo', '1')"]);
        let before = db.contents();
        let finished = doctor(db, "--json");
        // Another test may keep a transaction open for a long time on the same server.
        let complaints: Vec<String> = complaints(&finished).into_iter().filter(|c| !c.contains("oldest-snapshot")).collect();
        assert_eq!((finished.code, complaints), (0, Vec::new()), "{finished:?}");
        let checks: Vec<String> = findings(&finished).into_iter().map(|(check, ..)| check).collect();
        assert_eq!(
            checks,
            ["connection", "version", "writable", "binary-log", "durability", "max-allowed-packet", "wait-timeout", "connections",
             "read-committed", "tls", "clock", "named-locks", "topology", "oldest-snapshot", "tables", "privileges", "claim-plan",
             "skip-locked", "migrations"]
        );
        let told = doctor(db, "");
        assert_eq!(told.code, 0);
        assert!(told.stdout.contains("\nok       skip-locked         a claim skips the rows that another has locked, and no others\n"), "{}", told.stdout);
        assert!(told.stdout.ends_with("the server is fit for airun\n"), "{}", told.stdout);
        let ids = |contents: &str| contents.lines().filter(|line| !line.contains("AUTO_INCREMENT=")).count();
        let after = db.contents();
        assert_eq!((ids(&after), db.rows("SELECT id, kind FROM ai_server_tasks")), (ids(&before), vec!["1|echo".to_owned()]));
    }

    fn several_doctors_and_a_worker_run_at_the_same_time(db) {
        db.create_tables();
        let worker = db.worker();
        let all: Vec<Running> = (0..4).map(|_| db.start(&format!("doctor --dir {}/migrations", env!("CARGO_MANIFEST_DIR")))).collect();
        for one in all {
            let finished = one.finish();
            assert_eq!(finished.code, 0, "{finished:?}");
        }
        assert_eq!(db.rows("SELECT COUNT(*) FROM ai_server_tasks"), ["0"]);
        crate::support::stop(worker);
    }

    fn missing_tables_columns_and_indexes_are_reported(db) {
        let missing = doctor(db, "--json");
        assert!(complaints(&missing)[0].starts_with("problem connection: failed to connect to ") && missing.code == 1, "{missing:?}");
        db.create();
        let filtered = |finished: &Finished| -> Vec<String> {
            complaints(finished).into_iter().filter(|c| !c.contains("oldest-snapshot")).collect()
        };
        let empty = doctor(db, "--json");
        assert_eq!(filtered(&empty), ["problem tables: table `ai_server_tasks` is missing", "note migrations: migrations are pending"]);
        assert_eq!(empty.code, 1);
        db.create_tables();
        for (change, back, found) in [
            ("DROP KEY by_class, ADD KEY by_class (state, next_action_at)", "DROP KEY by_class, ADD KEY by_class (state, kind, payload_version, queue, priority, next_action_at, id)",
             "`ai_server_tasks` lacks the index `by_class` on (state,kind,payload_version,queue,priority,next_action_at,id), which claims need"),
            ("DROP KEY active_dedupe_key", "ADD UNIQUE KEY active_dedupe_key (active_dedupe_key)", "`ai_server_tasks` lacks the unique key `active_dedupe_key`, so duplicates can be enqueued"),
            ("CHANGE crashes crashed INT UNSIGNED NOT NULL DEFAULT 0", "CHANGE crashed crashes INT UNSIGNED NOT NULL DEFAULT 0", "column `crashes` of `ai_server_tasks` is missing"),
            ("ENGINE = MyISAM", "ENGINE = InnoDB", "`ai_server_tasks` does not use InnoDB, so its rows can't be locked"),
        ] {
            if change.contains("MyISAM") && db.kind == Kind::MySql {
                // MySQL can't convert this table to MyISAM.
                continue;
            }
            db.execute(&[&format!("ALTER TABLE ai_server_tasks {change}")]);
            let finished = doctor(db, "--json");
            assert_eq!((finished.code, filtered(&finished)), (1, vec![format!("problem tables: {found}")]));
            db.execute(&[&format!("ALTER TABLE ai_server_tasks {back}")]);
        }
        assert_eq!(doctor(db, "").code, 0);
    }

    fn missing_privileges_are_listed(db) {
        db.create_tables();
        let user = User::new(db, "p", "SELECT");
        let (_, host) = db.kind.url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let mut command = airun("doctor --json");
        command.env("DATABASE_URL", format!("mysql://{}:p@{host}/{}", user.name, db.name)).current_dir(db.folder());
        let finished = Running::start(command).finish();
        assert_eq!(finished.code, 1, "{finished:?}");
        let complaints = complaints(&finished);
        assert_eq!(complaints[0], "note oldest-snapshot: this user lacks the privilege to see other transactions");
        let tables = ["ai_server_tasks", "ai_server_workers", "ai_server_controls"];
        let denied = tables.map(|table| format!("INSERT on `{table}`, UPDATE on `{table}`, DELETE on `{table}`")).join(", ");
        assert_eq!(complaints[1], format!("problem privileges: this user lacks {denied}"));
        assert!(complaints[2].starts_with("problem skip-locked: the check failed: 1142 (42000): INSERT command denied"), "{complaints:?}");
    }

    fn a_connection_without_tls_is_reported(db) {
        db.create_tables();
        let finished = doctor(db, "--json --tls-mode disabled");
        let tls = findings(&finished).into_iter().find(|(check, ..)| check == "tls").unwrap();
        assert_eq!((tls.1.as_str(), tls.2.as_str()), ("ok", "not encrypted, but the connection stays on this host"));
    }
}
