//! After a crash: what happened, so that a script goes on at the right statement.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::catalog;
use super::diff;
use super::journal::{Journal, JournalRow, Progress};
use super::script::{Script, ScriptSummary};
use crate::db::quote_name;
use crate::error::{Error, ErrorKind, Result};
use crate::migrate::classify::{Object, ObjectKind};

pub(crate) mod evidence;
pub(crate) mod session;
mod temporary_tables;

use evidence::Verdict;

/// Brings `row` up to date with what the server shows, and proves that what has run is what the script says.
///
/// # Errors
/// [`ErrorKind::PartiallyApplied`] where nothing tells whether the last statement happened; [`ErrorKind::Drift`] where what has run was
/// edited since, with a diff.
pub fn recover(
    conn: &mut Conn,
    journal: &Journal,
    script: &Script<'_>,
    summary: &ScriptSummary,
    row: &mut JournalRow,
    kept: Option<&str>,
) -> Result<()> {
    let prefix = script.prefix(row.done)?;
    if prefix.checksum.as_deref() != Some(row.done_checksum.as_str()) {
        return Err(edited(script, row.done, kept)?);
    }
    let Some(intent) = row.intent.take() else { return Ok(()) };
    let mut followers = 0;
    match intent.verdict(conn)? {
        Verdict::NotApplied => return Ok(()),
        Verdict::PartlyDropped(objects) => {
            for object in &objects {
                let looks = catalog::definition(conn, object)?.unwrap_or_default();
                conn.query_drop(drop_statement(object, &looks))?;
            }
        }
        Verdict::Applied => followers = intent.batched_applied(conn)?,
        Verdict::Unknown => {
            return Err(Error::new(
                ErrorKind::PartiallyApplied,
                format!(
                    "{}: statement {} of {} had committed something and was cut before its end; look at what there is of \
                     it, then say where to go on: `airun migrate resolve {} --from-statement {}` (there, once more) or \
                     `--from-statement {}` (behind it)",
                    script.label,
                    intent.k,
                    row.total,
                    row.version,
                    intent.k,
                    intent.k + 1
                ),
            ));
        }
    }
    let happened = intent.then[..followers].iter().map(|follower| &follower.statement);
    for (k, statement) in (intent.k..).zip(std::iter::once(&intent.statement).chain(happened)) {
        let prefix = script.prefix(k - 1)?;
        if prefix.next.as_ref() != Some(statement) {
            return Err(edited(script, k, kept)?);
        }
        row.done = k;
        row.done_checksum = prefix.checksum_with_next.unwrap_or_default();
    }
    journal.progress(
        conn,
        row.version,
        row.state,
        &Progress {
            total: summary.total,
            done: row.done,
            done_checksum: &row.done_checksum,
            intent: None,
            session: row.session.as_deref(),
            error: None,
            spent: std::time::Duration::ZERO,
        },
    )
}

fn edited(script: &Script<'_>, done: u64, kept: Option<&str>) -> Result<Error> {
    Ok(Error::new(
        ErrorKind::Drift,
        format!(
            "`{}`: its first {done} statements have run, and they were edited since; undo that edit (what comes after them may change):\n{}",
            script.label,
            diff::describe(kept, &script.read()?)
        ),
    ))
}

/// `looks` is the statement that makes it: tables, views and sequences are one kind of object.
fn drop_statement(object: &Object, looks: &str) -> String {
    let kind = match object.kind {
        ObjectKind::Database => return format!("DROP DATABASE IF EXISTS {}", quote_name(&object.name.name)),
        ObjectKind::Account => return format!("DROP USER IF EXISTS {}", object.name.name),
        ObjectKind::Table if looks.starts_with("CREATE SEQUENCE") => "SEQUENCE",
        ObjectKind::Table if looks.starts_with("CREATE TABLE") || looks.starts_with("CREATE TEMPORARY") => "TABLE",
        ObjectKind::Table => "VIEW",
        ObjectKind::Procedure => "PROCEDURE",
        ObjectKind::Function => "FUNCTION",
        ObjectKind::Trigger => "TRIGGER",
        ObjectKind::Event => "EVENT",
        ObjectKind::Package => "PACKAGE",
    };
    let schema = object.name.schema.as_deref().unwrap_or_default();
    format!("DROP {kind} IF EXISTS {}.{}", quote_name(schema), quote_name(&object.name.name))
}
