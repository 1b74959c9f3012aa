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
        _ => true,
    }
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
