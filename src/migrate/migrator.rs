//! [`Migrator`]: a folder of migrations and the database that they belong to. The commands are its methods, each in a
//! file of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Events};
use super::parsed::{ParsedMigration, read_folder};
use crate::db::Database;
use crate::error::Result;
use crate::shutdown::Shutdown;

/// Longer than the other instances of a deployment usually take, and shorter than an orchestrator waits.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Applies and rolls back the migrations of one folder in one database.
pub struct Migrator<'a> {
    pub(super) database: &'a Database,
    pub(super) files: Arc<[ParsedMigration]>,
    pub(super) shutdown: &'a Shutdown,
    pub(super) events: Box<Events<'a>>,
    pub(super) lock_timeout: Duration,
}

impl<'a> Migrator<'a> {
    /// Reads the migrations in `folder`. Doesn't connect to the database.
    ///
    /// # Errors
    /// Fails if the folder or a file can't be read or parsed, naming it.
    pub fn from_folder(database: &'a Database, folder: &Path, shutdown: &'a Shutdown) -> Result<Self> {
        let files = read_folder(folder)?.into();
        Ok(Self { database, files, shutdown, events: Box::new(|_| {}), lock_timeout: LOCK_TIMEOUT })
    }

    /// How long to wait for another migrator and for metadata locks; a minute by default.
    pub fn lock_timeout(self, lock_timeout: Duration) -> Self {
        Self { lock_timeout, ..self }
    }

    /// Calls `on_event` for everything that the user should see while a command works.
    pub fn on_event(self, on_event: impl FnMut(Event) + 'a) -> Self {
        Self { events: Box::new(on_event), ..self }
    }
}
