//! The lock that keeps two processes of one host from running the same task at the same time: a worker, and
//! `airun periodic run` from cron.
//!
//! It needs no database, no writable folder and no cleanup. On Linux it is a name in the abstract socket namespace, which
//! the kernel releases when its process ends (unix(7)). Containers have network namespaces of their own, so the lock
//! does not hold between them.

use std::io;

use sha2::{Digest, Sha256};

/// The lock is held until this is dropped.
#[cfg(target_os = "linux")]
pub type TaskLock = std::os::unix::net::UnixDatagram;
#[cfg(not(target_os = "linux"))]
pub type TaskLock = std::fs::File;

/// Returns the name of a task's lock. `scope` distinguishes the installations on one host: the database, or the
/// program's path.
pub fn name(scope: &str, task: &str) -> String {
    let digest = Sha256::digest(format!("{scope}\0{task}"));
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("airun-periodic-{hex}")
}

/// Takes the lock `name`. Returns `None` if another process holds it.
///
/// # Errors
/// The system refuses to create a socket, or elsewhere than on Linux a temporary file.
pub fn try_lock(name: &str) -> io::Result<Option<TaskLock>> {
    match bind(name) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn bind(name: &str) -> io::Result<TaskLock> {
    use std::os::linux::net::SocketAddrExt as _;
    TaskLock::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn bind(name: &str) -> io::Result<TaskLock> {
    let file = TaskLock::create(std::env::temp_dir().join(name))?;
    file.try_lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_and_a_released_one_granted() {
        let name = name("test", &format!("{:?}", std::time::SystemTime::now()));
        let held = try_lock(&name).unwrap();
        assert!(held.is_some());
        assert!(try_lock(&name).unwrap().is_none());
        drop(held);
        assert!(try_lock(&name).unwrap().is_some());
    }
}
