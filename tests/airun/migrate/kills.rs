//! Kills airun or the server at random moments. The next `up` or `rollback` must let every statement take effect once.
//!
//! `scripts/crash` sets the number of kills and the seed.

#![allow(clippy::print_stdout, reason = "the seed and the counts are what a long run is for")]

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use crate::on_both;
use crate::support::{Database, OwnServer, Victim, effects, write_mixed};

/// Default number of kills of airun, for `up` and for `rollback` each.
const KILLS: u32 = 6;
/// Default number of kills of the server, for `up` and for `rollback` each.
const SERVER_KILLS: u32 = 2;

/// Returns a setting of `scripts/crash`, if it is set.
fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: `{text}`")))
}

/// SplitMix64, so that a seed repeats the whole run.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock");
        let seed = setting("AIRUN_CRASH_SEED").unwrap_or(now.as_nanos() as u64);
        println!("AIRUN_CRASH_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        Duration::from_nanos(self.next() % (limit.as_nanos() as u64 + 1))
    }
}

/// Counts what the kills interrupted, for the summary.
#[derive(Debug, Default)]
struct Met {
    killed: u32,
    too_late: u32,
    /// Kills that left no migration half-way.
    between: u32,
    /// Kills that left a script half-way, with an intent in the journal and without one.
    intended: u32,
    partial: u32,
}

impl Met {
    fn look(&mut self, db: &Database) {
        self.killed += 1;
        let there = db.rows(&format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = 'ai_migrations'",
            db.name
        ));
        let half = if there == ["0"] {
            Vec::new()
        } else {
            db.rows(&format!(
                "SELECT intent IS NOT NULL FROM `{}`.ai_migrations WHERE state IN ('applying', 'rolling_back')",
                db.name
            ))
        };
        match half.first().map(String::as_str) {
            None => self.between += 1,
            Some("1") => self.intended += 1,
            Some(_) => self.partial += 1,
        }
    }
}

/// Runs `args` and kills it at a random moment. Returns true if it was killed before it finished.
fn killed(db: &Database, args: &str, random: &mut Random, longest: Duration, met: &mut Met) -> bool {
    let running = db.start(args);
    thread::sleep(random.below(longest));
    let mut running = running;
    if running.is_running() {
        running.signal("KILL");
    }
    let ended = running.finish();
    match ended.code {
        0 => met.too_late += 1,
        137 => met.look(db),
        _ => panic!("{args}: {ended:?}"),
    }
    ended.code == 137
}

/// Runs `args`, kills the server meanwhile, and restarts it.
fn server_killed(server: &OwnServer, db: &Database, args: &str, after: Duration, met: &mut Met) {
    let running = db.start(args);
    thread::sleep(after);
    server.kill();
    let ended = running.finish();
    server.restart();
    match ended.code {
        0 => met.too_late += 1,
        1 => met.look(db),
        _ => panic!("{args}: {ended:?}"),
    }
}

fn straight(db: &Database, args: &str) -> Duration {
    let started = Instant::now();
    let ended = db.airun(args);
    assert_eq!(ended.code, 0, "{args}: {ended:?}");
    started.elapsed()
}

const ROLLBACK: &str = "migrate rollback --to 20260101000001";

/// Has `kill` interrupt `up` and `rollback` until each was killed `wanted` times. After each kill the command must
/// complete the work, and leave what it leaves without kills. `reset` empties the database before each `up`.
fn recovers(db: &Database, wanted: u32, reset: &dyn Fn(), kill: &mut dyn FnMut(&'static str, Duration, &mut Met)) {
    let longest_up = straight(db, "migrate up");
    let applied = effects(db);
    let longest_rollback = straight(db, ROLLBACK);
    let rolled_back = effects(db);
    let (mut ups, mut rollbacks, mut reported) = (Met::default(), Met::default(), 0);
    while ups.killed < wanted || rollbacks.killed < wanted {
        let too_late = ups.too_late + rollbacks.too_late;
        assert!(too_late < 200 + 4 * wanted, "too fast to be killed: {ups:?} {rollbacks:?}");
        if ups.killed / 100 > reported {
            reported = ups.killed / 100;
            println!("{:?}: so far up {ups:?}, rollback {rollbacks:?}", db.kind);
        }
        reset();
        kill("migrate up", longest_up, &mut ups);
        straight(db, "migrate up");
        assert_eq!(effects(db), applied, "{ups:?}");
        assert_eq!(db.airun("migrate status --check").code, 0);
        kill(ROLLBACK, longest_rollback, &mut rollbacks);
        straight(db, ROLLBACK);
        assert_eq!(effects(db), rolled_back, "{rollbacks:?}");
        assert_eq!(db.rows("SELECT version FROM ai_migrations"), ["20260101000001"]);
    }
    println!("{:?}: up {ups:?}, rollback {rollbacks:?}", db.kind);
}

on_both! {
    #[ignore = "long tier"]
    fn airun_killed_at_random_moments_loses_and_repeats_nothing(db) {
        let wanted = setting("AIRUN_CRASH_KILLS").map_or(KILLS, |kills| kills as u32);
        let mut random = Random::seeded();
        write_mixed(db, Victim::Client);
        let reset = || db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
        recovers(db, wanted, &reset, &mut |args, longest, met| {
            // Sometimes the recovery is killed too.
            while killed(db, args, &mut random, longest, met) && random.next().is_multiple_of(3) {}
        });
    }

    #[ignore = "long tier"]
    fn server_killed_at_random_moments_loses_and_repeats_nothing(shared) {
        let wanted = setting("AIRUN_CRASH_KILLS").map_or(SERVER_KILLS, |kills| (kills as u32).div_ceil(10));
        let mut random = Random::seeded();
        let server = OwnServer::start(shared.kind);
        let db = &Database::on(shared.kind, Some(server.url_file()));
        write_mixed(db, Victim::Server);
        let reset = || {
            db.execute(&[&format!("DROP DATABASE IF EXISTS `{}`", db.name)]);
            // MariaDB creates a database in two steps, and a kill between them leaves one without its character set.
            db.create();
        };
        recovers(db, wanted, &reset, &mut |args, longest, met| {
            server_killed(&server, db, args, random.below(longest), met);
        });
    }
}
