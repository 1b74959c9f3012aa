//! Waking the workers of this host when a task is enqueued, so that they need not poll often.
//!
//! On Linux a worker binds a datagram socket in the abstract namespace, which needs no file and disappears with its
//! process (unix(7)). On other systems, and from other hosts and network namespaces, workers find tasks by polling.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
#[cfg(target_os = "linux")]
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::shutdown::Shutdown;
#[cfg(target_os = "linux")]
use crate::threads;
use crate::threads::{Thread, Waker};

/// Maximum number of workers of one database and host that are notified.
const SOCKETS_MAX: usize = 32;
/// How long the thread may take to end after it was notified of the stop.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Wakes every worker of this host that serves the database.
#[cfg(target_os = "linux")]
pub fn notify(identity: &str) {
    let Ok(socket) = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) else {
        // The worker finds the task by polling.
        return;
    };
    for number in 0..SOCKETS_MAX {
        send(&socket, &name(identity, number));
    }
}

/// This system has no abstract sockets.
#[cfg(not(target_os = "linux"))]
pub fn notify(_identity: &str) {}

/// A worker's socket, and the thread that listens on it.
pub struct Notifier {
    thread: Thread,
    name: String,
}

impl Notifier {
    /// Binds a socket whose messages wake `poller`. `None` if [`SOCKETS_MAX`] workers have one.
    ///
    /// # Errors
    /// The system refuses to create a socket or a thread.
    #[cfg(target_os = "linux")]
    pub fn bind(identity: &str, poller: Waker, stop: &Shutdown) -> io::Result<Option<Self>> {
        for number in 0..SOCKETS_MAX {
            let name = name(identity, number);
            match UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
                Ok(socket) => {
                    let stop = stop.clone();
                    let thread = threads::spawn("notifier", move || listen(&socket, &poller, &stop))
                        .map_err(|error| io::Error::other(error.to_string()))?;
                    return Ok(Some(Self { thread, name }));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// This system has no abstract sockets.
    #[cfg(not(target_os = "linux"))]
    pub fn bind(_identity: &str, _poller: Waker, _stop: &Shutdown) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Ends the thread once the stop was requested, by a message of our own.
    pub fn join(self) {
        #[cfg(target_os = "linux")]
        if let Ok(socket) = UnixDatagram::unbound() {
            send(&socket, &self.name);
        }
        self.thread.join_or_leave(Instant::now() + JOIN_TIMEOUT);
    }
}

/// Sends one message. It is not an error if no worker has this socket, or if its buffer is full of messages.
#[cfg(target_os = "linux")]
fn send(socket: &UnixDatagram, name: &str) {
    if let Ok(address) = SocketAddr::from_abstract_name(name) {
        socket.send_to_addr(&[1], &address).ok();
    }
}

#[cfg(target_os = "linux")]
fn listen(socket: &UnixDatagram, poller: &Waker, stop: &Shutdown) {
    let mut message = [0; 1];
    while socket.recv(&mut message).is_ok() {
        if stop.is_stopping() {
            return;
        }
        poller.wake();
    }
}

fn name(identity: &str, number: usize) -> String {
    let digest = Sha256::digest(identity);
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("airun-notifier-{hex}-{number}")
}
