//! Opens connections: tries hosts and addresses in turn, with timeouts and TLS.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, DriverError, OptsBuilder, SslOpts};
use serde::de::{IntoDeserializer as _, value};
use serde::{Deserialize, Serialize};

use super::{describe, quote_name};
use crate::error::{Error, Result};

/// A database and the credentials for it. Its JSON holds the password; it goes to child processes through a pipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// Hosts with their ports, tried in this order.
    pub hosts: Vec<(String, u16)>,
    /// A socket that is used instead of the hosts.
    pub socket: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub name: String,
    pub tls: Tls,
    /// Limit for connecting and logging in to one host.
    pub connect_timeout: Duration,
    /// Limit for the answer to a statement, after which the connection is lost. `None` waits forever.
    pub read_timeout: Option<Duration>,
}

/// A text that `Debug` does not show.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret(String);

/// How the connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    pub mode: TlsMode,
    /// A file of certificates to trust, in addition to the public ones, which the driver always trusts.
    pub ca: Option<PathBuf>,
}

/// The modes of the `mysql` client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    Disabled,
    /// Use TLS if the server offers it, with any certificate.
    Preferred,
    /// Use TLS or fail, with any certificate.
    Required,
    /// Require a certificate of a trusted authority.
    VerifyCa,
    /// Require a certificate of a trusted authority for this host.
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
    /// The error of the host that was tried last.
    pub fn connect(&self) -> Result<Conn> {
        self.open().map_err(|error| self.explain(&error))
    }

    /// Opens a connection that is lost if the server does not answer a statement within `read_timeout`.
    pub fn connect_for(&self, read_timeout: Duration) -> Result<Conn> {
        self.with_read_timeout(read_timeout).connect()
    }

    pub(super) fn with_read_timeout(&self, read_timeout: Duration) -> Self {
        Self { read_timeout: Some(read_timeout), ..self.clone() }
    }

    pub(super) fn open(&self) -> mysql::Result<Conn> {
        self.open_in(Some(&self.name))
    }

    /// Opens a connection, and creates the database first if it is missing.
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

    /// Opens a connection to the server that works without the database.
    pub fn connect_server(&self) -> Result<Conn> {
        self.open_in(None).map_err(|error| self.explain(&error))
    }

    /// True if one of its hosts may be writable while another is not.
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
                            "none of the hosts is writable".to_owned(),
                            std::io::ErrorKind::Other,
                        )))));
                    }
                    // The server itself refused, so its other addresses would refuse too.
                    Err(error @ mysql::Error::MySqlError(_)) if !several => return Err(error),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or(mysql::Error::DriverError(DriverError::CouldNotConnect(None))))
    }

    /// Returns options for each address of `host`, because the driver tries only the first one. To check the host in
    /// the certificate, the driver needs the name instead.
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

    /// The driver's connect timeout covers TCP only, so it would wait forever for a server that accepts and stays
    /// silent; its read timeout can't be changed after connecting. So a thread connects, and is abandoned after the
    /// timeout.
    fn open_in_time(&self, options: OptsBuilder) -> Result<Conn, mysql::Error> {
        let (sender, receiver) = bounded(1);
        let connecting = thread::Builder::new().name("connect".to_owned()).spawn(move || {
            // After the timeout, the receiver is dropped and the connection with it.
            sender.send(Conn::new(options)).ok();
        });
        connecting.map_err(mysql::Error::IoError)?;
        let opened = receiver.recv_timeout(self.connect_timeout);
        opened.unwrap_or(Err(mysql::Error::DriverError(DriverError::ConnectTimeout)))
    }

    fn options(&self, name: Option<&str>) -> OptsBuilder {
        let options = OptsBuilder::new()
            .user(self.user.clone())
            .pass(self.password.as_ref().map(|secret| secret.0.clone()))
            .db_name(name)
            // The driver would reconnect through the server's socket: without TLS, and perhaps to another server.
            .prefer_socket(false)
            .tcp_connect_timeout(Some(self.connect_timeout))
            .read_timeout(self.read_timeout)
            .write_timeout(self.read_timeout)
            .tcp_keepalive_time_ms(Some(PROBE_MILLISECONDS))
            // An UPDATE to the same value counts as an affected row.
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS);
        // If a host disappears without closing its connections, they are lost after a minute.
        #[cfg(target_os = "linux")]
        let options = options
            .tcp_keepalive_probe_interval_secs(Some(PROBE_INTERVAL_SECONDS))
            .tcp_keepalive_probe_count(Some(PROBES))
            .tcp_user_timeout_ms(Some(UNACKNOWLEDGED_MILLISECONDS));
        options
    }

    /// Describes a failed connection and what to do next.
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
            mysql::Error::DriverError(DriverError::ConnectTimeout) => "; check that it is a MySQL server and reachable",
            mysql::Error::DriverError(DriverError::CouldNotConnect(_)) | mysql::Error::IoError(_) => {
                "; check that the server is running, and host and port"
            }
            mysql::Error::DriverError(DriverError::TlsNotSupported) => {
                "; the server does not offer TLS, use `--tls-mode preferred`"
            }
            _ => "",
        };
        Error::failure(format!("failed to connect to {self}: {}{advice}", describe(error)))
    }
}

/// ER_BAD_DB_ERROR
const ER_BAD_DB: u16 = 1049;

/// rustls has no code for this, so its text decides.
fn is_bad_certificate(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::TlsError(_)) || describe(error).contains("certificate")
}

/// A condition in SQL. Since MariaDB 12 the values of the variable are words.
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
    /// Writes `user@host:port/name`, in backticks.
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
        let name = text.to_ascii_lowercase().replace('_', "-");
        Self::deserialize(name.as_str().into_deserializer()).map_err(|_: value::Error| {
            Error::usage(format!(
                "invalid TLS mode `{text}`; use disabled, preferred, required, verify-ca or verify-identity"
            ))
        })
    }
}
