//! Waking the workers of this host: whoever enqueues rings, so that nobody has to ask the server often.
//!
//! On Linux a worker's bell is a name in the abstract socket namespace, which needs no folder and goes with its process
//! (unix(7)). Elsewhere, and from other hosts and network namespaces, tasks are found by polling.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
#[cfg(target_os = "linux")]
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread::{self, JoinHandle};

use crossbeam_channel::Sender;
use sha2::{Digest as _, Sha256};

use crate::shutdown::Shutdown;

/// Workers of one database on one host that can be rung, at most.
const SOCKETS_MAX: usize = 32;

fn name(identity: &str, number: usize) -> String {
    let digest = Sha256::digest(identity);
    let hex: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("airun-notifier-{hex}-{number}")
}

/// Wakes every worker of this host that has a bell for the database. Where there is none, nothing is lost.
#[cfg(target_os = "linux")]
pub fn notify(identity: &str) {
    let Ok(socket) = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) else {
        return;
    };
    for number in 0..SOCKETS_MAX {
        if let Ok(address) = SocketAddr::from_abstract_name(name(identity, number)) {
            // No worker, or one that has enough rings waiting.
            socket.send_to_addr(&[1], &address).unwrap_or_default();
        }
    }
}

/// There are no bells on this system.
#[cfg(not(target_os = "linux"))]
pub fn notify(_identity: &str) {}

/// A worker's bell.
pub struct Notifier {
    #[cfg(target_os = "linux")]
    thread: JoinHandle<()>,
    #[cfg(target_os = "linux")]
    name: String,
}

impl Notifier {
    /// Hangs it up; `rung` gets a message when somebody has rung since the last one was taken. `None` where there is
    /// no place left for one.
    ///
    /// # Errors
    /// Fails where the system gives no socket or no thread.
    #[cfg(target_os = "linux")]
    pub fn bind(identity: &str, rung: Sender<()>, until: &Shutdown) -> io::Result<Option<Self>> {
        for number in 0..SOCKETS_MAX {
            let name = name(identity, number);
            match UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
                Ok(socket) => {
                    let until = until.clone();
                    let thread = thread::Builder::new()
                        .name("notifier".to_owned())
                        .spawn(move || listen(&socket, &rung, &until))?;
                    return Ok(Some(Self { thread, name }));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// There are no bells on this system.
    #[cfg(not(target_os = "linux"))]
    pub fn bind(_identity: &str, _rung: Sender<()>, _until: &Shutdown) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Takes it down, once the stop was asked for: a ring of our own wakes the thread.
    pub fn join(self) {
        #[cfg(target_os = "linux")]
        {
            if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), SocketAddr::from_abstract_name(&self.name)) {
                socket.send_to_addr(&[0], &address).unwrap_or_default();
            }
            drop(self.thread.join());
        }
    }
}

#[cfg(target_os = "linux")]
fn listen(socket: &UnixDatagram, rung: &Sender<()>, until: &Shutdown) {
    let mut ring = [0; 1];
    while socket.recv(&mut ring).is_ok() {
        if until.is_stopping() {
            return;
        }
        // One message is enough, however often it rang.
        rung.try_send(()).unwrap_or_default();
    }
}
