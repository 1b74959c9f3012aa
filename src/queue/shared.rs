//! The parts that the threads of a worker share.

use std::sync::Arc;

use super::completion::CompletionSender;
use super::fleet_view::FleetView;
use super::in_flight::InFlight;
use super::kind::Kind;
use super::stats::Stats;
use super::store::Retention;
use crate::db::{Database, ReconnectingConn};
use crate::shutdown::{Phase, Shutdown};
use crate::threads::FailureSender;

pub struct Shared {
    pub worker_id: u64,
    pub hostname: String,
    /// False if a worker's liveness lock is visible on its own node only.
    pub locks_are_global: bool,
    pub database: Database,
    pub retention: Retention,
    pub kinds: Vec<Arc<Kind>>,
    pub shutdown: Shutdown,
    pub stats: Arc<Stats>,
    pub in_flight: InFlight,
    pub fleet: FleetView,
    pub completions: CompletionSender,
    pub failures: FailureSender,
}

impl Shared {
    /// A connection for one thread, which reconnects until `phase`.
    pub fn conn(&self, phase: Phase) -> ReconnectingConn {
        ReconnectingConn::new(&self.database, &self.shutdown.until(phase), &self.stats.conn_stats)
    }
}
