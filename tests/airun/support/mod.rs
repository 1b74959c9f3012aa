//! Helpers for all tests: servers, databases, folders and processes.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

mod database;
mod mixed;
mod own_server;
mod process;
mod proxy;
mod queue;
mod server;
pub mod tier;
mod user;
mod wait;

pub use database::{Database, rows};
pub use mixed::{Victim, effects, write_mixed};
pub use own_server::{OwnServer, kill_server};
pub use process::{Finished, Running, airun, lab};
pub use proxy::Proxy;
pub use queue::{LOCK_WAIT_TIMEOUT, stop, stop_after_lost_connections, worker_at};
pub use server::Kind;
pub use user::User;
pub use wait::{LIMIT, wait_until};

/// Defines a test that runs on MySQL and on MariaDB, each time with a new database.
#[macro_export]
macro_rules! on_both {
    ($($(#[$attribute:meta])* fn $name:ident($db:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn promise($db: &$crate::support::Database) $body

            #[test]
            $(#[$attribute])*
            fn mysql() {
                promise(&$crate::support::Database::new($crate::support::Kind::MySql));
            }

            #[test]
            $(#[$attribute])*
            fn mariadb() {
                promise(&$crate::support::Database::new($crate::support::Kind::MariaDb));
            }
        }
    )+};
}

/// Defines a test on both servers for each fault point. A point's name is the test's with `-` for `_`.
#[macro_export]
macro_rules! at_each_point {
    ($check:ident: $($point:ident)+) => {
        $crate::on_both! { $(fn $point(db) { $check(db, &stringify!($point).replace('_', "-")); })+ }
    };
}

/// Fails if `log` contains `message`, and if no source file contains it: then the message has changed, and the check
/// would always pass.
pub fn assert_not_logged(log: &str, message: &str) {
    assert!(sources().iter().any(|source| source.contains(message)), "nothing in src/ logs `{message}`");
    assert!(!log.contains(message), "`{message}` in:\n{log}");
}

/// Returns the files of `src/`.
fn sources() -> &'static [String] {
    static SOURCES: OnceLock<Vec<String>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder of sources") {
                let path = entry.expect("a source").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    sources.push(fs::read_to_string(path).expect("a source"));
                }
            }
        }
        sources
    })
}

/// Removes durations from a text, because they differ between runs: `in 12ms` becomes `in …`.
pub fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.rsplit_once(" in ") {
        Some((what, took)) if took.starts_with(|c: char| c.is_ascii_digit()) && took.ends_with('s') => {
            format!("{what} in …")
        }
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}
