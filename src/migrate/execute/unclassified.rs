//! Statements that may do anything, under a tripwire.

use mysql::prelude::Queryable;

use super::dml::Retries;
use super::{At, Run, Stop, Tx, send};
use crate::db;
use crate::fault;
use crate::migrate::catalog::hex;
use crate::migrate::classify::is_compound;
use crate::migrate::recover::evidence::Intent;
use crate::migrate::recover::session;
use crate::migrate::sql::statement_digest;

/// A savepoint: it is gone once something has committed.
const TRIPWIRE: &str = "airun_tripwire";
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

impl Run<'_, '_> {
    pub(super) fn opaque(&mut self, statement: At<'_>) -> Result<(), Stop> {
        let digest = hex(&statement_digest(statement.text));
        let compound = is_compound(statement.text);
        let intent = Intent::of_opaque(self.ctx.conn, statement.k, digest, compound, &self.schema)?;
        if self.tx == Tx::Batch && self.unrecorded {
            self.record(None)?;
            if self.tables_locked {
                self.ctx.conn.query_drop("COMMIT")?;
            }
        }
        // Behind the statement in its packet, so that its end is recorded though airun is gone by then.
        let mut sum = self.checksum.clone();
        sum.add(statement.text);
        let ended = self.ctx.journal.progress_sql(
            self.version,
            self.state(),
            self.summary.total,
            statement.k,
            &hex(&sum.so_far()),
            &session::remember_sql(self.summary),
        );
        // Code for another server is nothing at all to this one, and nothing can't stand before others in a packet.
        let alone = statement.text.starts_with("/*!") || statement.text.starts_with("/*M!");
        let packet = if alone { statement.text.to_owned() } else { format!("{}\n;\n{ended}", statement.text) };
        let mut retries = Retries::start();
        loop {
            self.begin_batch()?;
            self.record(Some(&intent))?;
            self.ctx.conn.query_drop(format!("SAVEPOINT {TRIPWIRE}"))?;
            fault::point("opaque-intended");
            let Err((_, error)) = send(self.ctx.conn, &packet) else { break };
            // `EXECUTE` is one statement, and that the server has failure.
            if !compound && self.tx == Tx::Batch && !self.tables_locked && self.can_retry(&retries, &error) {
                self.retry(&mut retries, &error)?;
                continue;
            }
            // A deadlock takes the tripwire away too, with everything that wasn't committed.
            let asked = compound && !db::retry::is_deadlock(&error) && !db::retry::is_connection_lost(&error);
            self.committed_within = asked && self.tripwire_is_gone()?;
            return Err(self.failure(statement.k, statement.at, statement.text, error));
        }
        fault::point("opaque-run");
        if alone {
            send(self.ctx.conn, &ended).map_err(|(_, error)| error)?;
        }
        self.ctx.journal.check_written(self.ctx.conn)?;
        self.passed(statement);
        // Numbers among the variables are still to be recorded as such.
        self.unrecorded = !self.summary.variables.is_empty();
        if self.tripwire_is_gone()? {
            self.after_commit();
        } else if self.tx == Tx::Batch {
            // Nothing was committed: what it did and its "done" are one.
            if self.unrecorded {
                self.record(None)?;
            }
            fault::point("opaque-recorded");
            self.ctx.conn.query_drop("COMMIT")?;
            fault::point("opaque-committed");
        }
        Ok(())
    }

    fn tripwire_is_gone(&mut self) -> Result<bool, mysql::Error> {
        match self.ctx.conn.query_drop(format!("RELEASE SAVEPOINT {TRIPWIRE}")) {
            Ok(()) => Ok(false),
            Err(mysql::Error::MySqlError(error)) if error.code == ER_SP_DOES_NOT_EXIST => Ok(true),
            Err(error) => Err(error),
        }
    }
}
