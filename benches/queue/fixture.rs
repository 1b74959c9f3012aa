//! A database for the measurements, and workers on it.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::{FromRow, Queryable as _};
use mysql::{Conn, Opts, OptsBuilder};

use crate::Result;

/// The longest time to wait for tasks to finish.
const TIMEOUT: Duration = Duration::from_secs(600);

pub struct Fixture {
    server_url: String,
    database: String,
    lab: String,
}

impl Fixture {
    /// Creates the database and applies the migrations. Dropping the fixture drops the database.
    pub fn new() -> Result<Self> {
        let url = env::var("BENCH_URL")?;
        let server_url = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let database = format!("airun_bench_{}", std::process::id());
        let fixture = Self { server_url, database, lab: env::var("BENCH_LAB")? };
        let migrated = Command::new(env!("CARGO_BIN_EXE_airun"))
            .args(["migrate", "up"])
            .env("DATABASE_URL", fixture.url())
            .stdout(Stdio::null())
            .status()?;
        if !migrated.success() {
            return Err("`airun migrate up` failed".into());
        }
        Ok(fixture)
    }

    fn url(&self) -> String {
        format!("{}/{}", self.server_url, self.database)
    }

    pub fn conn(&self) -> Result<Conn> {
        let options = OptsBuilder::from_opts(Opts::from_url(&self.url())?).prefer_socket(false).tcp_nodelay(true);
        let mut conn = Conn::new(options)?;
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
        Ok(conn)
    }

    pub fn server_settings(&self) -> Result<String> {
        self.first(
            "SELECT CONCAT(@@version, ', innodb_flush_log_at_trx_commit ', @@innodb_flush_log_at_trx_commit, \
             ', log_bin ', @@log_bin, ', sync_binlog ', @@sync_binlog)",
        )
    }

    pub fn first<T: FromRow>(&self, query: &str) -> Result<T> {
        self.conn()?.query_first(query)?.ok_or_else(|| format!("no row: {query}").into())
    }

    pub fn execute(&self, statement: &str) -> Result {
        Ok(self.conn()?.query_drop(statement)?)
    }

    /// Starts a worker that runs the lab's tasks.
    pub fn start_worker(&self, args: &[&str]) -> Result<Worker> {
        let mut command = Command::new(&self.lab);
        command.arg("worker").args(args).env("LAB_QUEUE", "1").env("DATABASE_URL", self.url());
        command.env("RUST_LOG", "warn").stdin(Stdio::null());
        Ok(Worker(command.spawn()?))
    }

    /// Inserts `count` pending tasks.
    pub fn insert_tasks(&self, kind: &str, count: u64) -> Result {
        let mut conn = self.conn()?;
        let row = format!("('{kind}', '{{\"n\": 12345}}')");
        let mut left = count;
        while left > 0 {
            let batch = left.min(1000);
            let rows = vec![row.as_str(); usize::try_from(batch)?].join(",");
            conn.query_drop(format!("INSERT INTO ai_server_tasks (kind, payload) VALUES {rows}"))?;
            left -= batch;
        }
        Ok(())
    }

    /// Makes the server write the table's dirty pages now, so that it does not write them during the measurement.
    pub fn flush_table(&self) -> Result {
        let mut conn = self.conn()?;
        conn.query_drop("FLUSH TABLES ai_server_tasks FOR EXPORT")?;
        Ok(conn.query_drop("UNLOCK TABLES")?)
    }

    /// Waits until the task has succeeded.
    pub fn wait_for_success(&self, id: u64) -> Result {
        let query = format!("SELECT 1 FROM ai_server_tasks WHERE id = {id} AND state = 'succeeded'");
        self.wait_until(&format!("task {id} has not succeeded"), |conn| {
            Ok(conn.query_first::<u8, _>(&query)?.is_some())
        })
    }

    /// Waits until no task of `kind` is in `state`.
    pub fn wait_for_none(&self, kind: &str, state: &str) -> Result {
        let query = format!("SELECT 1 FROM ai_server_tasks WHERE state = '{state}' AND kind = '{kind}' LIMIT 1");
        self.wait_until(&format!("tasks are still {state}"), |conn| Ok(conn.query_first::<u8, _>(&query)?.is_none()))
    }

    fn wait_until(&self, failure: &str, condition: impl Fn(&mut Conn) -> Result<bool>) -> Result {
        let started = Instant::now();
        let mut conn = self.conn()?;
        while !condition(&mut conn)? {
            if started.elapsed() > TIMEOUT {
                return Err(format!("{failure} after {} s", TIMEOUT.as_secs()).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Err(error) = self.execute(&format!("DROP DATABASE `{}`", self.database)) {
            println!("failed to drop `{}`: {error}", self.database);
        }
    }
}

/// A worker process, which gets SIGTERM when it is dropped.
pub struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let killed = Command::new("kill").arg(self.0.id().to_string()).status();
        if let Err(error) = killed.and_then(|_| self.0.wait()) {
            println!("failed to stop a worker: {error}");
        }
    }
}
