//! `ai_migrations`: what was applied, and how far a migration has come. The only SQL on that table.
//!
//! Every change is one statement that names the state it expects and proves that the lock is still held; so a second
//! migrator, or one that lost its lock, changes nothing and notices.

use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Params, Row, params};

use super::lock::{Lock, LockCondition};
use super::recover::evidence::Intent;
use super::version::Version;
use crate::db::quote_name;
use crate::error::{Error, ErrorKind, Result};
use crate::fault;

mod change;
mod row;

pub use change::{Begin, Progress, Resolved, UpReplacement};
pub use row::{JournalRow, State, Texts};
use row::{row, take};

/// The table's name, in the database that is migrated.
pub const TABLE: &str = "ai_migrations";

/// Longer UP files are known by their checksum alone; bytes.
pub const UP_TEXT_MAX: u64 = 256 * 1024;

/// The statements on `ai_migrations`, written for one database and one lock.
#[derive(Debug)]
pub struct Journal {
    table: String,
    condition: LockCondition,
}

impl Journal {
    /// The journal of `database`. Without a lock it can only be read.
    pub fn new(database: &str, lock: Option<&Lock>) -> Self {
        Self {
            table: format!("{}.`{TABLE}`", quote_name(database)),
            condition: lock.map_or_else(LockCondition::none, Lock::condition),
        }
    }

    /// What a script's `LOCK TABLES` must lock beside its own, so that the journal can be written meanwhile.
    pub fn locked_along(&self) -> String {
        let tables = std::iter::once(&self.table).chain(&self.condition.table);
        tables.map(|table| format!("{table} WRITE")).collect::<Vec<_>>().join(", ")
    }

    /// Makes the table if it's missing.
    pub fn create(&self, conn: &mut Conn) -> Result<()> {
        conn.query_drop(self.sql(CREATE))
            .map_err(|error| Error::from(error).context(format!("failed to create {}", self.table)))
    }

    /// Every row in version order; none where the table, or the whole database, is missing.
    pub fn history(&self, conn: &mut Conn) -> Result<Vec<JournalRow>> {
        let rows: Vec<Row> = match conn.query(self.sql(HISTORY)) {
            Err(mysql::Error::MySqlError(error)) if [1146, 1049].contains(&error.code) => return Ok(Vec::new()),
            rows => rows.map_err(|error| Error::from(error).context(format!("failed to read {}", self.table)))?,
        };
        rows.into_iter().map(row).collect()
    }

    /// The number of the newest application; 0 where there is none.
    pub fn newest(&self, conn: &mut Conn) -> Result<u64> {
        let newest: Option<Option<u64>> = conn.query_first(self.sql(NEWEST))?;
        Ok(newest.flatten().unwrap_or(0))
    }

    /// The texts of one row.
    pub fn texts(&self, conn: &mut Conn, version: Version) -> Result<Texts> {
        let row: Option<Row> = conn.exec_first(self.sql(TEXTS), (version.number(),))?;
        let mut row = row.ok_or_else(|| Error::failure(format!("the row of {version} is gone from {}", self.table)))?;
        Ok(Texts { up: take(&mut row, 0)?, down: take(&mut row, 1)? })
    }

    /// Writes a new row.
    pub fn begin(&self, conn: &mut Conn, begin: &Begin<'_>) -> Result<()> {
        let finished = !begin.state.is_partial();
        self.change(
            conn,
            "begin",
            BEGIN,
            params! {
                "version" => begin.version.number(),
                "name" => begin.name,
                "state" => begin.state.as_str(),
                "sequence" => begin.sequence,
                "checksum" => begin.checksum,
                "total" => begin.total,
                "done" => begin.done,
                "done_checksum" => if finished { begin.checksum } else { "" },
                "intent" => begin.intent.map(Intent::to_json),
                "up_text" => begin.up_text,
                "down_text" => begin.down_text,
                "duration" => millis(begin.duration),
            },
        )
    }

    /// Writes how far the script of a partial row has come.
    pub fn progress(&self, conn: &mut Conn, version: Version, state: State, progress: &Progress<'_>) -> Result<()> {
        self.change(
            conn,
            "progress",
            PROGRESS,
            params! {
                "version" => version.number(),
                "state" => state.as_str(),
                "total" => progress.total,
                "done" => progress.done,
                "done_checksum" => progress.done_checksum,
                "intent" => progress.intent.map(Intent::to_json),
                "session" => progress.session,
                "error" => progress.error,
                "duration" => millis(progress.spent),
            },
        )
    }

    /// The statement that writes how far a partial row's script has come, to be sent behind what it tells of in one
    /// packet: so the server writes it though the client is gone. `session` is SQL.
    pub fn progress_sql(
        &self,
        version: Version,
        state: State,
        total: u64,
        done: u64,
        sum: &str,
        session: &str,
    ) -> String {
        self.sql(PROGRESS_SQL)
            .replace("{version}", &version.number().to_string())
            .replace("{state}", state.as_str())
            .replace("{total}", &total.to_string())
            .replace("{done}", &done.to_string())
            .replace("{sum}", sum)
            .replace("{session}", session)
    }

    /// Whether what has run last has written a row.
    ///
    /// # Errors
    /// [`ErrorKind::LockHeld`]: the lock was lost.
    pub fn check_written(&self, conn: &Conn) -> Result<()> {
        // An update that writes the lock's row along counts that too.
        if conn.affected_rows() > 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::LockHeld,
            format!(
                "the migration lock was lost, or somebody changed {}; nothing more was run; run it again",
                self.table
            ),
        ))
    }

    /// The server refused the statement that was about to run: it didn't happen, and this is why.
    pub fn fail(&self, conn: &mut Conn, version: Version, state: State, why: &str) -> Result<()> {
        self.change(
            conn,
            "fail",
            FAIL,
            params! { "version" => version.number(), "state" => state.as_str(), "error" => why },
        )
    }

    /// The UP has run to its end.
    pub fn finish(&self, conn: &mut Conn, version: Version, total: u64, checksum: &str, spent: Duration) -> Result<()> {
        self.change(
            conn,
            "finish",
            FINISH,
            params! {
                "version" => version.number(),
                "total" => total,
                "checksum" => checksum,
                "duration" => millis(spent),
            },
        )
    }

    /// The texts and the checksum of a resumed or accepted file replace those of the one that was begun.
    pub fn replace_up(&self, conn: &mut Conn, version: Version, replacement: &UpReplacement<'_>) -> Result<()> {
        self.change(
            conn,
            "replace",
            REPLACE_UP,
            params! {
                "version" => version.number(),
                "state" => replacement.state.as_str(),
                "checksum" => replacement.checksum,
                "total" => replacement.total,
                "up_text" => replacement.up_text,
                "down_text" => replacement.down_text,
            },
        )
    }

    /// Somebody says by hand how a migration stands: `to` replaces what `from` is.
    pub fn resolve(&self, conn: &mut Conn, from: &JournalRow, to: &Resolved<'_>) -> Result<()> {
        self.change(
            conn,
            "resolve",
            RESOLVE,
            params! {
                "version" => from.version.number(),
                "expected" => from.state.as_str(),
                "state" => to.state.as_str(),
                "checksum" => to.checksum,
                "total" => to.total,
                "done" => to.done,
                "done_checksum" => to.done_checksum,
                "up_text" => to.up_text,
                "down_text" => to.down_text,
            },
        )
    }

    /// The DOWN is about to run, journalled.
    pub fn begin_rollback(
        &self,
        conn: &mut Conn,
        from: &JournalRow,
        total: u64,
        intent: Option<&Intent>,
    ) -> Result<()> {
        self.change(
            conn,
            "begin-rollback",
            BEGIN_ROLLBACK,
            params! {
                "version" => from.version.number(),
                "state" => from.state.as_str(),
                "total" => total,
                "intent" => intent.map(Intent::to_json),
            },
        )
    }

    /// The DOWN has run to its end, or the row is to be forgotten.
    pub fn forget(&self, conn: &mut Conn, version: Version, state: State) -> Result<()> {
        self.change(conn, "forget", FORGET, params! { "version" => version.number(), "state" => state.as_str() })
    }

    fn sql(&self, template: &str) -> String {
        let is_update = template.trim_start().starts_with("UPDATE");
        let held = if is_update { &self.condition.update_condition } else { &self.condition.condition };
        template
            .replace("{proven}", &format!("{}{}", self.table, self.condition.update_join))
            .replace("{condition}", &self.condition.update_set)
            .replace("{table}", &self.table)
            .replace("{held}", held)
    }

    /// `step` is what the fault points before and behind it are called.
    fn change(&self, conn: &mut Conn, step: &str, template: &str, params: Params) -> Result<()> {
        fault::step(step, "before");
        conn.exec_drop(self.sql(template), params)
            .map_err(|error| Error::from(error).context(format!("failed to write {}", self.table)))?;
        self.check_written(conn)?;
        fault::step(step, "after");
        Ok(())
    }
}

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS {table} (
  version       BIGINT UNSIGNED NOT NULL COMMENT 'YYYYMMDDHHMMSS',
  name          VARCHAR(200) NOT NULL,
  state         VARCHAR(16) CHARACTER SET ascii NOT NULL COMMENT 'applying, applied, baseline, rolling_back',
  sequence      BIGINT UNSIGNED NOT NULL COMMENT 'order of application',
  checksum      CHAR(64) CHARACTER SET ascii NOT NULL COMMENT 'SHA-256 over the tokens of the UP',
  total         BIGINT UNSIGNED NOT NULL COMMENT 'statements of the script',
  done          BIGINT UNSIGNED NOT NULL COMMENT 'statements known to have taken effect',
  done_checksum CHAR(64) CHARACTER SET ascii NOT NULL COMMENT 'of those statements',
  intent        LONGTEXT NULL COMMENT 'the statement about to run, and what it touches',
  session       LONGTEXT NULL COMMENT 'what a resumed script must find in its session',
  error         TEXT NULL COMMENT 'why it stopped',
  up_text       LONGTEXT NULL COMMENT 'the UP as applied, where it is small',
  down_text     LONGTEXT NULL COMMENT 'the DOWN as it was then: what rollback runs',
  applied_at    DATETIME(6) NOT NULL COMMENT 'UTC',
  applied_by    VARCHAR(288) NOT NULL,
  duration_ms   BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'airun migrations, format 1'";

const HISTORY: &str = "
SELECT version, name, state, sequence, checksum, total, done, done_checksum, intent, session, error,
       DATE_FORMAT(applied_at, '%Y-%m-%d %H:%i:%s'), applied_by, duration_ms, down_text IS NOT NULL
FROM {table} ORDER BY version";

const NEWEST: &str = "SELECT MAX(sequence) FROM {table}";

const TEXTS: &str = "SELECT up_text, down_text FROM {table} WHERE version = ?";

const BEGIN: &str = "
INSERT INTO {table} (version, name, state, sequence, checksum, total, done, done_checksum, intent, up_text, down_text,
                     applied_at, applied_by, duration_ms)
SELECT :version, :name, :state, :sequence, :checksum, :total, :done, :done_checksum, :intent, :up_text, :down_text,
       UTC_TIMESTAMP(6), USER(), :duration
FROM DUAL WHERE {held}";

const PROGRESS: &str = "
UPDATE {proven}
SET {condition}total = :total, done = :done, done_checksum = :done_checksum, intent = :intent, session = :session, error = :error,
    duration_ms = duration_ms + :duration
WHERE version = :version AND state = :state AND {held}";

const PROGRESS_SQL: &str = "
UPDATE {proven}
SET {condition}total = {total}, done = {done}, done_checksum = '{sum}', intent = NULL, session = {session}, error = NULL
WHERE version = {version} AND state = '{state}' AND {held}";

const FAIL: &str = "
UPDATE {proven} SET {condition}intent = NULL, error = :error WHERE version = :version AND state = :state AND {held}";

const FINISH: &str = "
UPDATE {proven}
SET {condition}state = 'applied', total = :total, done = :total, checksum = :checksum, done_checksum = :checksum, intent = NULL,
    session = NULL, error = NULL, duration_ms = duration_ms + :duration,
    applied_at = UTC_TIMESTAMP(6), applied_by = USER()
WHERE version = :version AND state = 'applying' AND {held}";

const REPLACE_UP: &str = "
UPDATE {proven}
SET {condition}checksum = :checksum, total = :total, up_text = :up_text, down_text = :down_text
WHERE version = :version AND state = :state AND {held}";

const RESOLVE: &str = "
UPDATE {proven}
SET {condition}state = :state, checksum = :checksum, total = :total, done = :done, done_checksum = :done_checksum, intent = NULL,
    error = NULL, up_text = COALESCE(:up_text, up_text), down_text = COALESCE(:down_text, down_text)
WHERE version = :version AND state = :expected AND {held}";

const BEGIN_ROLLBACK: &str = "
UPDATE {proven}
SET {condition}state = 'rolling_back', total = :total, done = 0, done_checksum = '', intent = :intent, session = NULL, error = NULL,
    duration_ms = 0
WHERE version = :version AND state = :state AND {held}";

const FORGET: &str = "DELETE FROM {table} WHERE version = :version AND state = :state AND {held}";

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
