//! The pipes of a child process.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Mutex;

use crate::threads::lock;

/// How much of a program's standard output is kept as its result.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Maximum size of a handler's report. It holds the result as a quoted string with its own quotes escaped.
const REPORT_BYTES_MAX: usize = 16 << 20;
/// Maximum length of a log line, and of the error of a failed program.
const LINE_BYTES_MAX: usize = 8 << 10;
/// How many of the last lines of standard error become the error of a failed program.
const ERROR_LINES_MAX: usize = 20;

/// The bytes read so far. They can be used before the pipe is closed, which a surviving grandchild may delay.
pub type Captured = Mutex<Vec<u8>>;

/// Writes `input` and closes the pipe.
pub fn feed(stdin: Option<ChildStdin>, input: &str) {
    let Some(mut stdin) = stdin else { return };
    // A process may end without reading its input.
    if let Err(error) = stdin.write_all(input.as_bytes())
        && error.kind() != ErrorKind::BrokenPipe
    {
        log::warn!("failed to write to the standard input of a task's process: {error}");
    }
}

/// Captures a program's standard output, which is its result.
pub fn capture_stdout(stdout: Option<ChildStdout>, captured: &Captured) {
    let Some(mut stdout) = stdout else { return };
    let mut dropped = 0;
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
        let mut bytes = lock(captured);
        let room = OUTPUT_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&buffer[..count.min(room)]);
        dropped += count.saturating_sub(room);
    }
    if dropped > 0 {
        log::warn!("printed more than {OUTPUT_BYTES_MAX} bytes: dropped {dropped} of them from its result");
    }
}

/// Captures a handler's report, whose line starts with `marker`, and logs what else the handler prints.
pub fn capture_report(stdout: Option<ChildStdout>, marker: &str, captured: &Captured) {
    let Some(stdout) = stdout else { return };
    for line in lines(stdout, REPORT_BYTES_MAX) {
        match line.strip_prefix(marker.as_bytes()) {
            Some(json) => *lock(captured) = json.to_vec(),
            None if line.is_empty() => {}
            None => log::info!("{}", String::from_utf8_lossy(&line)),
        }
    }
}

/// Logs a program's standard error, and captures its last lines.
pub fn capture_stderr(stderr: Option<ChildStderr>, captured: &Captured) {
    let Some(stderr) = stderr else { return };
    let mut last: Vec<String> = Vec::new();
    for line in lines(stderr, LINE_BYTES_MAX) {
        let line = String::from_utf8_lossy(&line).into_owned();
        log::info!("{line}");
        last.push(line);
        while last.len() > ERROR_LINES_MAX
            || last.len() > 1 && last.iter().map(String::len).sum::<usize>() > LINE_BYTES_MAX
        {
            last.remove(0);
        }
        *lock(captured) = last.join("\n").into_bytes();
    }
}

/// Lines without their line ends. A line longer than `max` bytes is split.
fn lines(from: impl Read, max: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut from = BufReader::new(from);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let count = from.by_ref().take(max as u64).read_until(b'\n', &mut line).ok()?;
        line.pop_if(|byte| *byte == b'\n');
        (count > 0).then_some(line)
    })
}
