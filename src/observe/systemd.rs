//! What systemd is told, where it started the worker with `Type=notify` (sd_notify(3)), and the journal.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use sd_notify::NotifyState;

/// Whether standard error goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)).
pub fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// Every thread is up.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The loops make progress.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// A sentence for `systemctl status`.
pub fn status(words: &str) {
    tell(&[NotifyState::Status(words)]);
}

/// The worker stops, and asks for as long as it may take.
pub fn stopping(limit: Duration) {
    // Behind the limit the worker still has to say who is stuck.
    const TO_SAY_SO: u32 = 5_000_000;
    let micros = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX).saturating_add(TO_SAY_SO);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// How often [`alive`] is to be said, if at all: twice as often as systemd asks for.
pub fn watchdog_interval() -> Option<Duration> {
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    (ours && micros > 0).then(|| Duration::from_micros(micros) / 2)
}

/// Without systemd there is nobody to tell.
fn tell(state: &[NotifyState<'_>]) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify(false, state) {
        log::debug!("failed to notify systemd: {error}");
    }
}
