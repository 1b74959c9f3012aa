//! What airun's own connections are like.

use chrono::{NaiveDateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;

use super::{Connections, Finding};

/// Whether a session can have READ COMMITTED; under REPEATABLE READ claims lock the gaps between rows too.
pub fn isolation(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    const LEVEL: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')";
    let level = connections.conn.query_first::<(String, String), _>(LEVEL)?.map(|(_, level)| level).unwrap_or_default();
    if level == "READ-COMMITTED" {
        return Ok(Finding::ok("read-committed", "a session can have it"));
    }
    let advice = "use a server, and a proxy before it, that keeps a session's isolation level";
    Ok(Finding::problem("read-committed", format!("the session has `{level}` instead"), advice))
}

pub fn tls(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    const CIPHER: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
    let cipher = connections.conn.query_first::<(String, String), _>(CIPHER)?.map(|(_, cipher)| cipher);
    if let Some(cipher) = cipher.filter(|cipher| !cipher.is_empty()) {
        return Ok(Finding::ok("tls", format!("encrypted by {cipher}")));
    }
    let database = connections.database;
    let is_near = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "::1");
    if database.socket.is_some() || database.hosts.iter().all(|(host, _)| is_near(host)) {
        return Ok(Finding::ok("tls", "not encrypted, and not leaving this host"));
    }
    let advice = "give the server a certificate, and airun `--tls-mode verify-identity` or `verify-ca`";
    Ok(Finding::note("tls", "not encrypted: passwords and payloads can be read on the way", advice))
}

/// More than log lines of two hosts can be told apart by.
const CLOCK_MAX: TimeDelta = TimeDelta::seconds(1);

pub fn clock(connections: &mut Connections<'_>) -> mysql::Result<Finding> {
    const NOW: &str = "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)";
    let before = Utc::now().naive_utc();
    let server: Option<String> = connections.conn.query_first(NOW)?;
    let after = Utc::now().naive_utc();
    let server = server.and_then(|text| NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").ok());
    let Some(server) = server else {
        return Ok(Finding::note(
            "clock",
            "the server's time can't be read",
            "see what `SELECT UTC_TIMESTAMP(6)` says",
        ));
    };
    Ok(difference(before, server, after))
}

/// The server has read its clock between the two times of ours.
fn difference(before: NaiveDateTime, server: NaiveDateTime, after: NaiveDateTime) -> Finding {
    let off = if server < before {
        before - server
    } else if server > after {
        server - after
    } else {
        TimeDelta::zero()
    };
    let found = format!("{} ms from this host's", off.num_milliseconds());
    if off > CLOCK_MAX {
        let advice = "let NTP set both; tasks are due by the server's clock alone, but logs are read by both";
        return Finding::note("clock", found, advice);
    }
    Finding::ok("clock", found)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_way_to_the_server_is_no_difference() {
        let at = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap().naive_utc();
        assert_eq!(difference(at(0), at(700), at(5000)).found, "0 ms from this host's");
        assert_eq!(difference(at(1000), at(700), at(1001)).found, "300 ms from this host's");
        assert_eq!(difference(at(1000), at(7000), at(1001)).level, Level::Note);
    }
}
