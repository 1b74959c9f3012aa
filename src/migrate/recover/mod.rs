//! After a crash: finds out what was applied, so that a script resumes at the right statement.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::catalog;
use super::classify::{Object, ObjectKind};
use super::diff;
use super::journal::{Intent, JournalRow};
use super::script::Script;
use crate::error::{Error, ErrorKind, Result};

mod evidence;
pub mod replay;
mod temporary_tables;

use evidence::{Verdict, count_batched_applied, verdict};

/// Brings `row` up to date with the schema, and checks that the statements that ran are those of the script. `stored`
/// is the text that ran, if it was kept. The caller writes `row` to the journal.
///
/// # Errors
/// [`ErrorKind::PartiallyApplied`] if nothing shows whether the last statement was applied; [`ErrorKind::Drift`] if the
/// script's first statements were edited after they ran, with a diff.
pub fn recover(conn: &mut Conn, script: &Script<'_>, row: &mut JournalRow, stored: Option<&str>) -> Result<()> {
    let prefix = script.prefix(row.statements_done)?;
    if prefix.is_none_or(|prefix| prefix.checksum != row.done_checksum) {
        return Err(edited(script, row.statements_done, stored)?);
    }
    let Some(intent) = row.intent.take() else { return Ok(()) };
    let batched = match verdict(conn, &intent)? {
        Verdict::NotApplied => return Ok(()),
        Verdict::Applied => count_batched_applied(conn, &intent)?,
        Verdict::PartlyDropped(objects) => {
            for object in &objects {
                if let Some(definition) = catalog::definition(conn, object)? {
                    conn.query_drop(drop_statement(object, &definition))?;
                }
            }
            0
        }
        Verdict::Unknown => return Err(interrupted(script, row, &intent)),
    };
    let batched = intent.then[..batched].iter().map(|batched| &batched.statement);
    for (k, statement) in (intent.k..).zip(std::iter::once(&intent.statement).chain(batched)) {
        row.done_checksum = match script.prefix(k)? {
            Some(prefix) if prefix.last == *statement => prefix.checksum,
            _ => return Err(edited(script, k, stored)?),
        };
        row.statements_done = k;
    }
    Ok(())
}

fn edited(script: &Script<'_>, done: u64, stored: Option<&str>) -> Result<Error> {
    Ok(Error::new(
        ErrorKind::Drift,
        format!(
            "`{}`: its first {done} statements have run and were edited since; undo that edit (statements after them \
             may change):\n{}",
            script.label,
            diff::describe(stored, &script.read()?)
        ),
    ))
}

fn interrupted(script: &Script<'_>, row: &JournalRow, Intent { k, .. }: &Intent) -> Error {
    Error::new(
        ErrorKind::PartiallyApplied,
        format!(
            "{}: statement {k} of {} committed something and was interrupted before its end; check how much of it was \
             applied, then choose where to resume: `airun migrate resolve {} --from-statement {k}` runs it again, \
             `--from-statement {}` skips it",
            script.label,
            row.statements_total,
            row.version,
            k + 1
        ),
    )
}

/// A table and a view are the same kind of object; `definition` shows which one it is.
fn drop_statement(object: &Object, definition: &str) -> String {
    let keyword = match object.kind {
        ObjectKind::Table if !definition.starts_with("CREATE TABLE") => "VIEW",
        kind => kind.keyword(),
    };
    format!("DROP {keyword} IF EXISTS {}", catalog::sql_name(object))
}
