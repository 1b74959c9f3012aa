//! The context in which a command runs.

use std::env;
use std::path::PathBuf;

use super::args::Args;
use super::output::Output;
use crate::config::{self, DatabaseFlags};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::shutdown::Shutdown;

/// The arguments of a command, and what it uses.
pub struct Context {
    pub args: Args,
    pub registry: Registry,
    /// Closed by the first signal.
    pub stop: Shutdown,
    pub output: Output,
}

impl Context {
    /// Returns the database, or `None` if no setting names one.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn database(&self) -> Result<Option<Database>> {
        let given = |name| self.args.given(name).map(str::to_owned);
        let flags = DatabaseFlags {
            url: given("--database-url").or_else(|| env::var(config::URL_FROM_FLAG).ok()),
            tls_mode: given("--tls-mode"),
            tls_ca: given("--tls-ca").map(PathBuf::from),
        };
        config::database(&flags, &self.args.environment)
    }

    /// Returns the database, for a command that needs one.
    ///
    /// # Errors
    /// No setting names a database, or one is wrong.
    pub fn require_database(&self) -> Result<Database> {
        self.database()?.ok_or_else(|| {
            Error::usage(
                "no database URL; set `--database-url` or `DATABASE_URL`, for example \
                 mysql://user:password@127.0.0.1:3306/database",
            )
        })
    }

    /// Returns the folder of the migrations.
    pub fn migrations_dir(&self) -> PathBuf {
        self.args.path("--dir").unwrap_or_default()
    }
}
