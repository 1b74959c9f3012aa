//! A port that answers `GET /metrics` and `GET /health`: one thread, one request a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::metrics::CONTENT_TYPE;
use crate::error::{Error, Result};
use crate::shutdown::Shutdown;

/// A slow or silent client keeps the port from others for so long.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// The beginning of a request that is looked at; bytes.
const REQUEST_MAX: usize = 4096;

/// What the port tells.
pub trait Answers: Send + 'static {
    /// The metrics' text.
    fn metrics(&self) -> String;
    /// What is wrong with the worker, if anything is.
    fn unhealthy_reason(&self) -> Option<String>;
}

/// The listening thread.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// Fails where the address isn't free.
    pub fn start(address: SocketAddr, answers: impl Answers, shutdown: Shutdown) -> Result<Self> {
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
                    if let Err(error) = client.and_then(|client| answer(client, &answers)) {
                        log::debug!("a client of the metrics port went away: {error}");
                    }
                }
            })
            .map_err(failed)?;
        Ok(Self { address, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, once the stop was asked for: a connection of our own wakes the thread.
    pub fn join(self) {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        drop(TcpStream::connect_timeout(&address, CLIENT_TIMEOUT));
        drop(self.thread.join());
    }
}

fn answer(mut client: TcpStream, answers: &impl Answers) -> io::Result<()> {
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
        (Some("GET" | "HEAD"), Some("/metrics")) => ("200 OK", answers.metrics()),
        (Some("GET" | "HEAD"), Some("/health")) => match answers.unhealthy_reason() {
            None => ("200 OK", "ok\n".to_owned()),
            Some(unhealthy_reason) => ("503 Service Unavailable", format!("{unhealthy_reason}\n")),
        },
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "there are /metrics and /health\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if line.starts_with("HEAD") { String::new() } else { body };
    client.write_all((head + &body).as_bytes())
}
