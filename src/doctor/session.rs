//! Checks of airun's own sessions.

use chrono::{NaiveDateTime, TimeDelta, Utc};
use mysql::prelude::Queryable;

use super::{Assessment, Connections};

/// Checks that sessions use READ COMMITTED. Under REPEATABLE READ claims also lock the gaps between rows.
pub fn isolation(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    const LEVEL: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')";
    let level = connections.conn.query_first::<(String, String), _>(LEVEL)?.map(|(_, level)| level);
    Ok(match level.as_deref() {
        Some("READ-COMMITTED") => Assessment::ok("airun's sessions use it"),
        level => Assessment::problem(
            format!("the session uses `{}` instead, so claims wait for each other", level.unwrap_or("unknown")),
            "use a server and a proxy that keep the isolation level that a session sets",
        ),
    })
}

pub fn tls(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    const CIPHER: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
    let cipher = connections.conn.query_first::<(String, String), _>(CIPHER)?.map(|(_, cipher)| cipher);
    if let Some(cipher) = cipher.filter(|cipher| !cipher.is_empty()) {
        return Ok(Assessment::ok(format!("encrypted with {cipher}")));
    }
    let database = connections.database;
    let is_local = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "::1");
    if database.socket.is_some() || database.hosts.iter().all(|(host, _)| is_local(host)) {
        return Ok(Assessment::ok("not encrypted, but the connection stays on this host"));
    }
    Ok(Assessment::note(
        "not encrypted: others on the network can read passwords and payloads",
        "give the server a certificate, and airun `--tls-mode verify-identity` or `verify-ca`",
    ))
}

/// With a larger difference the log lines of two hosts are hard to compare.
const CLOCK_DIFFERENCE_MAX: TimeDelta = TimeDelta::seconds(1);

pub fn clock(connections: &mut Connections<'_>) -> mysql::Result<Assessment> {
    const NOW: &str = "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)";
    let before = Utc::now().naive_utc();
    let server: Option<String> = connections.conn.query_first(NOW)?;
    let after = Utc::now().naive_utc();
    let server = server.and_then(|text| NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").ok());
    let Some(server) = server else {
        return Ok(Assessment::note(
            "failed to read the server's time, which decides when tasks are due",
            "check what `SELECT UTC_TIMESTAMP(6)` returns",
        ));
    };
    Ok(assess_clock(before, server, after))
}

/// The server read its clock between our two readings, so any time between them counts as equal.
fn assess_clock(before: NaiveDateTime, server: NaiveDateTime, after: NaiveDateTime) -> Assessment {
    let difference = if server < before {
        before - server
    } else if server > after {
        server - after
    } else {
        TimeDelta::zero()
    };
    let found = format!("{} ms apart from this host's", difference.num_milliseconds());
    if difference > CLOCK_DIFFERENCE_MAX {
        return Assessment::note(
            format!("{found}: log times of the hosts don't match, though tasks use the server's clock only"),
            "synchronize both clocks with NTP",
        );
    }
    Assessment::ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn network_latency_is_not_a_clock_assess_clock() {
        let at = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap().naive_utc();
        assert_eq!(assess_clock(at(0), at(700), at(5000)).found, "0 ms apart from this host's");
        assert_eq!(assess_clock(at(1000), at(700), at(1001)).found, "300 ms apart from this host's");
        assert_eq!(assess_clock(at(1000), at(7000), at(1001)).level, Level::Note);
    }
}
