//! What moves while migrations run: on a terminal a line that is drawn anew, elsewhere a log line now and then.
//!
//! The thread that migrates only leaves word here; another one draws, so that a long statement's time moves too and many
//! short ones cost nothing. What is quick shows nothing at all.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::db::Database;
use crate::migrate::progress_probe::{ProgressProbe, Stage};
use crate::observe::escaped;

/// Before it, nothing is drawn.
const DRAW_AFTER: Duration = Duration::from_millis(500);
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Elsewhere than on a terminal.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// The server is asked about a statement that has run so long, and so often.
const LOOK_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Back to the line's start; what doesn't fit is cut by the terminal instead of wrapped (DECAWM), so that one line stays
/// one on a narrow one; the rest of the line is cleared.
const LINE_START: &str = "\r\x1b[?7l";
const LINE_END: &str = "\x1b[K\x1b[?7h";

/// A script that runs.
#[derive(Debug, Clone)]
pub struct Script {
    pub i: u64,
    pub of: u64,
    pub migration: String,
    /// Of its text.
    pub bytes: u64,
    /// The server's number of the connection that it runs on.
    pub session: u32,
}

/// Shows how far the migrations are, until it is dropped.
pub struct Progress {
    database: Database,
    shared: Arc<Mutex<Shared>>,
    painter: Option<(Sender<Infallible>, JoinHandle<()>)>,
}

struct Shared {
    script: Option<Script>,
    k: u64,
    total: u64,
    /// Of the script, before statement `k`.
    bytes: u64,
    script_since: Instant,
    statement_since: Instant,
    /// A line stands on the terminal.
    drawn: bool,
}

impl Progress {
    pub fn new(database: &Database) -> Self {
        let now = Instant::now();
        let shared =
            Shared { script: None, k: 0, total: 0, bytes: 0, script_since: now, statement_since: now, drawn: false };
        Self { database: database.clone(), shared: Arc::new(Mutex::new(shared)), painter: None }
    }

    /// A script begins.
    pub fn start_script(&mut self, script: Script) {
        let mut shared = lock(&self.shared);
        shared.script_since = Instant::now();
        shared.statement_since = shared.script_since;
        (shared.k, shared.total, shared.bytes) = (0, 0, 0);
        shared.script = Some(script);
        drop(shared);
        if self.painter.is_none() {
            let (stop, stopped) = bounded(0);
            let painter = Painter::new(&self.database, &self.shared);
            let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || painter.run(&stopped));
            // Without a thread there is no progress to be seen, and nothing else is lost.
            self.painter = thread.ok().map(|thread| (stop, thread));
        }
    }

    /// Statement `k` of `total` is next.
    pub fn start_statement(&mut self, k: u64, total: u64, bytes: u64) {
        let mut shared = lock(&self.shared);
        shared.statement_since = Instant::now();
        (shared.k, shared.total, shared.bytes) = (k, total, bytes);
    }

    /// `migration` has come to its end; the next one may have begun before.
    pub fn finish_script(&mut self, migration: &str) {
        let mut shared = lock(&self.shared);
        shared.script.take_if(|script| script.migration == migration);
    }

    /// Does something that prints, with the line out of its way.
    pub fn print_above(&mut self, print: impl FnOnce()) {
        let mut shared = lock(&self.shared);
        shared.clear();
        print();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, painter)) = self.painter.take() {
            drop(stop);
            // It has nothing to say, and a panic of its is no reason to fail.
            painter.join().unwrap_or_default();
        }
        lock(&self.shared).clear();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
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
        text.push_str(&format!("{}, {}", bytes(self.bytes, script.bytes), seconds(self.script_since.elapsed())));
        if let Some(stage) = stage {
            text.push_str(&format!(", {}", stage.what));
            if let Some(percent) = stage.percent {
                text.push_str(&format!(" {percent:.0} %"));
            }
        }
        Some(text)
    }
}

/// There is nobody to tell if standard error is closed.
fn write(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// The thread that draws.
struct Painter {
    database: Database,
    shared: Arc<Mutex<Shared>>,
    on_terminal: bool,
    probe: View,
    looked_at: Instant,
    /// Of which statement of which session.
    stage: Option<((u32, u64), Stage)>,
}

enum View {
    NotYet,
    Open(Box<ProgressProbe>),
    /// It can't be had; it isn't asked for again.
    None,
}

impl Painter {
    fn new(database: &Database, shared: &Arc<Mutex<Shared>>) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        Self {
            database: database.clone(),
            shared: Arc::clone(shared),
            on_terminal: io::stderr().is_terminal() && !dumb,
            probe: View::NotYet,
            looked_at: Instant::now(),
            stage: None,
        }
    }

    fn run(mut self, stopped: &Receiver<Infallible>) {
        let (first, every) = if self.on_terminal { (DRAW_AFTER, DRAW_EVERY) } else { (LOG_EVERY, LOG_EVERY) };
        let mut next = Instant::now() + first;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_deadline(next) {
            self.look();
            self.show();
            next = Instant::now() + every;
        }
    }

    fn show(&mut self) {
        let mut shared = lock(&self.shared);
        let now = shared.script.as_ref().map(|script| (script.session, shared.k));
        let stage = self.stage.as_ref().filter(|(of, _)| Some(*of) == now).map(|(_, stage)| stage);
        let Some(text) = shared.text(stage) else { return };
        if self.on_terminal {
            shared.draw(&text);
        } else if shared.script_since.elapsed() >= LOG_EVERY {
            log::info!("{text}");
        }
    }

    /// Asks the server, where a statement takes long.
    fn look(&mut self) {
        let shared = lock(&self.shared);
        let Some(session) = shared.script.as_ref().map(|script| script.session) else { return };
        let (k, since) = (shared.k, shared.statement_since);
        drop(shared);
        if since.elapsed() < LOOK_AFTER || self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        if matches!(self.probe, View::NotYet) {
            self.probe = ProgressProbe::new(&self.database).map_or(View::None, |probe| View::Open(Box::new(probe)));
        }
        if let View::Open(probe) = &mut self.probe {
            match probe.read(session) {
                Ok(stage) => self.stage = stage.map(|stage| ((session, k), stage)),
                // What is left in a connection after a time-out would be taken for the next answer.
                Err(_) => (self.probe, self.stage) = (View::None, None),
            }
        }
        self.looked_at = Instant::now();
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

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_share_the_unit_of_the_whole() {
        assert_eq!(bytes(0, 999), "0 of 999 bytes");
        assert_eq!(bytes(1_234, 56_789), "1.2 of 56.8 kB");
        assert_eq!(bytes(900_000, 50_000_000), "0.9 of 50.0 MB");
    }

    #[test]
    fn the_line_tells_where_it_is() {
        let mut shared = Shared {
            script: None,
            k: 0,
            total: 0,
            bytes: 0,
            script_since: Instant::now(),
            statement_since: Instant::now(),
            drawn: false,
        };
        assert_eq!(shared.text(None), None);
        shared.script = Some(Script { i: 2, of: 3, migration: "1_a".to_owned(), bytes: 50, session: 7 });
        assert_eq!(shared.text(None).as_deref(), Some("1_a (2 of 3): 0 of 50 bytes, 0 s"));
        (shared.k, shared.total) = (4, 9);
        let stage = Stage { what: "altering table".to_owned(), percent: Some(33.4) };
        assert_eq!(
            shared.text(Some(&stage)).as_deref(),
            Some("1_a (2 of 3): statement 4 of 9, 0 of 50 bytes, 0 s, altering table 33 %")
        );
    }
}
