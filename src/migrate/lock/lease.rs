//! The lock by rows, for a cluster whose nodes don't know each other's `GET_LOCK`.
//!
//! There are two rows. `beat` says until when the lease is good; a thread with a connection of its own renews it, so
//! that a long statement doesn't let it expire. `holder` says whose it is, and every change of `ai_migrations` writes
//! it along: where another node has given the lease away meanwhile, the two writes conflict and the cluster lets only
//! one of them commit. A read would prove nothing there, since it isn't checked against other nodes.
//!
//! A lease that is expired may belong to a migrator that is gone, but whose statement the server still runs. On its own
//! node its session can be seen, so the lease is taken only once that has ended. Galera runs definitions in one order
//! everywhere, and what isn't committed is never seen elsewhere, so there any other node may take it. A group with
//! several primaries has no such order: there the member must have left the group, or `up` is run on it.

use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use mysql::Conn;
use mysql::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::{Lock, LockCondition, Taken};
use crate::db::{self, Database, quote_name, quote_text};
use crate::error::{Error, Result};
use crate::migrate::catalog::hex;
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

/// Made only where it is needed, in the database that is migrated.
pub const TABLE: &str = "ai_migrations_lock";

/// A lease is good for so long after its last renewal, by the server's clock.
const GOOD_FOR: Duration = Duration::from_secs(15);
/// It is renewed this often.
const RENEWED_EVERY: Duration = Duration::from_secs(3);
const ELSEWHERE: &str = "somebody on another node";
/// A lease that is held is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Its thread has so long to free it in the end.
const END_MAX: Duration = Duration::from_secs(5);

/// A lease that is held; freed when it is dropped.
#[derive(Debug)]
pub struct Lease {
    table: String,
    token: String,
    /// Closed at the end: the thread hears it.
    held: Option<Sender<()>>,
    renewer: Option<Thread>,
}

/// The lease as it stands.
struct LeaseState {
    expired: bool,
    free: bool,
    who: String,
    node: String,
    connection: u64,
}

impl Lease {
    /// Tries to take it; with `patience`, after a moment.
    pub(super) fn take(conn: &mut Conn, database: &Database, patience: bool, shutdown: &Shutdown) -> Result<Taken> {
        if patience {
            // The caller hears a stop.
            shutdown.wait(LOOK_AGAIN);
        }
        let table = format!("{}.`{TABLE}`", quote_name(&database.name));
        let state = match state(conn, &table) {
            Ok(state) => state,
            Err(error) if lost_the_race(&error) => return Ok(Taken::No { holder: ELSEWHERE.to_owned() }),
            Err(error) => return Err(Error::from(error).context(format!("failed to read {table}"))),
        };
        let Some(state) = state else {
            return Err(Error::failure(format!("{table} has lost its rows; drop it and run this again")));
        };
        let node = node(conn)?;
        if let Some(holder) = state.kept(conn, &node)? {
            return Ok(Taken::No { holder });
        }
        let token = new_token(conn, &node)?;
        let take = TAKE
            .replace("{table}", &table)
            .replace("{token}", &token)
            .replace("{node}", &quote_text(&node))
            .replace("{seconds}", &GOOD_FOR.as_secs().to_string());
        match conn.query_drop(take) {
            Ok(()) if conn.affected_rows() > 0 => {}
            Ok(()) => return Ok(Taken::No { holder: "somebody who was quicker".to_owned() }),
            Err(error) if lost_the_race(&error) => return Ok(Taken::No { holder: ELSEWHERE.to_owned() }),
            Err(error) => return Err(error.into()),
        }
        let (held, end) = bounded(0);
        let renewal = Renewal {
            database: database.clone(),
            table: table.clone(),
            token: token.clone(),
            connection: u64::from(conn.connection_id()),
        };
        let renewer = threads::spawn("lease", move || renewal.until(&end))?;
        let lease = Self { table, token, held: Some(held), renewer: Some(renewer) };
        lease.ready(conn)?;
        Ok(Taken::Yes(Lock::Lease(lease)))
    }

    /// Lets the session see what the other nodes have committed before it looks.
    pub(super) fn ready(&self, conn: &mut Conn) -> Result<()> {
        const THERE: &str =
            "SHOW SESSION VARIABLES WHERE Variable_name IN ('wsrep_sync_wait', 'group_replication_consistency')";
        let there: Vec<(String, String)> = conn.query(THERE)?;
        for (name, _) in there {
            let value = if name == "wsrep_sync_wait" { "15" } else { "'BEFORE'" };
            conn.query_drop(format!("SET SESSION {name} = {value}"))?;
        }
        Ok(())
    }

    pub(super) fn condition(&self) -> LockCondition {
        let Self { table, token, .. } = self;
        LockCondition {
            condition: format!("EXISTS (SELECT 1 FROM {table} WHERE part = 'holder' AND token = '{token}')"),
            update_condition: format!("part = 'holder' AND token = '{token}'"),
            update_join: format!(" JOIN {table}"),
            update_set: "proofs = proofs + 1, ".to_owned(),
            table: Some(table.clone()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held = None;
        if let Some(renewer) = self.renewer.take()
            && renewer.join(Instant::now() + END_MAX).is_err()
        {
            log::warn!("the migration lease wasn't freed in time; it expires after {} s", GOOD_FOR.as_secs());
        }
    }
}

impl LeaseState {
    /// Who keeps the lease, where it can't be taken.
    fn kept(&self, conn: &mut Conn, node: &str) -> Result<Option<String>> {
        if self.free {
            return Ok(None);
        }
        let who = format!("{} (connection {} of {})", self.who, self.connection, self.node);
        if !self.expired {
            return Ok(Some(who));
        }
        if self.node == node {
            let alive: Option<u64> =
                conn.exec_first("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = ?", (self.connection,))?;
            return Ok(alive.map(|_| format!("{who}, whose session has not ended")));
        }
        let member = self.node.split('/').next().unwrap_or_default();
        // MariaDB has no such table, and no such groups.
        let online: Result<Option<u64>, _> = conn.exec_first(MEMBER_ONLINE, (member,));
        let online = online.unwrap_or_default().is_some_and(|members| members > 0);
        Ok(online.then(|| format!("{who}, on another member of the group: run this on that one")))
    }
}

const MEMBER_ONLINE: &str = "SELECT COUNT(*) FROM performance_schema.replication_group_members
    WHERE MEMBER_ID = ? AND MEMBER_STATE = 'ONLINE'";

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS {table} (
  part       VARCHAR(8) CHARACTER SET ascii NOT NULL COMMENT 'holder: written along with each change; beat: renewed',
  token      VARCHAR(32) CHARACTER SET ascii NOT NULL COMMENT 'empty: free',
  who        VARCHAR(288) NOT NULL,
  node       VARCHAR(288) NOT NULL,
  connection BIGINT UNSIGNED NOT NULL,
  expires_at DATETIME(6) NOT NULL COMMENT 'UTC; of the beat',
  proofs     BIGINT UNSIGNED NOT NULL,
  PRIMARY KEY (part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'airun migrations, the lock in a cluster'";

const FILL: &str = "
INSERT IGNORE INTO {table} (part, token, who, node, connection, expires_at, proofs)
VALUES ('holder', '', '', '', 0, UTC_TIMESTAMP(6), 0), ('beat', '', '', '', 0, UTC_TIMESTAMP(6), 0)";

const STANDING: &str = "
SELECT b.expires_at < UTC_TIMESTAMP(6), b.token = '', h.who, h.node, h.connection
FROM {table} h JOIN {table} b WHERE h.part = 'holder' AND b.part = 'beat'";

const TAKE: &str = "
UPDATE {table} h JOIN {table} b
SET h.token = '{token}', b.token = '{token}', h.who = USER(), h.node = {node}, h.connection = CONNECTION_ID(),
    b.expires_at = UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND
WHERE h.part = 'holder' AND b.part = 'beat' AND (b.token = '' OR b.expires_at < UTC_TIMESTAMP(6))";

fn state(conn: &mut Conn, table: &str) -> mysql::Result<Option<LeaseState>> {
    type Row = (bool, bool, String, String, u64);
    let query = STANDING.replace("{table}", table);
    let mut row: mysql::Result<Option<Row>> = conn.query_first(&query);
    if matches!(&row, Err(mysql::Error::MySqlError(error)) if error.code == 1146) || matches!(row, Ok(None)) {
        conn.query_drop(CREATE.replace("{table}", table))?;
        conn.query_drop(FILL.replace("{table}", table))?;
        row = conn.query_first(&query);
    }
    let state = |(expired, free, who, node, connection)| LeaseState { expired, free, who, node, connection };
    Ok(row?.map(state))
}

/// This run of this node: connections have their numbers from it.
fn node(conn: &mut Conn) -> Result<String> {
    const NODE: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'hostname', 'port')";
    let mut variables: Vec<(String, String)> = conn.query(NODE)?;
    variables.sort();
    let value = |name: &str| variables.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value);
    let started = server_started(conn)?;
    let uuid = value("server_uuid");
    let name = if uuid.is_empty() { format!("{}:{}", value("hostname"), value("port")) } else { uuid.to_owned() };
    Ok(format!("{name}/{started}"))
}

/// When the server was started, seconds of the Unix epoch by its own clock.
fn server_started(conn: &mut Conn) -> Result<i64> {
    // The uptime counts from the beginning of the very statement that asks, so that the difference is exact: on MySQL,
    // on MariaDB.
    const STARTED: [&str; 2] = [
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) FROM performance_schema.global_status
         WHERE VARIABLE_NAME = 'Uptime'",
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS
         WHERE VARIABLE_NAME = 'UPTIME'",
    ];
    for query in STARTED {
        match conn.query_first::<i64, _>(query) {
            Ok(Some(started)) => return Ok(started),
            // It's the other server's table.
            Ok(None) | Err(mysql::Error::MySqlError(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::failure("the server doesn't tell its uptime"))
}

fn new_token(conn: &mut Conn, node: &str) -> Result<String> {
    let uuid: Option<String> = conn.query_first("SELECT UUID()")?;
    let random = format!("{node} {} {uuid:?} {}", conn.connection_id(), std::process::id());
    Ok(hex(&Sha256::digest(random)[..16]))
}

/// Another node was first: ER_ERROR_DURING_COMMIT, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK,
/// ER_TRANSACTION_ROLLBACK_DURING_COMMIT.
fn lost_the_race(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if [1180, 1205, 1213, 3101].contains(&error.code))
}

/// What the thread needs.
struct Renewal {
    database: Database,
    table: String,
    token: String,
    /// Of the migrator's session.
    connection: u64,
}

impl Renewal {
    /// Renews the lease until `end` closes, and frees it then. An error is no end: the next renewal may succeed, and if
    /// none does, the lease expires and whatever the migrator records next is refused.
    fn until(&self, end: &crossbeam_channel::Receiver<()>) {
        let mut conn: Option<Conn> = None;
        loop {
            let ended = end.recv_timeout(RENEWED_EVERY) == Err(RecvTimeoutError::Disconnected);
            match self.once(conn.take(), ended) {
                Ok(kept) => conn = Some(kept),
                Err(error) => {
                    log::warn!("the migration lease wasn't {}: {error}", if ended { "freed" } else { "renewed" })
                }
            }
            if ended {
                return;
            }
        }
    }

    fn once(&self, conn: Option<Conn>, ended: bool) -> Result<Conn> {
        const RENEW: &str = "UPDATE {table} SET expires_at = UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND
            WHERE part = 'beat' AND token = '{token}'";
        // Where the migrator has lost its connection, the server may still run its statement.
        const FREE: &str = "UPDATE {table} SET token = '' WHERE token = '{token}' AND NOT EXISTS
            (SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {connection} AND COMMAND <> 'Sleep')";
        let mut conn = match conn {
            Some(conn) => conn,
            None => self.database.connect()?,
        };
        let query = if ended { FREE } else { RENEW };
        conn.query_drop(
            query
                .replace("{table}", &self.table)
                .replace("{seconds}", &GOOD_FOR.as_secs().to_string())
                .replace("{token}", &self.token)
                .replace("{connection}", &self.connection.to_string()),
        )
        .map_err(|error| Error::failure(db::describe(&error)))?;
        Ok(conn)
    }
}
