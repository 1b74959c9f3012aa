//! What every test needs: servers, databases of their own, folders, processes.

mod database;
mod mixed;
mod own_server;
mod process;
mod proxy;
mod queue;
mod server;
mod user;

pub use database::{Database, rows};
pub use mixed::{Victim, effects, write_mixed};
pub use own_server::{OwnServer, end_server};
pub use process::{Finished, Running, airun, lab};
pub use proxy::Proxy;
pub use queue::{stop, stop_after_lost_connections};
pub use server::Kind;
pub use user::User;

/// A test that runs on MySQL and on MariaDB, each time with an empty database of its own.
#[macro_export]
macro_rules! on_both {
    ($(fn $name:ident($db:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn promise($db: &$crate::support::Database) $body

            #[test]
            fn mysql() {
                promise(&$crate::support::Database::new($crate::support::Kind::MySql));
            }

            #[test]
            fn mariadb() {
                promise(&$crate::support::Database::new($crate::support::Kind::MariaDb));
            }
        }
    )+};
}

/// The text without how long things took, which no two runs share: `in 12ms` becomes `in …`.
pub fn timeless(text: &str) -> String {
    let lines = text.lines().map(|line| match line.rsplit_once(" in ") {
        Some((what, took)) if took.starts_with(|c: char| c.is_ascii_digit()) && took.ends_with('s') => {
            format!("{what} in …")
        }
        _ => line.to_owned(),
    });
    lines.map(|line| line + "\n").collect()
}
