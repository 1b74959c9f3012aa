//! Times migrators side by side, in one run on one server; `scripts/bench migrate` starts it.
//!
//! The works are those that migrators differ in: many small definitions, many single-row statements, one large load, and
//! having nothing to do. Each contestant gets the same statements in its own kind of file, a database of its own, and its
//! turn in every round; the best of the rounds counts, since whatever else the machine does only adds.

use std::env;
use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable as _;
use mysql::{Conn, Opts, OptsBuilder};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 3;

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
    /// Whether everything is applied before the clock starts, and what is timed then.
    then: Option<&'static str>,
}

fn main() -> Result<()> {
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

fn run(setup: &Setup) -> Result<()> {
    let mut conn = connect(setup)?;
    let version: Option<String> = conn.query_first("SELECT VERSION()")?;
    say(&format!("{}, best of {ROUNDS}: seconds (peak MB of the client)\n", version.unwrap_or_default()))?;
    say(&format!("{:34} {:>16} {:>16} {:>16} {:>14}\n", "", "airun", "dbmate", "mysql client", "airun/dbmate"))?;
    for work in works() {
        let mut outcomes = [Outcome::None; 3];
        for _ in 0..ROUNDS {
            for (who, outcome) in [Who::Airun, Who::Dbmate, Who::Client].into_iter().zip(&mut outcomes) {
                outcome.take_in(time(setup, &mut conn, who, &work)?);
            }
        }
        let [airun, dbmate, client] = outcomes;
        let ratio = match (airun, dbmate) {
            (Outcome::Took(airun, _), Outcome::Took(dbmate, _)) => {
                format!("{:.2}", airun.as_secs_f64() / dbmate.as_secs_f64())
            }
            _ => "-".to_owned(),
        };
        let [airun, dbmate, client] = [airun, dbmate, client].map(|outcome| outcome.to_string());
        say(&format!("{:34} {airun:>16} {dbmate:>16} {client:>16} {ratio:>14}\n", work.name))?;
    }
    Ok(())
}

/// What came of a contestant's work.
#[derive(Clone, Copy)]
enum Outcome {
    /// It isn't there, or the work isn't one for it.
    None,
    /// And the peak of its memory in kB.
    Took(Duration, u64),
    Failed,
}

impl Outcome {
    /// The best of the rounds counts, and the most memory.
    fn take_in(&mut self, other: Outcome) {
        *self = match (*self, other) {
            (Outcome::Took(time, memory), Outcome::Took(again, more)) => {
                Outcome::Took(time.min(again), memory.max(more))
            }
            (_, other) => other,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::None => write!(f, "-"),
            Outcome::Took(time, kilobytes) => {
                write!(f, "{:.3} ({:.0})", time.as_secs_f64(), *kilobytes as f64 / 1024.0)
            }
            Outcome::Failed => write!(f, "fails"),
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

fn time(setup: &Setup, conn: &mut Conn, who: Who, work: &Work) -> Result<Outcome> {
    if who == Who::Dbmate && setup.dbmate.is_none() || who == Who::Client && work.then.is_some() {
        return Ok(Outcome::None);
    }
    let database = format!("airun_bench_{}", std::process::id());
    conn.query_drop(format!("DROP DATABASE IF EXISTS {database}"))?;
    conn.query_drop(format!("CREATE DATABASE {database}"))?;
    let folder = setup.folder.join("migrations");
    fs::remove_dir_all(&setup.folder).ok();
    fs::create_dir_all(&folder)?;
    write_files(&folder, who, work)?;
    let command = |verb: &str| command(setup, who, &database, &folder, verb);
    if work.then.is_some() {
        measure(command("up"))?;
    }
    let outcome = measure(command(work.then.unwrap_or("up")));
    conn.query_drop(format!("DROP DATABASE {database}"))?;
    match outcome {
        // That a peer can't do it is a result too; the reason goes to standard error.
        Err(error) if who != Who::Airun => {
            std::io::stderr().write_all(format!("{error}\n").as_bytes())?;
            Ok(Outcome::Failed)
        }
        outcome => outcome.map(|(time, memory)| Outcome::Took(time, memory)),
    }
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
        std::io::Read::read_to_string(&mut stderr, &mut said)?;
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

fn connect(setup: &Setup) -> Result<Conn> {
    Ok(Conn::new(OptsBuilder::from_opts(Opts::from_url(&setup.url)?).prefer_socket(false))?)
}

fn say(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
