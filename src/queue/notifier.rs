//! Waking the workers of this host when a task is enqueued, so that they need not poll often.
//!
//! On Linux a worker binds a datagram socket in the abstract namespace, which needs no file and disappears with its
//! process (unix(7)). On other systems, and from other hosts and network namespaces, workers find tasks by polling.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::shutdown::Shutdown;
use crate::threads::{self, Thread};

/// Maximum number of workers of one database and host that are notified.
const SOCKETS_MAX: usize = 32;
/// How long the thread may take to end after it was notified of the stop.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Wakes every worker of this host that serves the database.
pub fn notify(identity: &str) {
    send(addresses(identity));
}

/// The thread that listens on a worker's socket.
pub struct Notifier {
    thread: Thread,
    address: SocketAddr,
}

impl Notifier {
    /// Binds a socket whose messages wake `poller`. `None` if [`SOCKETS_MAX`] workers have one.
    pub fn bind(identity: &str, poller: Sender<()>, stop: &Shutdown) -> Result<Option<Self>> {
        for address in addresses(identity) {
            let socket = match UnixDatagram::bind_addr(&address) {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue,
                Err(error) => {
                    return Err(Error::failure(format!("failed to create the worker's notification socket: {error}")));
                }
            };
            let stop = stop.clone();
            let thread = threads::spawn("notifier", move || {
                while socket.recv(&mut [0]).is_ok() && !stop.is_stopping() {
                    threads::wake(&poller);
                }
            })?;
            return Ok(Some(Self { thread, address }));
        }
        Ok(None)
    }

    /// Ends the thread once the stop was requested, by a message of our own.
    pub fn join(self) {
        send([self.address]);
        self.thread.join_or_leave(Instant::now() + JOIN_TIMEOUT);
    }
}

/// Sends a message to each address. It is not an error if no worker has this socket, or if its buffer is full of
/// messages: workers also find tasks by polling.
fn send(addresses: impl IntoIterator<Item = SocketAddr>) {
    let Ok(socket) = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) else {
        return;
    };
    for address in addresses {
        socket.send_to_addr(&[1], &address).ok();
    }
}

/// Returns the addresses of the workers that serve the database.
#[cfg(target_os = "linux")]
fn addresses(identity: &str) -> impl Iterator<Item = SocketAddr> {
    let digest = Sha256::digest(identity);
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    (0..SOCKETS_MAX)
        .filter_map(move |number| SocketAddr::from_abstract_name(format!("airun-notifier-{hex}-{number}")).ok())
}

/// This system has no abstract sockets.
#[cfg(not(target_os = "linux"))]
fn addresses(_identity: &str) -> impl Iterator<Item = SocketAddr> {
    std::iter::empty()
}
