//! `ai_migrations`: what was applied, and how far a migration has got. This is the only SQL on that table.
//!
//! Each change is one statement that names the state it expects and that only succeeds while the lock is held. So a
//! second migrator, or one that lost its lock, changes nothing and notices.

use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Params, Row, params};

use super::lock::{Lock, LockCondition};
use super::names::{JOURNAL_TABLE, fill, qualified};
use super::version::Version;
use crate::db::quote_text;
use crate::error::{Error, ErrorKind, Result};
use crate::fault;

mod change;
mod intent;
mod row;

pub use change::{Finished, Migration, NewRow, Progress};
pub use intent::{BatchedDdl, Intent, Observed, Witness};
pub use row::{JournalRow, State, Texts};
use row::{column, parse_row};

/// Longer UP files are not stored, only their checksum. Bytes.
pub const UP_TEXT_MAX: u64 = 256 * 1024;

/// Reads and writes the journal of one database.
#[derive(Debug)]
pub struct Journal {
    table: String,
    lock: LockCondition,
}

impl Journal {
    /// Creates a journal that can be read. Every change is refused, because no lock is held.
    pub fn read_only(database: &str) -> Self {
        Self { table: qualified(database, JOURNAL_TABLE), lock: LockCondition::of("FALSE".to_owned()) }
    }

    /// Creates a journal that can be changed while `lock` is held.
    pub fn locked(database: &str, lock: &Lock) -> Self {
        Self { lock: lock.condition(), ..Self::read_only(database) }
    }

    /// Returns the tables that a script's `LOCK TABLES` must lock too, so that the journal can be written meanwhile.
    pub fn tables_to_lock(&self) -> String {
        let tables = std::iter::once(&self.table).chain(&self.lock.table);
        tables.map(|table| format!("{table} WRITE")).collect::<Vec<_>>().join(", ")
    }

    /// Creates the table if it does not exist.
    pub fn create(&self, conn: &mut Conn) -> Result<()> {
        const CREATE: &str = "
CREATE TABLE IF NOT EXISTS {table} (
  version          BIGINT UNSIGNED NOT NULL COMMENT 'YYYYMMDDHHMMSS',
  name             VARCHAR(200) NOT NULL,
  state            VARCHAR(16) CHARACTER SET ascii NOT NULL COMMENT 'applying, applied, baseline, rolling_back',
  applied_order    BIGINT UNSIGNED NOT NULL COMMENT 'the order in which migrations were applied',
  checksum         CHAR(64) CHARACTER SET ascii NOT NULL COMMENT 'SHA-256 of the tokens of the UP',
  statements_total BIGINT UNSIGNED NOT NULL COMMENT 'statements in the script',
  statements_done  BIGINT UNSIGNED NOT NULL COMMENT 'statements known to be applied',
  done_checksum    CHAR(64) CHARACTER SET ascii NOT NULL COMMENT 'SHA-256 of the tokens of those statements',
  intent           LONGTEXT NULL COMMENT 'the statement about to run, with fingerprints of what it changes',
  session_state    LONGTEXT NULL COMMENT 'user variables to restore when the script resumes',
  error            TEXT NULL COMMENT 'why the script stopped',
  up_text          LONGTEXT NULL COMMENT 'the UP as applied, unless it is large',
  down_text        LONGTEXT NULL COMMENT 'the DOWN when the UP was applied: rollback runs this',
  applied_at       DATETIME(6) NOT NULL COMMENT 'UTC',
  applied_by       VARCHAR(288) NOT NULL,
  duration_ms      BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'airun migrations, format 1'";
        conn.query_drop(self.sql(CREATE))
            .map_err(|error| Error::from(error).context(format!("failed to create {}", self.table)))
    }

    /// Returns every row, in version order. Empty if the table or the database does not exist.
    pub fn history(&self, conn: &mut Conn) -> Result<Vec<JournalRow>> {
        const HISTORY: &str = "
SELECT version, name, state, applied_order, checksum, statements_total, statements_done, done_checksum, intent,
       session_state, error, DATE_FORMAT(applied_at, '%Y-%m-%d %H:%i:%s'), applied_by, duration_ms, down_text IS NOT NULL
FROM {table} ORDER BY version";
        let rows: Vec<Row> = match conn.query(self.sql(HISTORY)) {
            Err(mysql::Error::MySqlError(error)) if [1146, 1049].contains(&error.code) => return Ok(Vec::new()),
            rows => rows.map_err(|error| Error::from(error).context(format!("failed to read {}", self.table)))?,
        };
        rows.into_iter().map(parse_row).collect()
    }

    /// Returns the highest `applied_order`; 0 if nothing was applied.
    pub fn newest_order(&self, conn: &mut Conn) -> Result<u64> {
        let newest: Option<Option<u64>> = conn.query_first(self.sql("SELECT MAX(applied_order) FROM {table}"))?;
        Ok(newest.flatten().unwrap_or(0))
    }

    pub fn texts(&self, conn: &mut Conn, version: Version) -> Result<Texts> {
        const TEXTS: &str = "SELECT up_text, down_text FROM {table} WHERE version = ?";
        let row: Option<Row> = conn.exec_first(self.sql(TEXTS), (version.number(),))?;
        let mut row =
            row.ok_or_else(|| Error::failure(format!("the row of {version} was deleted from {}", self.table)))?;
        Ok(Texts { up: column(&mut row, 0)?, down: column(&mut row, 1)? })
    }

    pub fn insert(&self, conn: &mut Conn, row: &NewRow<'_>) -> Result<()> {
        const INSERT: &str = "
INSERT INTO {table} (version, name, state, applied_order, checksum, statements_total, statements_done, done_checksum,
                     intent, up_text, down_text, applied_at, applied_by, duration_ms)
SELECT :version, :name, :state, :applied_order, :checksum, :total, :done, :done_checksum, :intent, :up_text, :down_text,
       UTC_TIMESTAMP(6), USER(), :duration
FROM DUAL WHERE {lock_held}";
        let partial = row.state.is_partial();
        let parameters = params! {
            "version" => row.migration.version.number(),
            "name" => row.migration.name,
            "state" => row.state.as_str(),
            "applied_order" => row.migration.applied_order,
            "checksum" => row.migration.checksum,
            "total" => row.migration.statements_total,
            "done" => if partial { 0 } else { row.migration.statements_total },
            "done_checksum" => if partial { "" } else { row.migration.checksum },
            "intent" => row.intent.map(Intent::to_json).transpose()?,
            "up_text" => row.migration.up_text,
            "down_text" => row.migration.down_text,
            "duration" => millis(row.duration),
        };
        self.change(conn, "begin", INSERT, parameters)
    }

    /// Records how far the script of a partial migration has got.
    pub fn progress(&self, conn: &mut Conn, progress: &Progress<'_>) -> Result<()> {
        let sql = self.progress_sql(progress)?;
        self.write(conn, "progress", |conn| conn.query_drop(sql))
    }

    /// The SQL of [`Journal::progress`]. If it follows a statement in one packet, the server runs it even if the client
    /// has died meanwhile.
    pub fn progress_sql(&self, progress: &Progress<'_>) -> Result<String> {
        const PROGRESS: &str = "
UPDATE {locked_table}
SET {lock_write}statements_total = {total}, statements_done = {done}, done_checksum = '{done_checksum}', intent = {intent},
    session_state = {session_state}, error = NULL, duration_ms = duration_ms + {duration}
WHERE version = {version} AND state = '{state}' AND {lock_held}";
        let intent = progress.intent.map(Intent::to_json).transpose()?;
        Ok(self.fill(
            PROGRESS,
            &[
                ("version", &progress.version.number().to_string()),
                ("state", progress.state.as_str()),
                ("total", &progress.statements_total.to_string()),
                ("done", &progress.statements_done.to_string()),
                ("done_checksum", &progress.done_checksum),
                ("intent", &intent.as_deref().map_or_else(|| "NULL".to_owned(), quote_text)),
                ("session_state", &progress.session_state),
                ("duration", &millis(progress.duration).to_string()),
            ],
        ))
    }

    /// Fails unless the last change on this connection wrote a row.
    ///
    /// # Errors
    /// [`ErrorKind::LockHeld`] if the lock was lost.
    pub fn check_written(&self, conn: &Conn) -> Result<()> {
        // An update that also writes the lock's row counts both.
        if conn.affected_rows() > 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::LockHeld,
            format!(
                "the migration lock was lost or {} was changed by another session; no further statement was run; run the command again",
                self.table
            ),
        ))
    }

    /// Records why a statement failed. The intent is deleted, because the server reported that the statement was not
    /// applied.
    pub fn fail(&self, conn: &mut Conn, version: Version, state: State, reason: &str) -> Result<()> {
        const FAIL: &str = "
UPDATE {locked_table} SET {lock_write}intent = NULL, error = :error
WHERE version = :version AND state = :state AND {lock_held}";
        let parameters = params! { "version" => version.number(), "state" => state.as_str(), "error" => reason };
        self.change(conn, "fail", FAIL, parameters)
    }

    /// Records that the UP ran to its end.
    pub fn finish(&self, conn: &mut Conn, finished: &Finished) -> Result<()> {
        const FINISH: &str = "
UPDATE {locked_table}
SET {lock_write}state = 'applied', statements_total = :total, statements_done = :total, checksum = :checksum,
    done_checksum = :checksum, intent = NULL, session_state = NULL, error = NULL, duration_ms = duration_ms + :duration,
    applied_at = UTC_TIMESTAMP(6), applied_by = USER()
WHERE version = :version AND state = 'applying' AND {lock_held}";
        let parameters = params! {
            "version" => finished.version.number(),
            "total" => finished.statements_total,
            "checksum" => &finished.checksum,
            "duration" => millis(finished.duration),
        };
        self.change(conn, "finish", FINISH, parameters)
    }

    /// Replaces a row in state `expected`, and its texts unless `texts` is `None`. `step` names the fault points.
    pub fn replace(
        &self,
        conn: &mut Conn,
        step: &str,
        expected: State,
        row: &JournalRow,
        texts: Option<&Texts>,
    ) -> Result<()> {
        const REPLACE: &str = "
UPDATE {locked_table}
SET {lock_write}state = :state, checksum = :checksum, statements_total = :total, statements_done = :done,
    done_checksum = :done_checksum, intent = NULL, error = NULL, up_text = IF(:keep, up_text, :up_text),
    down_text = IF(:keep, down_text, :down_text)
WHERE version = :version AND state = :expected AND {lock_held}";
        let parameters = params! {
            "version" => row.version.number(),
            "expected" => expected.as_str(),
            "state" => row.state.as_str(),
            "checksum" => &row.checksum,
            "total" => row.statements_total,
            "done" => row.statements_done,
            "done_checksum" => &row.done_checksum,
            "keep" => texts.is_none(),
            "up_text" => texts.and_then(|texts| texts.up.as_ref()),
            "down_text" => texts.and_then(|texts| texts.down.as_ref()),
        };
        self.change(conn, step, REPLACE, parameters)
    }

    /// Records that the DOWN starts.
    pub fn begin_rollback(
        &self,
        conn: &mut Conn,
        from: &JournalRow,
        statements_total: u64,
        intent: Option<&Intent>,
    ) -> Result<()> {
        const BEGIN_ROLLBACK: &str = "
UPDATE {locked_table}
SET {lock_write}state = 'rolling_back', statements_total = :total, statements_done = 0, done_checksum = '',
    intent = :intent, session_state = NULL, error = NULL, duration_ms = 0
WHERE version = :version AND state = :state AND {lock_held}";
        let parameters = params! {
            "version" => from.version.number(),
            "state" => from.state.as_str(),
            "total" => statements_total,
            "intent" => intent.map(Intent::to_json).transpose()?,
        };
        self.change(conn, "begin-rollback", BEGIN_ROLLBACK, parameters)
    }

    /// Deletes a row: the migration counts as pending again.
    pub fn delete(&self, conn: &mut Conn, version: Version, state: State) -> Result<()> {
        const DELETE: &str = "DELETE FROM {table} WHERE version = :version AND state = :state AND {lock_held}";
        let parameters = params! { "version" => version.number(), "state" => state.as_str() };
        self.change(conn, "forget", DELETE, parameters)
    }

    /// Runs one change. `step` names its fault points.
    fn change(&self, conn: &mut Conn, step: &str, template: &str, parameters: Params) -> Result<()> {
        let sql = self.sql(template);
        self.write(conn, step, |conn| conn.exec_drop(sql, parameters))
    }

    fn write(&self, conn: &mut Conn, step: &str, run: impl FnOnce(&mut Conn) -> mysql::Result<()>) -> Result<()> {
        fault::step(step, "before");
        run(conn).map_err(|error| Error::from(error).context(format!("failed to write {}", self.table)))?;
        self.check_written(conn)?;
        fault::step(step, "after");
        Ok(())
    }

    fn sql(&self, template: &str) -> String {
        self.fill(template, &[])
    }

    /// Fills in the table and the lock's condition, and `values`, which are SQL.
    fn fill(&self, template: &str, values: &[(&str, &str)]) -> String {
        let is_update = template.trim_start().starts_with("UPDATE");
        let lock_held = if is_update { &self.lock.update_condition } else { &self.lock.condition };
        let locked_table = format!("{}{}", self.table, self.lock.update_join);
        let mut parameters = vec![
            ("table", self.table.as_str()),
            ("locked_table", &locked_table),
            ("lock_write", &self.lock.update_set),
            ("lock_held", lock_held),
        ];
        parameters.extend_from_slice(values);
        fill(template, &parameters)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
