//! Starts real processes, reads their output, sends signals, and waits for them.

use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, unbounded};

use super::LIMIT;

/// Returns the command `airun` with `args` and an empty environment.
pub fn airun(args: &str) -> Command {
    command(PathBuf::from(env!("CARGO_BIN_EXE_airun")), args)
}

/// Returns the command `examples/lab` with `args` and an empty environment.
pub fn lab(args: &str) -> Command {
    let test = env::current_exe().expect("this program");
    let target = test.ancestors().nth(2).expect("the build's folder").to_owned();
    command(target.join("examples/lab"), args)
}

fn command(program: PathBuf, args: &str) -> Command {
    let mut command = Command::new(program);
    command.args(args.split_whitespace()).env_clear();
    command
}

/// A running process.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// The exit code and the output of a process that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code, or 128 plus the number of the signal that killed it, as in a shell.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdout = child.stdout.take().expect("its output");
        let stderr = child.stderr.take().expect("its errors");
        let (sender, lines) = unbounded();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                // The receiver is dropped when the test ends.
                drop(sender.send(line.expect("UTF-8")));
            }
        });
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("UTF-8");
            text
        });
        Self { child, stdout: Some(stdout), lines, seen: Vec::new() }
    }

    /// Waits for a line on standard error that contains `part`, and returns it.
    pub fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("`{part}` did not come ({error}); what came:\n{}", self.seen.join("\n")),
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal: `TERM`, `STOP`, `KILL`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill").success(), "kill -{name}");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// Waits until the process has ended.
    pub fn finish(mut self) -> Finished {
        let deadline = Instant::now() + LIMIT;
        // Its standard error is closed when it ends.
        while let Ok(line) = self.lines.recv_deadline(deadline) {
            self.seen.push(line);
        }
        if Instant::now() >= deadline {
            drop(self.child.kill());
            panic!("it did not end; what came:\n{}", self.seen.join("\n"));
        }
        let status = self.child.wait().expect("its end");
        let stderr: String = self.seen.iter().map(|line| format!("{line}\n")).collect();
        Finished {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: self.stdout.take().expect("it is taken once").join().expect("its output"),
            stderr,
        }
    }
}

impl Drop for Running {
    /// A failed test must not leave a process running.
    fn drop(&mut self) {
        if self.is_running() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
