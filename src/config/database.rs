//! Reads the settings of the database connection.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Environment;
use super::url::{self, Url};
use crate::db::{Database, Tls, TlsMode};
use crate::error::{Error, Result};

/// The flags of the database connection.
#[derive(Default)]
pub struct DatabaseFlags {
    pub url: Option<String>,
    pub tls_mode: Option<String>,
    pub tls_ca: Option<PathBuf>,
}

/// Environment variable with the value of `--database-url`, for the process that starts again without the flag.
pub const URL_FROM_FLAG: &str = "AIRUN_DATABASE_URL_FROM_FLAG";

const PORT: u16 = 3306;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the database of `--database-url`, otherwise of `DATABASE_URL`, otherwise of `DB_HOST`, `DB_PORT`, `DB_USER`,
/// `DB_PASSWORD` or `DB_PASSWORD_FILE`, `DB_NAME` and `DB_SOCKET`; `None` if none of them is set. TLS comes from
/// `--tls-mode` and `--tls-ca`, otherwise from `DB_TLS_MODE` and `DB_TLS_CA`.
///
/// # Errors
/// Names the setting that is wrong. A value that can hold a secret is not repeated.
pub fn database(flags: &DatabaseFlags, environment: &Environment) -> Result<Option<Database>> {
    let (source, url) = if let Some(url) = &flags.url {
        ("`--database-url`".to_owned(), parse(url, "`--database-url`")?)
    } else if let Some(url) = environment.get("DATABASE_URL") {
        let source = environment.source("DATABASE_URL");
        let url = parse(url, &source)?;
        (source, url)
    } else if let Some(url) = from_parts(environment)? {
        ("`DB_NAME`".to_owned(), url)
    } else {
        return Ok(None);
    };
    let mut socket = environment.get("DB_SOCKET").filter(|_| flags.url.is_none()).map(PathBuf::from);
    let mut tls_mode = environment.get("DB_TLS_MODE").map(str::to_owned);
    let mut ca = environment.get("DB_TLS_CA").map(PathBuf::from);
    let mut connect_timeout = CONNECT_TIMEOUT;
    for (name, value) in url.parameters {
        match name.as_str() {
            "socket" => socket = Some(value.into()),
            "tls-mode" | "ssl-mode" => tls_mode = Some(value),
            "tls-ca" | "ssl-ca" => ca = Some(value.into()),
            "connect-timeout" => {
                let seconds = value
                    .parse()
                    .map_err(|_| Error::usage(format!("`connect-timeout` in {source} must be a number of seconds")))?;
                connect_timeout = Duration::from_secs(seconds);
            }
            _ => {
                return Err(Error::usage(format!(
                    "unknown parameter `{name}` in {source}; use socket, tls-mode, tls-ca or connect-timeout"
                )));
            }
        }
    }
    let mode = flags.tls_mode.as_ref().or(tls_mode.as_ref()).map_or(Ok(TlsMode::Preferred), |mode| mode.parse())?;
    let tls = Tls { mode, ca: flags.tls_ca.clone().or(ca) };
    if let Some(path) = &tls.ca {
        fs::metadata(path)
            .map_err(|error| Error::usage(format!("failed to read the CA file `{}`: {error}", path.display())))?;
    }
    let hosts: Vec<_> = url.hosts.into_iter().map(|(host, port)| (host, port.unwrap_or(PORT))).collect();
    let name = url.database.ok_or_else(|| {
        Error::usage(format!(
            "{source} has no database name; append it to the host, for example mysql://user@host/database"
        ))
    })?;
    Ok(Some(Database {
        hosts: if hosts.is_empty() { vec![("127.0.0.1".to_owned(), PORT)] } else { hosts },
        socket,
        user: url.user,
        password: url.password.map(Into::into),
        name,
        tls,
        connect_timeout,
        read_timeout: None,
    }))
}

fn parse(text: &str, source: &str) -> Result<Url> {
    url::parse(text).map_err(|reason| Error::usage(format!("invalid URL in {source}: {reason}")))
}

fn from_parts(environment: &Environment) -> Result<Option<Url>> {
    let Some(name) = environment.get("DB_NAME") else {
        return match ["DB_HOST", "DB_USER"].into_iter().find(|part| environment.get(part).is_some()) {
            Some(part) => {
                Err(Error::usage(format!("{} is set but `DB_NAME` is not; set both", environment.source(part))))
            }
            None => Ok(None),
        };
    };
    let invalid = |_| Error::usage(format!("{} must be a port from 1 to 65535", environment.source("DB_PORT")));
    let port = environment.get("DB_PORT").map(|port| port.parse().map_err(invalid)).transpose()?;
    let password = match (environment.get("DB_PASSWORD"), environment.get("DB_PASSWORD_FILE")) {
        (Some(password), _) => Some(password.to_owned()),
        (None, Some(path)) => {
            let text = fs::read_to_string(path).map_err(|error| {
                Error::usage(format!("failed to read `{path}` of {}: {error}", environment.source("DB_PASSWORD_FILE")))
            })?;
            Some(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        (None, None) => None,
    };
    let host = environment.get("DB_HOST").unwrap_or("127.0.0.1").to_owned();
    Ok(Some(Url {
        user: environment.get("DB_USER").map(str::to_owned),
        password,
        hosts: vec![(host, port)],
        database: Some(name.to_owned()),
        parameters: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flag: Option<&str>, process: &[(&str, &str)], file: &[(&str, &str)]) -> Result<Option<Database>> {
        let flags = DatabaseFlags { url: flag.map(str::to_owned), ..DatabaseFlags::default() };
        database(&flags, &Environment::of(process, file))
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_parts() {
        let (a, b, c) = ("mysql://u@a/d", "mysql://u@b/d", "mysql://u@c/d");
        let host = |database: Result<Option<Database>>| database.unwrap().unwrap().hosts[0].0.clone();
        assert_eq!(host(load(Some(a), &[("DATABASE_URL", b)], &[])), "a");
        assert_eq!(host(load(None, &[("DATABASE_URL", b)], &[("DATABASE_URL", c)])), "b");
        assert_eq!(host(load(None, &[("DB_NAME", "x"), ("DB_HOST", "p")], &[("DATABASE_URL", c)])), "c");
        assert_eq!(host(load(None, &[("DB_NAME", "x"), ("DB_HOST", "p")], &[])), "p");
        assert!(load(None, &[], &[]).unwrap().is_none());
    }

    #[test]
    fn debug_shows_no_password() {
        let database = load(Some("mysql://u:secret@h/d"), &[], &[]).unwrap().unwrap();
        assert!(!format!("{database:?} {database}").contains("secret"));
        assert!(!format!("{:?}", Environment::of(&[("DB_PASSWORD", "secret")], &[])).contains("secret"));
    }

    #[test]
    fn an_error_names_the_setting_and_not_its_value() {
        for (process, part) in [
            (&[("DATABASE_URL", "mysql://u:secret@h")][..], "has no database name"),
            (&[("DATABASE_URL", "mysql://u:secret@h/d?x=secret")], "unknown parameter `x`"),
            (&[("DB_HOST", "h"), ("DB_PASSWORD", "secret")], "`DB_NAME` is not"),
            (&[("DB_NAME", "d"), ("DB_PORT", "secret")], "`DB_PORT` must be a port"),
            (
                &[("DB_NAME", "d"), ("DB_TLS_MODE", "sure")],
                "disabled, preferred, required, verify-ca or verify-identity",
            ),
        ] {
            let message = load(None, process, &[]).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
        }
    }
}
