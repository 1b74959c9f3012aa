//! Whether a server is fit for airun: proven by trying, where that leaves nothing behind.

mod locks;
mod server;
mod session;
mod tables;

use std::collections::HashMap;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::Serialize;

use crate::db::{Database, describe, open_session};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, and could be better.
    Note,
    /// It doesn't work, or loses something.
    Problem,
}

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do, where something is to be done.
    pub advice: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), advice: None }
    }

    pub fn note(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Note, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Two connections, since what one has locked the other has to pass.
struct Connections<'d> {
    database: &'d Database,
    conn: Conn,
    other: Conn,
}

type Check = fn(&mut Connections<'_>) -> mysql::Result<Finding>;

/// What can be asked of every server.
const SERVER: [(&str, Check); 6] = [
    ("read-committed", session::isolation),
    ("tls", session::tls),
    ("clock", session::clock),
    ("named-locks", locks::named_locks),
    ("topology", locks::topology),
    ("oldest-snapshot", tables::oldest_snapshot),
];

/// What needs the queue's tables.
const TABLES: [(&str, Check); 3] =
    [("privileges", tables::privileges), ("claim-plan", tables::claim_plan), ("skip-locked", locks::skip_locked)];

/// Examines the server, and the queue's tables where they are there.
pub fn examine(database: &Database) -> Vec<Finding> {
    let opened = open_session(database).and_then(|conn| Ok((conn, open_session(database)?)));
    let mut connections = match opened {
        Ok((conn, other)) => Connections { database, conn, other },
        Err(error) => {
            let said = database.explain(&error).to_string();
            let (found, advice) = said.rsplit_once("; ").unwrap_or((&said, "see what the server's log says"));
            return vec![Finding::problem("connection", found, advice)];
        }
    };
    let mut findings = vec![Finding::ok("connection", format!("connected to {database}"))];
    match settings(&mut connections.conn) {
        Ok(settings) => findings.extend(server::all(&settings)),
        Err(error) => findings.push(untried("settings", &error)),
    }
    for (name, check) in SERVER {
        findings.push(check(&mut connections).unwrap_or_else(|error| untried(name, &error)));
    }
    let shape = tables::shape(&mut connections).unwrap_or_else(|error| untried("tables", &error));
    let usable = shape.level == Level::Ok;
    findings.push(shape);
    for (name, check) in TABLES.into_iter().filter(|_| usable) {
        findings.push(check(&mut connections).unwrap_or_else(|error| untried(name, &error)));
    }
    findings
}

fn untried(check: &'static str, error: &mysql::Error) -> Finding {
    Finding::problem(
        check,
        format!("could not be tried: {}", describe(error)),
        "see that the server lets this user do it",
    )
}

/// Global variables and states, by their names; what a server doesn't have is missing.
type Settings = HashMap<String, String>;

fn settings(conn: &mut Conn) -> mysql::Result<Settings> {
    const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'read_only', 'innodb_read_only', \
        'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'binlog_format', 'max_allowed_packet', \
        'wait_timeout', 'max_connections')";
    const STATES: &str = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
    let mut settings: Vec<(String, String)> = conn.query(VARIABLES)?;
    settings.extend(conn.query::<(String, String), _>(STATES)?);
    // `version` there may be a replica's disguise; this is what the server itself says.
    if let Some(version) = conn.query_first::<String, _>("SELECT VERSION()")? {
        settings.push(("version".to_owned(), version));
    }
    Ok(settings.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}
