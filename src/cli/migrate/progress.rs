//! Shows the progress of migrations: a line that is redrawn on a terminal, or else a log line from time to time.
//!
//! The migrating thread only records where it is. Another thread draws, so that the elapsed time of a long statement moves and
//! many short statements cost nothing. Quick migrations show nothing at all.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::db::Database;
use crate::duration;
use crate::migrate::event::ScriptStart;
use crate::migrate::progress_probe::{ProgressProbe, Stage};
use crate::observe::escaped;

/// Delay before the first line on a terminal.
const DRAW_AFTER: Duration = Duration::from_millis(500);
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of log lines when standard error is not a terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);
/// A statement that has run this long is probed on the server.
const PROBE_AFTER: Duration = Duration::from_secs(2);
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Returns to the start of the line and turns wrapping off (DECAWM), so that a narrow terminal cuts a long line.
const LINE_START: &str = "\r\x1b[?7l";
/// Clears the rest of the line and turns wrapping on again.
const LINE_END: &str = "\x1b[K\x1b[?7h";

/// Shows the progress until it is dropped.
pub struct Progress {
    database: Database,
    state: Arc<Mutex<State>>,
    painter: Option<(Sender<Infallible>, JoinHandle<()>)>,
}

struct State {
    script: Option<ScriptStart>,
    script_started: Instant,
    /// Number of the current statement, from 1; 0 before the first.
    k: u64,
    total: u64,
    /// Bytes of the script before statement `k`.
    bytes: u64,
    statement_started: Instant,
    /// True while a line is on the terminal.
    drawn: bool,
}

impl Progress {
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone(), state: Arc::new(Mutex::new(State::new())), painter: None }
    }

    pub fn start_script(&mut self, script: ScriptStart) {
        let mut state = lock(&self.state);
        *state = State { script: Some(script), drawn: state.drawn, ..State::new() };
        drop(state);
        if self.painter.is_none() {
            let (stop, stopped) = bounded(0);
            let painter = Painter::new(&self.database, &self.state);
            let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || painter.run(&stopped));
            // Without the thread only the progress line is missing.
            self.painter = thread.ok().map(|thread| (stop, thread));
        }
    }

    pub fn start_statement(&mut self, k: u64, total: u64, bytes: u64) {
        let mut state = lock(&self.state);
        state.statement_started = Instant::now();
        (state.k, state.total, state.bytes) = (k, total, bytes);
    }

    /// Records the end of `migration`. The next script may have started before.
    pub fn finish_script(&mut self, migration: &str) {
        lock(&self.state).script.take_if(|script| script.migration == migration);
    }

    /// Calls `print` while no progress line is on the terminal.
    pub fn print_above(&mut self, print: impl FnOnce()) {
        let mut state = lock(&self.state);
        state.clear();
        print();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, painter)) = self.painter.take() {
            drop(stop);
            // A panic of the painter was logged and must not fail the migration.
            painter.join().ok();
        }
        lock(&self.state).clear();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn new() -> Self {
        let now = Instant::now();
        Self { script: None, script_started: now, k: 0, total: 0, bytes: 0, statement_started: now, drawn: false }
    }

    fn draw(&mut self, text: &str) {
        self.drawn = true;
        write(&format!("{LINE_START}{}{LINE_END}", escaped(text)));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            write(&format!("{LINE_START}{LINE_END}"));
        }
    }

    fn text(&self, stage: Option<&Stage>) -> Option<String> {
        let script = self.script.as_ref()?;
        let mut text = format!("{} ({} of {}): ", script.migration, script.i, script.of);
        if self.k > 0 {
            text.push_str(&format!("statement {} of {}, ", self.k, self.total));
        }
        let elapsed = Duration::from_secs(self.script_started.elapsed().as_secs());
        text.push_str(&format!("{}, {}", bytes(self.bytes, script.bytes), duration::format(elapsed)));
        if let Some(stage) = stage {
            text.push_str(&format!(", {}", stage.what));
            if let Some(percent) = stage.percent {
                text.push_str(&format!(" {percent:.0} %"));
            }
        }
        Some(text)
    }
}

fn write(text: &str) {
    // If standard error is closed, there is nowhere to report that.
    io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// The thread that draws.
struct Painter {
    state: Arc<Mutex<State>>,
    on_terminal: bool,
    probe: ProgressProbe,
    probed_at: Instant,
    /// The last stage that the probe found, with the session and statement that it belongs to.
    stage: Option<((u32, u64), Stage)>,
}

impl Painter {
    fn new(database: &Database, state: &Arc<Mutex<State>>) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Self {
            state: Arc::clone(state),
            on_terminal: io::stderr().is_terminal() && !dumb,
            probe: ProgressProbe::new(database.clone()),
            probed_at: Instant::now(),
            stage: None,
        }
    }

    fn run(mut self, stopped: &Receiver<Infallible>) {
        let (first, interval) =
            if self.on_terminal { (DRAW_AFTER, DRAW_INTERVAL) } else { (LOG_INTERVAL, LOG_INTERVAL) };
        let mut next = Instant::now() + first;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_deadline(next) {
            self.probe();
            self.show();
            next = Instant::now() + interval;
        }
    }

    fn show(&mut self) {
        let mut state = lock(&self.state);
        let current = state.script.as_ref().map(|script| (script.session, state.k));
        let stage = self.stage.as_ref().filter(|(of, _)| Some(*of) == current).map(|(_, stage)| stage);
        let Some(text) = state.text(stage) else { return };
        if self.on_terminal {
            state.draw(&text);
        } else if state.script_started.elapsed() >= LOG_INTERVAL {
            log::info!("{text}");
        }
    }

    /// Asks the server how far a long statement is.
    fn probe(&mut self) {
        let state = lock(&self.state);
        let Some(session) = state.script.as_ref().map(|script| script.session) else { return };
        let (k, started) = (state.k, state.statement_started);
        drop(state);
        if started.elapsed() >= PROBE_AFTER && self.probed_at.elapsed() >= PROBE_INTERVAL {
            self.stage = self.probe.read(session).map(|stage| ((session, k), stage));
            self.probed_at = Instant::now();
        }
    }
}

/// `12.3 of 50.0 MB`
fn bytes(done: u64, of: u64) -> String {
    let (unit, name) = match of {
        0..1_000 => return format!("{done} of {of} bytes"),
        1_000..1_000_000 => (1e3, "kB"),
        _ => (1e6, "MB"),
    };
    format!("{:.1} of {:.1} {name}", done as f64 / unit, of as f64 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_counts_have_the_same_unit() {
        assert_eq!(bytes(0, 999), "0 of 999 bytes");
        assert_eq!(bytes(1_234, 56_789), "1.2 of 56.8 kB");
        assert_eq!(bytes(900_000, 50_000_000), "0.9 of 50.0 MB");
    }

    #[test]
    fn line_names_migration_statement_time_and_stage() {
        let mut state = State::new();
        assert_eq!(state.text(None), None);
        state.script = Some(ScriptStart { i: 2, of: 3, migration: "1_a".to_owned(), bytes: 50, session: 7 });
        assert_eq!(state.text(None).as_deref(), Some("1_a (2 of 3): 0 of 50 bytes, 0s"));
        (state.k, state.total) = (4, 9);
        let stage = Stage { what: "altering table".to_owned(), percent: Some(33.4) };
        assert_eq!(
            state.text(Some(&stage)).as_deref(),
            Some("1_a (2 of 3): statement 4 of 9, 0 of 50 bytes, 0s, altering table 33 %")
        );
    }
}
