//! The context in which a command runs.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::config::{self, DatabaseFlags, Environment};
use crate::db::Database;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::shutdown::Shutdown;

/// A command with its arguments, ready to run.
pub type Action = Box<dyn FnOnce(Registry, &Context) -> Result<Exit> + Send>;

/// The folder of the migrations unless a flag or a variable names another.
const MIGRATIONS_DIR: &str = "migrations";

/// The settings of the process, and its stop.
pub struct Context {
    pub environment: Environment,
    pub flags: DatabaseFlags,
    /// Closed by the first signal.
    pub stop: Shutdown,
}

impl Context {
    /// The database, or `None` if no setting names one.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn database(&self) -> Result<Option<Database>> {
        config::database(&self.flags, &self.environment)
    }

    /// The database of a command that can't do without.
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

    /// The folder that `--dir` or the environment names for the migrations.
    pub fn named_migrations_dir(&self, flag: Option<PathBuf>) -> Option<PathBuf> {
        flag.or_else(|| self.environment.get("AIRUN_MIGRATIONS_DIR").map(PathBuf::from))
    }

    /// The folder of the migrations.
    pub fn migrations_dir(&self, flag: Option<PathBuf>) -> PathBuf {
        self.named_migrations_dir(flag).unwrap_or_else(|| MIGRATIONS_DIR.into())
    }
}
