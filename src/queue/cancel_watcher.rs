//! Interrupts running tasks that were cancelled, or that were given to another run because their lease expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shared::Shared;
use super::store::{ClaimToken, lease};
use crate::db::ReconnectingConn;

/// How often the running tasks' rows are read.
const INTERVAL: Duration = Duration::from_secs(1);
/// Younger runs are left out: most end before anybody could cancel them.
const RUN_AGE_MIN: Duration = Duration::from_millis(500);

pub struct CancelWatcher {
    shared: Arc<Shared>,
    next: Instant,
}

impl CancelWatcher {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next: Instant::now() + INTERVAL }
    }

    pub fn run_due(&mut self, conn: &mut ReconnectingConn, now: Instant) -> mysql::Result<()> {
        if now < self.next {
            return Ok(());
        }
        self.next = now + INTERVAL;
        let tokens: Vec<ClaimToken> =
            self.shared.in_flight.running_for(RUN_AGE_MIN).iter().map(|job| job.token).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        for (token, reason) in conn.try_run(|conn| lease::find_changes(conn, &tokens))?.unwrap_or_default() {
            self.shared.in_flight.interrupt(&token, reason, &self.shared.database);
        }
        Ok(())
    }
}
