//! Which errors of a server pass by themselves, and how long to wait for that.

use std::time::Duration;

use mysql::Error;

/// The server chose this transaction as a deadlock's victim and has undone it.
pub fn is_deadlock(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1213)
}

/// A lock wasn't had within `lock_wait_timeout` or `innodb_lock_wait_timeout`; the transaction is still there.
pub fn is_lock_timeout(error: &Error) -> bool {
    matches!(error, Error::MySqlError(error) if error.code == 1205)
}

/// The connection is of no more use. Whatever isn't the server's own word leaves it in an unknown state.
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        // ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED (MariaDB), ER_CLIENT_INTERACTION_TIMEOUT, and the client's own codes.
        Error::MySqlError(error) => matches!(error.code, 1053 | 1927 | 4031 | 2006 | 2013),
        // Its answer was whole, though not what was expected.
        Error::FromRowError(_) | Error::FromValueError(_) => false,
        // Nothing was sent. The type inside isn't public.
        Error::CodecError(error) => !error.to_string().contains(TOO_LARGE),
        _ => true,
    }
}

/// What the driver says where a packet is larger than the server's `max_allowed_packet`.
const TOO_LARGE: &str = "Packet is larger than max_allowed_packet";

/// The server can't do it now, or was told to stop doing it; the connection stays.
pub fn is_transient(error: &Error) -> bool {
    // ER_DISK_FULL, ER_CON_COUNT_ERROR, ER_UNKNOWN_COM_ERROR (of a Galera node that isn't ready), ER_RECORD_FILE_FULL,
    // ER_ERROR_DURING_COMMIT, ER_QUERY_INTERRUPTED, ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1021 | 1040 | 1047 | 1114 | 1180 | 1317 | 3101))
}

/// The server takes no writes: it is no longer the one of several that does (or not yet).
pub fn is_read_only(error: &Error) -> bool {
    // ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE
    matches!(error, Error::MySqlError(error) if matches!(error.code, 1290 | 1792 | 1836))
}

/// The server knows neither this user, nor its password, nor the database.
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

/// Waits that double, up to a limit.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// How often [`Backoff::next_delay`] was asked.
    pub fn attempts(&self) -> u32 {
        self.0
    }

    /// The wait before the next attempt: 50 ms, doubling up to 2 s.
    pub fn next_delay(&mut self) -> Duration {
        let delay = Duration::from_millis(50).saturating_mul(1 << self.0.min(6));
        self.0 += 1;
        delay.min(Duration::from_secs(2))
    }
}
