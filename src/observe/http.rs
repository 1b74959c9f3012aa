//! Serves HTTP, in one thread and with one request for each connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::metrics::CONTENT_TYPE;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// The longest that a slow or silent client can block others.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a request that are read at most.
const REQUEST_MAX: usize = 4096;

/// A status and a text.
pub type Answer = (&'static str, String);

/// The thread that serves.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens on `address`. `answer` answers a GET of a path.
    ///
    /// # Errors
    /// The address is in use or not one of this host's.
    pub fn start(
        address: SocketAddr,
        answer: impl Fn(&str) -> Answer + Send + 'static,
        shutdown: Shutdown,
    ) -> Result<Self> {
        let failed =
            |error: io::Error| Error::failure(format!("failed to listen on `{address}` (`--metrics-addr`): {error}"));
        let listener = TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                for client in listener.incoming() {
                    if shutdown.is_stopping() {
                        return;
                    }
                    if let Err(error) = client.and_then(|client| serve(client, &answer)) {
                        log::debug!("failed to answer a client of the metrics port: {error}");
                    }
                }
            })
            .map_err(failed)?;
        Ok(Self { address, thread })
    }

    /// Returns the address with the port that was chosen if it was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread after the shutdown began. The thread blocks in `accept`, so a connection wakes it.
    pub fn join(self) {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        if let Err(error) = TcpStream::connect_timeout(&address, CLIENT_TIMEOUT) {
            log::debug!("failed to wake the metrics port: {error}");
            return;
        }
        if self.thread.join().is_err() {
            log::error!("the thread of the metrics port panicked, which is a bug");
        }
    }
}

fn serve(mut client: TcpStream, answer: impl Fn(&str) -> Answer) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    client.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut request = [0; REQUEST_MAX];
    let mut length = 0;
    while length < REQUEST_MAX && !request[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match client.read(&mut request[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let line = request[..length].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (status, body) = match (words.next(), words.next().map(|path| path.split('?').next().unwrap_or_default())) {
        (Some("GET" | "HEAD"), path) => answer(path.unwrap_or_default()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if line.starts_with("HEAD") { String::new() } else { body };
    client.write_all((head + &body).as_bytes())
}
