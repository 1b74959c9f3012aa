//! Migrators side by side.
//!
//! The works are those that migrators differ in: many small definitions, many single-row statements, one large load, and
//! having nothing to do. Each contestant gets the same statements in its own kind of file, and a database of its own.

use std::env;
use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql::{Conn, Opts, OptsBuilder};

use crate::{Result, quantile};

/// Of a work that begins with an empty database.
const ROUNDS: usize = 7;
/// Of one that changes nothing.
const ROUNDS_READING: usize = 21;

/// A migrator to time.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    Airun,
    Dbmate,
    /// The server's own client, without any book-keeping.
    Client,
}

struct Setup {
    /// Of the server, without a database's name.
    url: String,
    airun: PathBuf,
    dbmate: Option<PathBuf>,
    client: PathBuf,
    folder: PathBuf,
}

struct Work {
    name: &'static str,
    files: Vec<String>,
    /// What is timed once everything is applied; without it, that is timed.
    then: Option<&'static str>,
}

pub fn show() -> Result {
    let setup = Setup {
        url: env::var("BENCH_URL")?.trim_end_matches('/').to_owned(),
        airun: env::var("BENCH_AIRUN")?.into(),
        dbmate: env::var("BENCH_DBMATE").ok().filter(|path| !path.is_empty()).map(PathBuf::from),
        client: env::var("BENCH_CLIENT")?.into(),
        folder: env::temp_dir().join(format!("airun-bench-{}", std::process::id())),
    };
    let done = run(&setup);
    fs::remove_dir_all(&setup.folder).ok();
    done
}

fn run(setup: &Setup) -> Result {
    let mut conn = Conn::new(OptsBuilder::from_opts(Opts::from_url(&setup.url)?).prefer_socket(false))?;
    let version: Option<String> = conn.query_first("SELECT VERSION()")?;
    println!("{}; medians of {ROUNDS} rounds, {ROUNDS_READING} of the last two", version.unwrap_or_default());
    println!(
        "{:34} {:>16} {:>16} {:>16} {:>14}",
        "seconds (peak MB of the client)", "airun", "dbmate", "mysql client", "airun/dbmate"
    );
    for work in works() {
        let [airun, dbmate, client] = in_turn(setup, &mut conn, &work)?;
        let ratios: Vec<f64> =
            airun.seconds.iter().zip(&dbmate.seconds).map(|(airun, dbmate)| airun / dbmate).collect();
        let ratio = if ratios.is_empty() { "-".to_owned() } else { format!("{:.2}", quantile(&ratios, 0.5)) };
        let [airun, dbmate, client] = [airun, dbmate, client].map(|outcome| outcome.to_string());
        println!("{:34} {airun:>16} {dbmate:>16} {client:>16} {ratio:>14}", work.name);
    }
    Ok(())
}

/// Each contestant has its turn in every round, so that what else the machine does falls on all.
fn in_turn(setup: &Setup, conn: &mut Conn, work: &Work) -> Result<[Outcome; 3]> {
    let mut outcomes = [Outcome::default(), Outcome::default(), Outcome::default()];
    let rounds = if work.then.is_some() { ROUNDS_READING } else { ROUNDS };
    for round in 0..rounds {
        for (number, (who, outcome)) in
            [Who::Airun, Who::Dbmate, Who::Client].into_iter().zip(&mut outcomes).enumerate()
        {
            let takes_part = match who {
                Who::Airun => true,
                Who::Dbmate => setup.dbmate.is_some(),
                // It is there to compare with, and slow.
                Who::Client => work.then.is_none() && round == 0,
            };
            if !takes_part || outcome.failed {
                continue;
            }
            let database = format!("airun_bench_{}_{number}", std::process::id());
            let folder = setup.folder.join(&database);
            if round == 0 || work.then.is_none() {
                conn.query_drop(format!("DROP DATABASE IF EXISTS {database}"))?;
                conn.query_drop(format!("CREATE DATABASE {database}"))?;
                fs::remove_dir_all(&folder).ok();
                fs::create_dir_all(&folder)?;
                write_files(&folder, who, work)?;
                if work.then.is_some() {
                    measure(command(setup, who, &database, &folder, "up"))?;
                }
            }
            match measure(command(setup, who, &database, &folder, work.then.unwrap_or("up"))) {
                Ok((time, memory)) => outcome.take_in(time, memory),
                // That a peer can't do it is a result too; the reason goes to standard error.
                Err(error) if who != Who::Airun => {
                    eprintln!("{error}");
                    outcome.failed = true;
                }
                Err(error) => return Err(error),
            }
            if round + 1 == rounds || work.then.is_none() {
                conn.query_drop(format!("DROP DATABASE {database}"))?;
            }
        }
    }
    Ok(outcomes)
}

/// What came of a contestant's work.
#[derive(Default)]
struct Outcome {
    /// Of each round that it took part in.
    seconds: Vec<f64>,
    peak_kilobytes: u64,
    failed: bool,
}

impl Outcome {
    fn take_in(&mut self, time: Duration, peak_kilobytes: u64) {
        self.seconds.push(time.as_secs_f64());
        self.peak_kilobytes = self.peak_kilobytes.max(peak_kilobytes);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome { failed: true, .. } => write!(f, "fails"),
            Outcome { seconds, .. } if seconds.is_empty() => write!(f, "-"),
            Outcome { seconds, peak_kilobytes, .. } => {
                write!(f, "{:.3} ({:.0})", quantile(seconds, 0.5), *peak_kilobytes as f64 / 1024.0)
            }
        }
    }
}

fn works() -> Vec<Work> {
    let tables = (0..200)
        .map(|i| {
            format!("CREATE TABLE t{i} (id INT PRIMARY KEY, a INT, b VARCHAR(50));\nCREATE INDEX t{i}_a ON t{i} (a);\n")
        })
        .collect();
    let tables_of_rows: String =
        (0..10).map(|file| format!("CREATE TABLE r{file} (id INT PRIMARY KEY, a INT, b VARCHAR(50));\n")).collect();
    let rows = (0..10).map(|file| {
        (0..2000).map(|i| format!("INSERT INTO r{file} VALUES ({i}, {file}, 'row {i} of file {file}');\n")).collect()
    });
    let rows = std::iter::once(tables_of_rows).chain(rows).collect();
    let mut load = "CREATE TABLE big (id INT PRIMARY KEY, a INT, b VARCHAR(200));\n".to_owned();
    let mut id = 0;
    while load.len() < 50_000_000 {
        let values: Vec<String> = (0..500)
            .map(|_| {
                id += 1;
                format!("({id},{},'{:>150}')", id % 97, format!("a text; with a \\'quote\\' and a number {id}"))
            })
            .collect();
        load.push_str(&format!("INSERT INTO big VALUES {};\n", values.join(",")));
    }
    let small = || (0..1000).map(|i| format!("INSERT INTO log VALUES ({i});\n")).collect::<Vec<_>>();
    let with_table = |mut files: Vec<String>| {
        files[0].insert_str(0, "CREATE TABLE log (a INT);\n");
        files
    };
    vec![
        Work { name: "200 x (CREATE TABLE + index)", files: tables, then: None },
        Work { name: "10 files x 2,000 one-row INSERTs", files: rows, then: None },
        Work { name: "one 50 MB load", files: vec![load], then: None },
        Work { name: "up, 1,000 applied, none pending", files: with_table(small()), then: Some("up") },
        Work { name: "status, 1,000 applied", files: with_table(small()), then: Some("status") },
    ]
}

fn write_files(folder: &Path, who: Who, work: &Work) -> Result<()> {
    for (i, text) in work.files.iter().enumerate() {
        let version = 20_260_101_000_000u64 + (i / 3600 * 10_000 + i % 3600 / 60 * 100 + i % 60) as u64;
        match who {
            Who::Airun => fs::write(folder.join(format!("{version}_work_UP.sql")), text)?,
            Who::Dbmate => fs::write(
                folder.join(format!("{version}_work.sql")),
                format!("-- migrate:up\n{text}\n-- migrate:down\n"),
            )?,
            Who::Client => fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("all.sql"))?
                .write_all(text.as_bytes())?,
        }
    }
    Ok(())
}

fn command(setup: &Setup, who: Who, database: &str, folder: &Path, verb: &str) -> Command {
    let url = format!("{}/{database}", setup.url);
    match who {
        Who::Airun => {
            let mut command = Command::new(&setup.airun);
            command.args(["migrate", verb]).env("DATABASE_URL", url).env("AIRUN_MIGRATIONS_DIR", folder);
            // As dbmate's driver connects unless it is told otherwise: it is no matter of migrating.
            command.env("DB_TLS_MODE", "disabled");
            command
        }
        Who::Dbmate => {
            let program = setup.dbmate.clone().unwrap_or_default();
            let mut command = Command::new(program);
            command.args(["--no-dump-schema", "--migrations-dir"]).arg(folder).arg(if verb == "up" {
                "migrate"
            } else {
                verb
            });
            command.env("DATABASE_URL", url);
            command
        }
        Who::Client => {
            let mut command = Command::new("sh");
            command.args(["-c", "\"$0\" \"$1\" < \"$2\""]).arg(&setup.client).arg(database).arg(folder.join("all.sql"));
            command
        }
    }
}

/// Its wall time, and its peak memory in kB as Linux last told it.
fn measure(mut command: Command) -> Result<(Duration, u64)> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(resident_kilobytes(&child));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let took = started.elapsed();
    if status.success() {
        return Ok((took, peak));
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    // Its environment has the password.
    Err(format!("{} failed: {said}", command.get_program().to_string_lossy()).into())
}

/// Of the process and its children, as far as they still run (proc_pid_status(5)).
fn resident_kilobytes(child: &Child) -> u64 {
    let peak = |pid: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    let pid = child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| peak(child.parse().ok()?)).max();
    peak(pid).max(below).unwrap_or(0)
}
