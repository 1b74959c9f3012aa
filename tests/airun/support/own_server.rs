//! A server of a test's own, to be killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::server::Kind;
use super::wait_until;

/// Runs until it is dropped; its data are in a folder of its own.
pub struct OwnServer {
    kind: Kind,
    home: TempDir,
}

impl OwnServer {
    pub fn start(kind: Kind) -> Self {
        let server = Self { kind, home: TempDir::new().expect("a temporary folder") };
        server.restart();
        server
    }

    /// Starts it again behind [`OwnServer::kill`], on another port if its own was taken meanwhile.
    pub fn restart(&self) {
        let started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dev-db"))
            .args(["start", "--private", "--server", self.kind.name()])
            .env("AIRUN_DB_HOME", self.home.path())
            .output()
            .expect("scripts/dev-db");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    /// kill -9, and waits for the end.
    pub fn kill(&self) {
        kill_server(&self.pid().expect("a server that runs"), self.home.path());
    }

    /// The file that holds the URL of an account that may do everything, without a database's name.
    pub fn url_file(&self) -> PathBuf {
        self.home.path().join(self.kind.name()).join("admin-url")
    }

    fn pid(&self) -> Option<String> {
        let pid = fs::read_to_string(self.home.path().join(self.kind.name()).join("pid")).ok()?;
        Some(pid.trim().to_owned())
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // A test that fails because it isn't there must say that, not this.
        if self.pid().is_some() {
            self.kill();
        }
    }
}

/// kill -9 for the process that has a folder among its arguments, and waits for its end.
pub fn kill_server(pid: &str, folder: &Path) {
    let arguments = PathBuf::from(format!("/proc/{pid}/cmdline"));
    // Another program may have its number by now; and one that nobody has collected yet has no arguments any more.
    let folder = folder.as_os_str().as_encoded_bytes();
    let runs = || fs::read(&arguments).is_ok_and(|words| words.windows(folder.len()).any(|words| words == folder));
    if runs() {
        drop(Command::new("kill").args(["-KILL", pid]).status());
    }
    wait_until(|| !runs());
}
