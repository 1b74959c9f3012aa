//! Connecting: which host, how fast to give up, whether by TLS.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, DriverError, OptsBuilder, SslOpts};
use serde::{Deserialize, Serialize};

use super::{describe, quote_name};
use crate::error::{Error, Result};

/// Where a database is, and how to get in. As JSON it holds the password, and goes through a pipe to a process of our
/// own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// Tried in this order.
    pub hosts: Vec<(String, u16)>,
    /// Goes before the hosts.
    pub socket: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub name: String,
    pub tls: Tls,
    /// For one host: to connect and to be let in.
    pub connect_timeout: Duration,
    /// For the answer to a statement; the connection is of no use after that. Without one it is waited for without end.
    pub answer_timeout: Option<Duration>,
}

/// A text that is never shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret(String);

/// Whether and how the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    pub mode: TlsMode,
    /// A file of certificates to trust. The public ones are trusted beside it: the driver has no way to leave them out.
    pub ca: Option<PathBuf>,
}

/// The `mysql` client's modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    Disabled,
    /// Where the server offers it; the certificate is not looked at.
    Preferred,
    /// Or no connection; the certificate is not looked at.
    Required,
    /// The certificate must come from a trusted authority.
    VerifyCa,
    /// And be made out to this host.
    VerifyIdentity,
}

const PROBE_MILLISECONDS: u32 = 30_000;
#[cfg(target_os = "linux")]
const PROBE_INTERVAL_SECONDS: u32 = 10;
#[cfg(target_os = "linux")]
const PROBES: u32 = 3;
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MILLISECONDS: u32 = 60_000;

impl Database {
    /// Opens a connection to the database.
    ///
    /// # Errors
    /// What the last host that was tried had against it.
    pub fn connect(&self) -> Result<Conn> {
        self.open().map_err(|error| self.explain(&error))
    }

    /// As [`Database::connect`]; a server that leaves a statement unanswered for `answer_timeout` counts as gone.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub fn connect_for(&self, answer_timeout: Duration) -> Result<Conn> {
        self.with_read_timeout(answer_timeout).connect()
    }

    pub(super) fn with_read_timeout(&self, answer_timeout: Duration) -> Self {
        Self { answer_timeout: Some(answer_timeout), ..self.clone() }
    }

    pub(super) fn open(&self) -> mysql::Result<Conn> {
        self.open_in(Some(&self.name))
    }

    /// Opens a connection, making the database first if it is missing.
    ///
    /// # Errors
    /// As [`Database::connect`], or the user may not make it.
    pub fn connect_or_create(&self) -> Result<Conn> {
        match self.open() {
            Err(mysql::Error::MySqlError(error)) if error.code == ER_BAD_DB => {}
            opened => return opened.map_err(|error| self.explain(&error)),
        }
        let mut conn = self.open_in(None).map_err(|error| self.explain(&error))?;
        conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4", quote_name(&self.name)))
            .map_err(|error| Error::from(error).context(format!("failed to create the database `{}`", self.name)))?;
        self.connect()
    }

    /// Opens a connection to the server, whether or not the database is there.
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub fn connect_server(&self) -> Result<Conn> {
        self.open_in(None).map_err(|error| self.explain(&error))
    }

    /// Whether one of its hosts may be writable while another isn't.
    pub(super) fn has_several_hosts(&self) -> bool {
        self.socket.is_none() && self.hosts.len() > 1
    }

    fn open_in(&self, name: Option<&str>) -> Result<Conn, mysql::Error> {
        if let Some(socket) = &self.socket {
            let options = self.options(name).socket(Some(socket.to_string_lossy()));
            return self.open_in_time(options);
        }
        let several = self.has_several_hosts();
        let mut last = None;
        for (host, port) in &self.hosts {
            for options in self.addresses(name, host, *port) {
                match self.open_with_tls(options) {
                    Ok(mut conn) => {
                        if !several || !is_read_only(&mut conn)? {
                            return Ok(conn);
                        }
                        last = Some(mysql::Error::DriverError(DriverError::CouldNotConnect(Some((
                            format!("{host}:{port}"),
                            "none of the hosts can be written to".to_owned(),
                            std::io::ErrorKind::Other,
                        )))));
                    }
                    // The server has spoken: its other address, or another host, won't say otherwise.
                    Err(error @ mysql::Error::MySqlError(_)) if !several => return Err(error),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or(mysql::Error::DriverError(DriverError::CouldNotConnect(None))))
    }

    /// The driver tries a name's first address only, so each is handed to it by itself. Where the certificate is to
    /// name the host, the driver needs the name.
    fn addresses(&self, name: Option<&str>, host: &str, port: u16) -> Vec<OptsBuilder> {
        let options = |host: &str| self.options(name).ip_or_hostname(Some(host)).tcp_port(port);
        let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
            Ok(found) if self.tls.mode != TlsMode::VerifyIdentity => found.collect(),
            _ => Vec::new(),
        };
        if found.is_empty() {
            return vec![options(host)];
        }
        found.iter().map(|address| options(&address.ip().to_string())).collect()
    }

    fn open_with_tls(&self, options: OptsBuilder) -> Result<Conn, mysql::Error> {
        let tls = SslOpts::default().with_root_cert_path(self.tls.ca.clone());
        let unchecked =
            SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
        match self.tls.mode {
            TlsMode::Disabled => self.open_in_time(options),
            TlsMode::Preferred => match self.open_in_time(options.clone().ssl_opts(unchecked)) {
                Err(mysql::Error::DriverError(DriverError::TlsNotSupported)) => self.open_in_time(options),
                opened => opened,
            },
            TlsMode::Required => self.open_in_time(options.ssl_opts(unchecked)),
            TlsMode::VerifyCa => self.open_in_time(options.ssl_opts(tls.with_danger_skip_domain_validation(true))),
            TlsMode::VerifyIdentity => self.open_in_time(options.ssl_opts(tls)),
        }
    }

    /// The driver's connect timeout ends with TCP; a server that then says nothing would be waited for without end. Its
    /// read timeout can't be taken back once connected. So a thread waits, and is left behind with its socket if the
    /// time is up.
    fn open_in_time(&self, options: OptsBuilder) -> Result<Conn, mysql::Error> {
        let (sender, receiver) = bounded(1);
        let connecting = thread::Builder::new().name("connect".to_owned()).spawn(move || {
            // Nobody may be left to hear it.
            sender.send(Conn::new(options)).unwrap_or_default();
        });
        connecting.map_err(mysql::Error::IoError)?;
        match receiver.recv_timeout(self.connect_timeout) {
            Ok(opened) => opened,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(mysql::Error::DriverError(DriverError::ConnectTimeout))
            }
        }
    }

    fn options(&self, name: Option<&str>) -> OptsBuilder {
        let options = OptsBuilder::new()
            .user(self.user.clone())
            .pass(self.password.as_ref().map(|secret| secret.0.clone()))
            .db_name(name)
            // The driver would go on by the server's socket, without TLS, and perhaps to another server.
            .prefer_socket(false)
            .tcp_connect_timeout(Some(self.connect_timeout))
            .read_timeout(self.answer_timeout)
            .write_timeout(self.answer_timeout)
            .tcp_keepalive_time_ms(Some(PROBE_MILLISECONDS))
            // An UPDATE to the same value counts as one.
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS);
        // A server whose host has gone says nothing any more: after a minute of that a connection is lost.
        #[cfg(target_os = "linux")]
        let options = options
            .tcp_keepalive_probe_interval_secs(Some(PROBE_INTERVAL_SECONDS))
            .tcp_keepalive_probe_count(Some(PROBES))
            .tcp_user_timeout_ms(Some(UNACKNOWLEDGED_MILLISECONDS));
        options
    }

    /// One line that says what to do next.
    pub(crate) fn explain(&self, error: &mysql::Error) -> Error {
        let advice = match error {
            error if is_bad_certificate(error) => {
                "; check `--tls-ca` and the server's certificate, or use `--tls-mode required`"
            }
            mysql::Error::MySqlError(error) => match error.code {
                1045 | 1698 => "; check user and password",
                ER_BAD_DB => "; `airun migrate up` creates it",
                1044 => "; grant this user access to the database",
                1040 => "; raise the server's max_connections",
                _ => "",
            },
            mysql::Error::DriverError(DriverError::UnknownAuthPlugin(_)) => "; check user and password",
            mysql::Error::DriverError(DriverError::ConnectTimeout) => "; is it a MySQL server, and can it be reached?",
            mysql::Error::DriverError(DriverError::CouldNotConnect(_)) | mysql::Error::IoError(_) => {
                "; is the server running, and are host and port right?"
            }
            mysql::Error::DriverError(DriverError::TlsNotSupported) => {
                "; the server offers no TLS: use `--tls-mode preferred`"
            }
            _ => "",
        };
        Error::failure(format!("failed to connect to {self}: {}{advice}", describe(error)))
    }
}

/// ER_BAD_DB_ERROR
const ER_BAD_DB: u16 = 1049;

/// rustls has its own words, which the driver hands on within others.
fn is_bad_certificate(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::TlsError(_)) || describe(error).contains("certificate")
}

/// In SQL. From MariaDB 12 on the variable has words for values.
pub const IS_READ_ONLY: &str = "CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')";

fn is_read_only(conn: &mut Conn) -> Result<bool, mysql::Error> {
    Ok(conn.query_first::<u8, _>(format!("SELECT {IS_READ_ONLY}"))? == Some(1))
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Database {
    /// `user@host:port/name`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}@", self.user.as_deref().unwrap_or_default())?;
        match &self.socket {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => {
                let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
                f.write_str(&hosts.join(","))?;
            }
        }
        write!(f, "/{}`", self.name)
    }
}

impl FromStr for TlsMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "disabled" => Self::Disabled,
            "preferred" => Self::Preferred,
            "required" => Self::Required,
            "verify-ca" => Self::VerifyCa,
            "verify-identity" => Self::VerifyIdentity,
            _ => {
                return Err(Error::usage(format!(
                    "`{text}` is no TLS mode; take one of disabled, preferred, required, verify-ca, verify-identity"
                )));
            }
        })
    }
}
