//! The exit codes of the process: the only place that maps errors to numbers.

use std::process::ExitCode;

use crate::error::ErrorKind;
use crate::migrate::status::CheckResult;

/// How the process ends. The numbers are part of the public interface; `airun help exit-codes` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    /// `migrate status --check`: migrations are pending.
    Pending = 3,
    Drift = 4,
    Partial = 5,
    /// `EX_TEMPFAIL` of `sysexits.h`.
    LockHeld = 75,
    /// The exit code of `timeout(1)`.
    StopTimeout = 124,
    /// 128 + SIGINT, as shells report a process that a signal ended.
    Interrupted = 130,
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidInput => Self::Usage,
            ErrorKind::Database | ErrorKind::Other => Self::Failure,
            ErrorKind::Drift => Self::Drift,
            ErrorKind::PartiallyApplied => Self::Partial,
            ErrorKind::LockHeld => Self::LockHeld,
            ErrorKind::StopTimeout => Self::StopTimeout,
            ErrorKind::Interrupted => Self::Interrupted,
        }
    }
}

impl From<CheckResult> for Exit {
    fn from(result: CheckResult) -> Self {
        match result {
            CheckResult::UpToDate => Self::Success,
            CheckResult::Pending => Self::Pending,
            CheckResult::Drift => Self::Drift,
            CheckResult::Partial => Self::Partial,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
