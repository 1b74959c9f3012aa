//! Statements that may do anything, under a tripwire.

use mysql::prelude::Queryable;

use super::{At, Run, Stop, Tx};
use crate::fault;
use crate::migrate::catalog::hex;
use crate::migrate::evidence::Intent;
use crate::migrate::sql::statement_digest;
use crate::migrate::statement::is_compound;

/// A savepoint: it is gone once something has committed.
const TRIPWIRE: &str = "airun_tripwire";
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

impl Run<'_, '_> {
    pub(super) fn opaque(&mut self, statement: At<'_>) -> Result<(), Stop> {
        let digest = hex(&statement_digest(statement.text));
        let compound = is_compound(statement.text);
        let intent = Intent::of_opaque(self.around.conn, statement.k, digest, compound, &self.schema)?;
        if self.tx == Tx::Batch && self.unrecorded {
            self.record(None)?;
            if self.tables_locked {
                self.around.conn.query_drop("COMMIT")?;
            }
        }
        self.begin_batch()?;
        self.record(Some(&intent))?;
        self.around.conn.query_drop(format!("SAVEPOINT {TRIPWIRE}"))?;
        fault::point("opaque-intended");
        self.execute(statement, statement.text)?;
        fault::point("opaque-run");
        match self.around.conn.query_drop(format!("RELEASE SAVEPOINT {TRIPWIRE}")) {
            Ok(()) => {
                // Nothing was committed: what it did and its "done" are one.
                if self.tx == Tx::Batch {
                    self.passed(statement);
                    self.record(None)?;
                    self.around.conn.query_drop("COMMIT")?;
                }
            }
            Err(mysql::Error::MySqlError(error)) if error.code == ER_SP_DOES_NOT_EXIST => self.after_commit(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
