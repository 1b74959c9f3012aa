//! Database URLs: `mysql://user:password@host:port,host2:port/database?tls-mode=…`.
//!
//! The driver's own parser refuses `/`, `#` and `?` in a password, and its errors quote the URL. Here the last `@` ends
//! the credentials and the first `:` in them ends the user, so a password may contain every character as it is.
//! Percent-encoded characters are decoded; a `%` without two hexadecimal digits stands for itself.

/// The decoded parts of a URL. It has no `Debug`, because it holds a password.
#[derive(PartialEq, Eq, Default)]
pub(super) struct Url {
    pub user: Option<String>,
    pub password: Option<String>,
    pub hosts: Vec<(String, Option<u16>)>,
    pub database: Option<String>,
    pub parameters: Vec<(String, String)>,
}

/// Parses a URL. The error does not quote the URL, because it can hold a password.
pub(super) fn parse(url: &str) -> Result<Url, String> {
    let rest = url
        .strip_prefix("mysql://")
        .or_else(|| url.strip_prefix("mariadb://"))
        .ok_or("it must start with `mysql://`, for example mysql://user:password@host:3306/database")?;
    let (credentials, rest) = match rest.rfind('@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = Some(decode(database)?).filter(|name| !name.is_empty());
    let mut parsed = Url { database, ..Url::default() };
    if let Some(credentials) = credentials {
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (credentials, None),
        };
        parsed.user = Some(decode(user)?);
        parsed.password = password;
    }
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        parsed.hosts.push(host_and_port(host)?);
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        parsed.parameters.push((name.to_owned(), decode(value)?));
    }
    Ok(parsed)
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address needs its closing `]`")?;
        (host, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map(|port| port.parse().map_err(|_| "a port must be a number from 1 to 65535"));
    Ok((decode(host)?, port.transpose()?))
}

fn decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' && bytes[at + 1] != b'+' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| "a percent-encoded part is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(url: &str) -> Option<String> {
        parse(url).ok().unwrap().password
    }

    #[test]
    fn every_character_may_stand_in_a_password() {
        let all = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;
        assert_eq!(password(&format!("mysql://u:{all}@h/d")).unwrap(), all);
        let encoded: String = all.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(password(&format!("mysql://u:{encoded}@h/d")).unwrap(), all);
        assert_eq!(password("mysql://u:%zz%4@h/d").unwrap(), "%zz%4");
        assert_eq!(password("mysql://u@h/d"), None);
        assert_eq!(password("mysql://u:@h/d").unwrap(), "");
    }

    #[test]
    fn hosts_ports_and_parameters_are_separated() {
        let url =
            parse("mariadb://u%40x:p@a,b:3307,[::1]:33/my%20db?tls-mode=required&socket=%2Ftmp%2Fs").ok().unwrap();
        assert_eq!(url.user.unwrap(), "u@x");
        let hosts = [("a", None), ("b", Some(3307)), ("::1", Some(33))];
        assert_eq!(url.hosts, hosts.map(|(host, port)| (host.to_owned(), port)));
        assert_eq!(url.database.unwrap(), "my db");
        assert_eq!(url.parameters[1], ("socket".to_owned(), "/tmp/s".to_owned()));
    }

    #[test]
    fn an_error_never_quotes_the_url() {
        for bad in ["postgres://u:secret@h/d", "mysql://u:secret@h:99999/d", "mysql://u:secret@[::1/d", "secret"] {
            let message = parse(bad).err().unwrap();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
