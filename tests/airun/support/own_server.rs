//! A server of a test's own, to be killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::server::Kind;
use crate::manners::wait_until;

/// Runs until it is dropped; its data are in a folder of its own.
pub struct OwnServer {
    kind: Kind,
    home: TempDir,
}

impl OwnServer {
    pub fn start(kind: Kind) -> Self {
        let server = Self { kind, home: TempDir::new().expect("a temporary folder") };
        server.again();
        server
    }

    /// Starts it again behind [`OwnServer::kill`], on the port that it had.
    pub fn again(&self) {
        let started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dev-db"))
            .args(["start", "--private", "--server", self.kind.name()])
            .env("AIRUN_DB_HOME", self.home.path())
            .output()
            .expect("scripts/dev-db");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    /// kill -9, and waits for the end.
    pub fn kill(&self) {
        let pid = self.state("pid");
        let killed = Command::new("kill").args(["-KILL", &pid]).status().expect("kill");
        assert!(killed.success(), "kill -KILL {pid}");
        // Nobody may collect it, and then it has no arguments any more.
        let arguments = PathBuf::from(format!("/proc/{pid}/cmdline"));
        wait_until(|| fs::read(&arguments).is_ok_and(|arguments| arguments.is_empty()) || !arguments.exists());
    }

    /// The URL of an account that may do everything, without a database's name.
    pub fn url(&self) -> String {
        self.state("admin-url")
    }

    fn state(&self, what: &str) -> String {
        let path = self.home.path().join(self.kind.name()).join(what);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // It may be that it isn't there.
            let pid = fs::read_to_string(self.home.path().join(self.kind.name()).join("pid")).unwrap_or_default();
            drop(Command::new("kill").args(["-KILL", pid.trim()]).status());
        } else {
            self.kill();
        }
    }
}
