//! A server that only one test uses, so that the test can kill it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::server::Kind;
use super::wait_until;

/// A server that runs until the value is dropped. Its data are in a temporary folder.
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

    /// Restarts the server after [`OwnServer::kill`]. The port changes if another process has taken the old one.
    pub fn restart(&self) {
        let started = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dev-db"))
            .args(["start", "--private", "--server", self.kind.name()])
            .env("AIRUN_DB_HOME", self.home.path())
            .output()
            .expect("scripts/dev-db");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&self) {
        kill_server(&self.pid().expect("a server that runs"), self.home.path());
    }

    /// Returns the file with the URL of an administrator, without a database.
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
        // If the server does not run, the test should fail with its own message and not with an error of this cleanup.
        if self.pid().is_some() {
            self.kill();
        }
    }
}

/// Sends SIGKILL to the process if `folder` is among its arguments, and waits until it has ended.
pub fn kill_server(pid: &str, folder: &Path) {
    let arguments = PathBuf::from(format!("/proc/{pid}/cmdline"));
    // The pid may belong to another program by now, and a zombie has no arguments.
    let folder = folder.as_os_str().as_encoded_bytes();
    let runs = || fs::read(&arguments).is_ok_and(|words| words.windows(folder.len()).any(|words| words == folder));
    if runs() {
        drop(Command::new("kill").args(["-KILL", pid]).status());
    }
    wait_until(|| !runs());
}
