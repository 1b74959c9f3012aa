//! A database of its own, and workers on it.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mysql::prelude::{FromRow, Queryable as _};
use mysql::{Conn, Opts, OptsBuilder};

use crate::Result;

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(600);

pub struct Bed {
    server: String,
    name: String,
    lab: String,
}

impl Bed {
    pub fn new() -> Result<Self> {
        let url = env::var("BENCH_URL")?;
        let server = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let lab = env::var("BENCH_LAB")?;
        let bed = Self { server, name: format!("airun_bench_{}", std::process::id()), lab };
        let migrated = Command::new(env::var("BENCH_AIRUN")?)
            .args(["migrate", "up"])
            .env("DATABASE_URL", bed.url())
            .stdout(Stdio::null())
            .status()?;
        if !migrated.success() {
            return Err("the migrations failed".into());
        }
        Ok(bed)
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    pub fn conn(&self) -> Result<Conn> {
        let options = OptsBuilder::from_opts(Opts::from_url(&self.url())?).prefer_socket(false).tcp_nodelay(true);
        let mut conn = Conn::new(options)?;
        conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")?;
        Ok(conn)
    }

    pub fn version(&self) -> Result<String> {
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

    /// Starts a worker with the lab's tasks.
    pub fn worker(&self, args: &[&str]) -> Result<Worker> {
        let mut command = Command::new(&self.lab);
        command.arg("worker").args(args).env("LAB_QUEUE", "1").env("DATABASE_URL", self.url());
        command.env("RUST_LOG", "warn").stdin(Stdio::null());
        Ok(Worker(command.spawn()?))
    }

    /// Fills the queue with `count` tasks.
    pub fn fill(&self, kind: &str, count: u64) -> Result {
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

    /// Has the server write what filling the table has left in its memory, which would be done meanwhile otherwise.
    pub fn settle(&self) -> Result {
        let mut conn = self.conn()?;
        conn.query_drop("FLUSH TABLES ai_server_tasks FOR EXPORT")?;
        Ok(conn.query_drop("UNLOCK TABLES")?)
    }

    /// Waits until a task has succeeded.
    pub fn wait_for(&self, id: u64) -> Result {
        let started = Instant::now();
        let mut conn = self.conn()?;
        let query = format!("SELECT 1 FROM ai_server_tasks WHERE id = {id} AND state = 'succeeded'");
        while conn.query_first::<u8, _>(&query)?.is_none() {
            if started.elapsed() > LIMIT {
                return Err("a task hasn't succeeded".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Waits until no task of `kind` is in `state`.
    pub fn wait_for_none(&self, kind: &str, state: &str) -> Result {
        let started = Instant::now();
        let mut conn = self.conn()?;
        let query = format!("SELECT 1 FROM ai_server_tasks WHERE state = '{state}' AND kind = '{kind}' LIMIT 1");
        while conn.query_first::<u8, _>(&query)?.is_some() {
            if started.elapsed() > LIMIT {
                return Err(format!("tasks are still {state}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.execute(&format!("DROP DATABASE `{}`", self.name)));
    }
}

/// Ends with its drop, as by SIGTERM.
pub struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}
