//! Checks whether a database server is fit for airun, where possible by trying. The checks leave nothing in the
//! database.

mod locks;
mod server;
mod session;
mod tables;

use std::collections::HashMap;

use mysql::Conn;
use mysql::prelude::Queryable;
use serde::Serialize;

use crate::db::{Database, describe, open_session};

/// How severe a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// airun works, but could work better.
    Note,
    /// airun does not work, or may lose data.
    Problem,
}

/// The result of a check: what it found and why that matters, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    pub level: Level,
    pub found: String,
    /// `None` if nothing needs to be done.
    pub advice: Option<String>,
}

impl Assessment {
    pub fn ok(found: impl Into<String>) -> Self {
        Self { level: Level::Ok, found: found.into(), advice: None }
    }

    pub fn note(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Note, found: found.into(), advice: Some(advice.into()) }
    }

    pub fn problem(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}

/// A check's name with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    #[serde(flatten)]
    pub assessment: Assessment,
}

/// How a check is done.
enum Check {
    /// From the server's settings.
    Settings(fn(&Settings) -> Assessment),
    /// With statements that need no tables.
    Server(fn(&mut Connections<'_>) -> mysql::Result<Assessment>),
    /// With the queue's tables, if the check `tables` found them as this binary needs them.
    Tables(fn(&mut Connections<'_>) -> mysql::Result<Assessment>),
}

/// All checks in the order of the report, after `connection`.
const CHECKS: [(&str, Check); 17] = [
    ("version", Check::Settings(server::version)),
    ("writable", Check::Settings(server::writable)),
    ("binary-log", Check::Settings(server::binary_log)),
    ("durability", Check::Settings(server::durability)),
    ("max-allowed-packet", Check::Settings(server::max_allowed_packet)),
    ("wait-timeout", Check::Settings(server::wait_timeout)),
    ("connections", Check::Settings(server::connections)),
    ("read-committed", Check::Server(session::isolation)),
    ("tls", Check::Server(session::tls)),
    ("clock", Check::Server(session::clock)),
    ("named-locks", Check::Server(locks::named_locks)),
    ("topology", Check::Server(locks::topology)),
    ("oldest-snapshot", Check::Server(tables::oldest_snapshot)),
    (TABLES, Check::Server(tables::schema)),
    ("privileges", Check::Tables(tables::privileges)),
    ("claim-plan", Check::Tables(tables::claim_plan)),
    ("skip-locked", Check::Tables(locks::skip_locked)),
];
const TABLES: &str = "tables";

/// Two connections, because some checks need to see with one what the other has locked.
struct Connections<'d> {
    database: &'d Database,
    conn: Conn,
    other: Conn,
}

/// Runs all checks on the server.
pub fn examine(database: &Database) -> Vec<Finding> {
    let finding = |check, assessment| Finding { check, assessment };
    let opened = open_session(database).and_then(|conn| Ok((conn, open_session(database)?)));
    let mut connections = match opened {
        Ok((conn, other)) => Connections { database, conn, other },
        Err(error) => {
            let message = database.explain(&error).to_string();
            let (found, advice) =
                message.rsplit_once("; ").unwrap_or((&message, "look for the cause in the server's log"));
            return vec![finding("connection", Assessment::problem(found, advice))];
        }
    };
    let mut findings = vec![finding("connection", Assessment::ok(format!("connected to {database}")))];
    let settings = read_settings(&mut connections.conn);
    let mut tables_are_usable = false;
    for (name, check) in CHECKS {
        let assessed = match (check, &settings) {
            (Check::Settings(check), Ok(settings)) => Ok(check(settings)),
            (Check::Settings(_), Err(error)) => Ok(failed(error)),
            (Check::Server(check), _) => check(&mut connections),
            (Check::Tables(_), _) if !tables_are_usable => continue,
            (Check::Tables(check), _) => check(&mut connections),
        };
        let assessment = assessed.unwrap_or_else(|error| failed(&error));
        tables_are_usable |= name == TABLES && assessment.level == Level::Ok;
        findings.push(finding(name, assessment));
    }
    findings
}

fn failed(error: &mysql::Error) -> Assessment {
    Assessment::problem(
        format!("the check failed: {}", describe(error)),
        "find out why the server does not let this user run the check's statements",
    )
}

/// Global variables and status values by name. A name is missing if the server does not have it.
type Settings = HashMap<String, String>;

fn read_settings(conn: &mut Conn) -> mysql::Result<Settings> {
    const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'read_only', 'innodb_read_only', \
        'innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'binlog_format', 'max_allowed_packet', \
        'wait_timeout', 'max_connections')";
    const STATUS: &str = "SHOW GLOBAL STATUS LIKE 'Threads_connected'";
    let mut settings: Vec<(String, String)> = conn.query(VARIABLES)?;
    settings.extend(conn.query::<(String, String), _>(STATUS)?);
    // The variable `version` can be set to make replication work; the function can't.
    if let Some(version) = conn.query_first::<String, _>("SELECT VERSION()")? {
        settings.push(("version".to_owned(), version));
    }
    Ok(settings.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
}
