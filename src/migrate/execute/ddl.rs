//! Definitions: the intent first, with the look of what they touch; each commits by itself.

use std::time::Instant;

use mysql::prelude::Queryable;

use super::{At, Run, Stop, Tx, send};
use crate::db;
use crate::db::retry::Backoff;
use crate::fault;
use crate::migrate::catalog::hex;
use crate::migrate::classify::Ddl;
use crate::migrate::event::Event;
use crate::migrate::execute::blockers;
use crate::migrate::execute::ddl_batch::{Step, Witness};
use crate::migrate::recover::evidence::{BatchedDdl, Intent};
use crate::migrate::sql::statement_digest;
use crate::shutdown::Woken;

impl Run<'_, '_> {
    /// Runs the definitions that wait, on one record where each leaves a mark that isn't there yet.
    pub(super) fn flush_ddl(&mut self) -> Result<(), Stop> {
        if self.chain.is_empty() {
            return Ok(());
        }
        let steps = self.chain.take();
        let mut new = steps.len() > 1;
        for step in steps.iter().skip(1).filter(|step| matches!(step.mark, Witness::Object(_))) {
            new = new && !step.mark.is_there(self.ctx.conn)?;
        }
        let digest = |step: &Step| hex(&statement_digest(&step.text));
        let first = &steps[0];
        let mut intent = Intent::of_definition(self.ctx.conn, first.k, digest(first), &first.definition, &self.schema)?;
        if !new || intent.objects.iter().any(|object| object.was.is_some()) {
            for step in &steps {
                let statement = At { k: step.k, at: step.at, text: &step.text };
                self.stop_between()?;
                self.tell(step.k, step.at);
                self.definition(statement, &step.definition)?;
                self.passed(statement);
            }
            return Ok(());
        }
        let then = steps[1..].iter().map(|step| BatchedDdl { statement: digest(step), mark: step.mark.clone() });
        intent.then = then.collect();
        self.record(Some(&intent))?;
        fault::point("definition-intended");
        self.in_batch = true;
        for step in &steps {
            let statement = At { k: step.k, at: step.at, text: &step.text };
            self.stop_between()?;
            self.tell(step.k, step.at);
            self.execute_definition(statement, &step.definition)?;
            fault::point("definition-done");
            self.passed(statement);
        }
        self.in_batch = false;
        self.after_commit();
        Ok(())
    }

    /// Between two statements, a stop is heard.
    pub(super) fn stop_between(&mut self) -> Result<(), Stop> {
        if !self.ctx.shutdown.is_stopping() {
            return Ok(());
        }
        if self.unrecorded {
            self.record(None)?;
        }
        Err(self.interrupted().into())
    }

    pub(super) fn definition(&mut self, statement: At<'_>, definition: &Ddl) -> Result<(), Stop> {
        let digest = hex(&statement_digest(statement.text));
        let intent = Intent::of_definition(self.ctx.conn, statement.k, digest, definition, &self.schema)?;
        self.record(Some(&intent))?;
        if self.tables_locked && self.tx == Tx::Batch {
            self.ctx.conn.query_drop("COMMIT")?;
        }
        fault::point("definition-intended");
        self.execute_definition(statement, definition)?;
        fault::point("definition-done");
        self.after_commit();
        Ok(())
    }

    /// A definition waits for the server's metadata locks, and everybody who comes later waits behind it: so it waits
    /// for `lock_wait_timeout` only, lets the others pass, and tries again.
    pub(super) fn execute_definition(&mut self, statement: At<'_>, definition: &Ddl) -> Result<(), Stop> {
        let until = Instant::now() + self.ctx.patience;
        let mut retries = Backoff::default();
        loop {
            let Err((_, error)) = send(self.ctx.conn, statement.text) else { return Ok(()) };
            let waited = db::retry::is_lock_timeout(&error);
            if !(waited || db::retry::is_deadlock(&error)) || Instant::now() >= until {
                return Err(self.failure(statement.k, statement.at, statement.text, error));
            }
            let blockers = blockers::of(self.ctx.conn, &definition.objects, &self.schema);
            let place = self.place(statement.at);
            let of = self.summary.total;
            let waits = format!("{place}: statement {} of {of} waits for a lock: {blockers}", statement.k);
            (self.ctx.events)(Event::Warning(waits));
            if self.ctx.shutdown.wait(retries.next_delay()) == Woken::Stopping {
                return Err(self.interrupted().into());
            }
        }
    }
}
