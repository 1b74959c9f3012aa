//! Notifies systemd of a service with `Type=notify` (sd_notify(3)), and detects the journal.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use sd_notify::NotifyState;

/// True if standard error goes to the journal, whose device and inode `JOURNAL_STREAM` names (systemd.exec(5)).
pub fn stderr_is_the_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// Reports that all threads are running.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Resets the watchdog.
pub fn keep_alive() {
    notify(&[NotifyState::Watchdog]);
}

/// Sets the text that `systemctl status` shows.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Reports that the worker is stopping, and how long that may take.
pub fn stopping(limit: Duration) {
    // After the limit, the worker still needs some time to log which tasks are stuck.
    const REPORT_MICROS: u32 = 5_000_000;
    let micros = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX).saturating_add(REPORT_MICROS);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// How often to call [`keep_alive`], if at all: twice as often as systemd requires.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|interval| interval / 2).filter(|interval| !interval.is_zero())
}

fn notify(state: &[NotifyState<'_>]) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("failed to notify systemd: {error}");
    }
}
