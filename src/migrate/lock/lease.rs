//! The lock as a row, for a cluster whose nodes don't share `GET_LOCK`.
//!
//! The table has two rows. `heartbeat` says until when the lease is valid; a thread with its own connection renews it,
//! so that a long statement doesn't let it expire. `holder` says who holds it, and every change of `ai_migrations` also
//! writes that row: if a migrator on another node has taken the lease meanwhile, the two writes conflict and the
//! cluster lets only one of them commit. A read would prove nothing, because reads are not checked against other nodes.
//!
//! An expired lease may belong to a migrator that died while the server still runs its statement. On the node of that
//! migrator its session is visible, so the lease is taken there only after the session has ended. Galera runs DDL in
//! the same order everywhere and doesn't show uncommitted changes to other nodes, so any other node may take the lease.
//! A replication group with several primaries has no such order: there the member must have left the group, or the
//! command must run on that member.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use mysql::prelude::Queryable;
use mysql::{Conn, params};
use sha2::{Digest, Sha256};

use super::{HeldBy, LockCondition};
use crate::db::{self, Database, quote_text};
use crate::error::{Error, Result};
use crate::migrate::names::{LOCK_TABLE, fill, first_answer, hex, qualified};
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

/// How long a lease is valid after its last renewal, by the server's clock.
const VALID_FOR: Duration = Duration::from_secs(15);
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// Time between two attempts to take a lease that is held.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum time that the renewing thread takes to release the lease.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
const ANOTHER_NODE: &str = "a migrator on another node";

/// A lease that is held. Dropping it releases it.
#[derive(Debug)]
pub struct Lease {
    table: String,
    token: String,
    /// The thread that renews it, until the channel closes.
    renewer: Option<(Sender<()>, Thread)>,
}

/// The two rows of the table.
struct LeaseState {
    expired: bool,
    free: bool,
    held_by: String,
    node: String,
    connection: u64,
}

impl Lease {
    /// Tries to take the lease; waits for a moment first if `wait` is true.
    pub fn try_acquire(
        conn: &mut Conn,
        database: &Database,
        wait: bool,
        shutdown: &Shutdown,
    ) -> Result<Result<Self, HeldBy>> {
        if wait {
            // The caller checks for a stop.
            shutdown.wait(RETRY_INTERVAL);
        }
        let table = qualified(&database.name, LOCK_TABLE);
        let state = match read_or_create(conn, &table) {
            Ok(state) => state,
            Err(error) if lost_the_race(&error) => return Ok(Err(HeldBy(ANOTHER_NODE.to_owned()))),
            Err(error) => return Err(Error::from(error).context(format!("failed to read {table}"))),
        };
        let Some(state) = state else {
            return Err(Error::failure(format!("{table} has lost its rows; drop the table and run this again")));
        };
        let node = node(conn)?;
        if let Some(holder) = state.holder(conn, &node)? {
            return Ok(Err(HeldBy(holder)));
        }
        let token = new_token(conn, &node)?;
        match take(conn, &table, &token, &node) {
            Ok(true) => Ok(Ok(Self::start(conn, database, table, token)?)),
            Ok(false) => Ok(Err(HeldBy("another migrator that was faster".to_owned()))),
            Err(error) if lost_the_race(&error) => Ok(Err(HeldBy(ANOTHER_NODE.to_owned()))),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts to renew a lease that was just taken.
    fn start(conn: &mut Conn, database: &Database, table: String, token: String) -> Result<Self> {
        let (held, released) = bounded(0);
        let renewal = Renewal {
            database: database.clone(),
            table: table.clone(),
            token: token.clone(),
            connection: u64::from(conn.connection_id()),
        };
        let renewer = threads::spawn("lease", move || renewal.run(&released))?;
        let lease = Self { table, token, renewer: Some((held, renewer)) };
        lease.prepare_session(conn)?;
        Ok(lease)
    }

    /// Makes the session read only what all other nodes have committed.
    pub fn prepare_session(&self, conn: &mut Conn) -> Result<()> {
        const VARIABLES: &str =
            "SHOW SESSION VARIABLES WHERE Variable_name IN ('wsrep_sync_wait', 'group_replication_consistency')";
        for (name, _) in conn.query::<(String, String), _>(VARIABLES)? {
            let set = match name.as_str() {
                "wsrep_sync_wait" => "SET SESSION wsrep_sync_wait = 15",
                _ => "SET SESSION group_replication_consistency = 'BEFORE'",
            };
            conn.query_drop(set)?;
        }
        Ok(())
    }

    pub fn condition(&self) -> LockCondition {
        // The token is a hash, so that it needs no quoting.
        let Self { table, token, .. } = self;
        LockCondition {
            condition: format!("EXISTS (SELECT 1 FROM {table} WHERE part = 'holder' AND token = '{token}')"),
            update_condition: format!("part = 'holder' AND token = '{token}'"),
            update_join: format!(" JOIN {table}"),
            update_set: "guarded_writes = guarded_writes + 1, ".to_owned(),
            table: Some(table.clone()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((held, renewer)) = self.renewer.take() else { return };
        drop(held);
        if renewer.join(Instant::now() + RELEASE_TIMEOUT).is_err() {
            log::warn!("failed to release the migration lease in time; it expires after {} s", VALID_FOR.as_secs());
        }
    }
}

impl LeaseState {
    /// Returns who holds the lease; `None` if it can be taken.
    fn holder(&self, conn: &mut Conn, node: &str) -> Result<Option<String>> {
        const SESSION: &str = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID = ?";
        const MEMBER_ONLINE: &str = "SELECT 1 FROM performance_schema.replication_group_members
            WHERE MEMBER_ID = {member} AND MEMBER_STATE = 'ONLINE'";
        if self.free {
            return Ok(None);
        }
        let holder = format!("{} (connection {} of {})", self.held_by, self.connection, self.node);
        if !self.expired {
            return Ok(Some(holder));
        }
        if self.node == node {
            let session: Option<u64> = conn.exec_first(SESSION, (self.connection,))?;
            return Ok(session.map(|_| format!("{holder}, whose session has not ended")));
        }
        let member = self.node.split('/').next().unwrap_or(&self.node);
        // MariaDB has neither such a table nor such groups.
        let online: Option<u64> = first_answer(conn, &[fill(MEMBER_ONLINE, &[("member", &quote_text(member))])])?;
        Ok(online.map(|_| format!("{holder}, on another member of the group; run this on that member")))
    }
}

/// Reads the lease, and creates its table first if there is none.
fn read_or_create(conn: &mut Conn, table: &str) -> mysql::Result<Option<LeaseState>> {
    const STATE: &str = "
SELECT b.expires_at < UTC_TIMESTAMP(6), b.token = '', h.held_by, h.node, h.connection
FROM {table} h JOIN {table} b WHERE h.part = 'holder' AND b.part = 'heartbeat'";
    const CREATE: &str = "
CREATE TABLE IF NOT EXISTS {table} (
  part           VARCHAR(9) CHARACTER SET ascii NOT NULL COMMENT 'holder: written with each change; heartbeat: renewed',
  token          VARCHAR(32) CHARACTER SET ascii NOT NULL COMMENT 'empty: free',
  held_by        VARCHAR(288) NOT NULL COMMENT 'user@host',
  node           VARCHAR(288) NOT NULL,
  connection     BIGINT UNSIGNED NOT NULL,
  expires_at     DATETIME(6) NOT NULL COMMENT 'UTC; only of the heartbeat',
  guarded_writes BIGINT UNSIGNED NOT NULL COMMENT 'changes of ai_migrations under this lock',
  PRIMARY KEY (part)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin COMMENT = 'airun migrations, the lock in a cluster'";
    const INSERT: &str = "
INSERT IGNORE INTO {table} (part, token, held_by, node, connection, expires_at, guarded_writes)
VALUES ('holder', '', '', '', 0, UTC_TIMESTAMP(6), 0), ('heartbeat', '', '', '', 0, UTC_TIMESTAMP(6), 0)";
    type Columns = (bool, bool, String, String, u64);
    let sql = |template| fill(template, &[("table", table)]);
    let mut row: mysql::Result<Option<Columns>> = conn.query_first(sql(STATE));
    if matches!(&row, Err(mysql::Error::MySqlError(error)) if error.code == 1146) || matches!(row, Ok(None)) {
        conn.query_drop(sql(CREATE))?;
        conn.query_drop(sql(INSERT))?;
        row = conn.query_first(sql(STATE));
    }
    let state = |(expired, free, held_by, node, connection)| LeaseState { expired, free, held_by, node, connection };
    Ok(row?.map(state))
}

/// Takes the lease if it is still free or expired.
fn take(conn: &mut Conn, table: &str, token: &str, node: &str) -> mysql::Result<bool> {
    const TAKE: &str = "
UPDATE {table} h JOIN {table} b
SET h.token = :token, b.token = :token, h.held_by = USER(), h.node = :node, h.connection = CONNECTION_ID(),
    b.expires_at = UTC_TIMESTAMP(6) + INTERVAL :seconds SECOND
WHERE h.part = 'holder' AND b.part = 'heartbeat' AND (b.token = '' OR b.expires_at < UTC_TIMESTAMP(6))";
    let parameters = params! { "token" => token, "node" => node, "seconds" => VALID_FOR.as_secs() };
    conn.exec_drop(fill(TAKE, &[("table", table)]), parameters)?;
    Ok(conn.affected_rows() > 0)
}

/// Identifies this run of this node, because connection ids are only unique within it.
fn node(conn: &mut Conn) -> Result<String> {
    // When the server started, by its own clock. The uptime is that at the beginning of the very statement that reads it,
    // so the difference is exact. The first statement is for MySQL, the second for MariaDB.
    const STARTED: [&str; 2] = [
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) FROM performance_schema.global_status
         WHERE VARIABLE_NAME = 'Uptime'",
        "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS
         WHERE VARIABLE_NAME = 'UPTIME'",
    ];
    const NODE: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'hostname', 'port')";
    let variables: Vec<(String, String)> = conn.query(NODE)?;
    let value = |name: &str| variables.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value);
    let started: Option<i64> = first_answer(conn, &STARTED.map(str::to_owned))?;
    let Some(started) = started else {
        return Err(Error::failure("failed to read the server's uptime, which the migration lock needs"));
    };
    match value("server_uuid") {
        "" => Ok(format!("{}:{}/{started}", value("hostname"), value("port"))),
        uuid => Ok(format!("{uuid}/{started}")),
    }
}

fn new_token(conn: &mut Conn, node: &str) -> Result<String> {
    let uuid: Option<String> = conn.query_first("SELECT UUID()")?;
    let random = format!("{node} {} {uuid:?} {}", conn.connection_id(), std::process::id());
    Ok(hex(&Sha256::digest(random)[..16]))
}

/// True if another node was first: ER_ERROR_DURING_COMMIT, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK,
/// ER_TRANSACTION_ROLLBACK_DURING_COMMIT.
fn lost_the_race(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if [1180, 1205, 1213, 3101].contains(&error.code))
}

/// The renewing thread.
struct Renewal {
    database: Database,
    table: String,
    token: String,
    /// Id of the migrator's connection.
    connection: u64,
}

impl Renewal {
    /// Renews the lease until `released` closes, then releases it. An error doesn't end the loop: the next renewal may
    /// succeed, and if none does, the lease expires and the journal refuses the migrator's next change.
    fn run(&self, released: &Receiver<()>) {
        let mut conn: Option<Conn> = None;
        loop {
            let ended = released.recv_timeout(RENEW_INTERVAL) == Err(RecvTimeoutError::Disconnected);
            match self.renew_or_release(conn.take(), ended) {
                Ok(kept) => conn = Some(kept),
                Err(error) => {
                    log::warn!("failed to {} the migration lease: {error}", if ended { "release" } else { "renew" });
                }
            }
            if ended {
                return;
            }
        }
    }

    fn renew_or_release(&self, conn: Option<Conn>, release: bool) -> Result<Conn> {
        const RENEW: &str = "UPDATE {table} SET expires_at = UTC_TIMESTAMP(6) + INTERVAL :seconds SECOND
            WHERE part = 'heartbeat' AND token = :token";
        // If the migrator lost its connection, the server may still run its statement.
        const RELEASE: &str = "UPDATE {table} SET token = '' WHERE token = :token AND NOT EXISTS
            (SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = :connection AND COMMAND <> 'Sleep')";
        let mut conn = match conn {
            Some(conn) => conn,
            None => self.database.connect()?,
        };
        let (template, parameters) = if release {
            (RELEASE, params! { "token" => &self.token, "connection" => self.connection })
        } else {
            (RENEW, params! { "token" => &self.token, "seconds" => VALID_FOR.as_secs() })
        };
        conn.exec_drop(fill(template, &[("table", &self.table)]), parameters)
            .map_err(|error| Error::failure(db::describe(&error)))?;
        Ok(conn)
    }
}
