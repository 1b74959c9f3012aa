//! Classifies errors: which are transient, which are permanent, and how long to wait before another attempt.

use std::time::Duration;

use mysql::Error;

/// True if the server rolled back the transaction to end a deadlock.
pub fn is_deadlock(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1213)
}

/// True if a lock wait exceeded `lock_wait_timeout` or `innodb_lock_wait_timeout`. The transaction is still open.
pub fn is_lock_timeout(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1205)
}

/// True if the connection can't be used any more. Every error that does not come from the server leaves it in an
/// unknown state: the answer may still arrive, and be taken for that of the next statement.
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        // ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED (MariaDB), ER_CLIENT_INTERACTION_TIMEOUT, and the client's own
        // codes.
        Error::MySqlError(error) => matches!(error.code, 1053 | 1927 | 4031 | 2006 | 2013),
        // The answer was complete, only its types were unexpected.
        Error::FromRowError(_) | Error::FromValueError(_) => false,
        // A packet that is too large was not sent. The type inside is not public.
        Error::CodecError(error) => !error.to_string().contains(TOO_LARGE),
        _ => true,
    }
}

/// The driver's message if a packet is larger than the server's `max_allowed_packet`.
const TOO_LARGE: &str = "Packet is larger than max_allowed_packet";

/// True if the server can't run the statement now, or was asked to interrupt it. The connection stays usable.
pub fn is_transient(error: &Error) -> bool {
    // ER_DISK_FULL, ER_CON_COUNT_ERROR, ER_UNKNOWN_COM_ERROR (a Galera node that is not ready), ER_RECORD_FILE_FULL,
    // ER_ERROR_DURING_COMMIT, ER_QUERY_INTERRUPTED, ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1021 | 1040 | 1047 | 1114 | 1180 | 1317 | 3101))
}

/// True if the server is read-only: after a fail-over it is no longer the primary, or not yet.
pub fn is_read_only(error: &Error) -> bool {
    // ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1290 | 1792 | 1836))
}

/// True if another attempt would fail too: the user, its password or the database is wrong.
pub fn is_permanent(error: &Error) -> bool {
    // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_BAD_DB_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1044 | 1045 | 1049 | 1698))
}

/// The same statement or transaction may succeed later.
pub fn is_retryable(error: &Error) -> bool {
    is_deadlock(error)
        || is_lock_timeout(error)
        || is_connection_lost(error)
        || is_transient(error)
        || is_read_only(error)
}

/// Delays that double up to a limit.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// Returns the number of delays so far.
    pub fn attempts(&self) -> u32 {
        self.0
    }

    /// Returns the delay before the next attempt: 50 ms, doubling up to 2 s.
    pub fn next_delay(&mut self) -> Duration {
        let delay = Duration::from_millis(50).saturating_mul(1 << self.0.min(6));
        self.0 += 1;
        delay.min(Duration::from_secs(2))
    }
}
