//! Checks of the server's settings. They are pure functions.

use super::{Assessment, Settings};

const MYSQL_MIN: (u32, u32) = (8, 0);
const MARIADB_MIN: (u32, u32) = (10, 6);

/// Maximum size in bytes of airun's own statements, except for a single larger payload.
const PACKET_MIN: u64 = 4 << 20;
/// A worker opens about eight connections, and one for each thread whose task uses one.
const CONNECTIONS_MIN: u64 = 32;
/// airun uses some of its connections less often than this.
const IDLE_MIN_SECONDS: u64 = 60;

fn number(settings: &Settings, name: &str) -> u64 {
    settings.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn is_on(settings: &Settings, name: &str) -> bool {
    settings.get(name).is_some_and(|value| matches!(value.as_str(), "ON" | "1"))
}

pub fn version(settings: &Settings) -> Assessment {
    let text = settings.get("version").map_or("", String::as_str);
    if text.contains("TiDB") {
        return Assessment::problem(
            format!("TiDB {text}, which accepts SKIP LOCKED but does not skip locked rows"),
            "use MySQL 8.0 or newer, or MariaDB 10.6 or newer",
        );
    }
    let (name, min) = if text.contains("MariaDB") { ("MariaDB", MARIADB_MIN) } else { ("MySQL", MYSQL_MIN) };
    // Some MariaDB servers put a version before their own that old replicas understand.
    let mut parts = text.trim_start_matches("5.5.5-").split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Assessment::note(
            format!("unknown version `{text}`: airun is tested with MySQL and MariaDB only"),
            "use MySQL 8.0 or newer, or MariaDB 10.6 or newer",
        );
    };
    if (major, minor) < min {
        return Assessment::problem(
            format!("{name} {text}, which has no SKIP LOCKED: workers would wait for each other"),
            format!("use {name} {}.{} or newer", min.0, min.1),
        );
    }
    Assessment::ok(format!("{name} {text}"))
}

pub fn writable(settings: &Settings) -> Assessment {
    match ["read_only", "innodb_read_only"].into_iter().find(|name| is_on(settings, name)) {
        Some(name) => Assessment::problem(
            format!("the server is read-only, because `{name}` is on"),
            "name the primary in the URL; if it names several hosts, airun uses the first that is writable",
        ),
        None => Assessment::ok("the server is writable"),
    }
}

pub fn binary_log(settings: &Settings) -> Assessment {
    if !is_on(settings, "log_bin") {
        return Assessment::ok("off");
    }
    match settings.get("binlog_format").map_or("", String::as_str) {
        "STATEMENT" => Assessment::problem(
            "on, format STATEMENT, in which the server refuses writes under READ COMMITTED",
            "set `binlog_format` to ROW or MIXED",
        ),
        "" => Assessment::ok("on, format ROW"),
        format => Assessment::ok(format!("on, format {format}")),
    }
}

pub fn durability(settings: &Settings) -> Assessment {
    let flush = number(settings, "innodb_flush_log_at_trx_commit");
    let sync = number(settings, "sync_binlog");
    let has_log = is_on(settings, "log_bin");
    let mut found = format!("innodb_flush_log_at_trx_commit = {flush}");
    if has_log {
        found.push_str(&format!(", sync_binlog = {sync}"));
    }
    if flush == 1 && (!has_log || sync == 1) {
        return Assessment::ok(format!("{found}: committed changes survive a crash of the host"));
    }
    Assessment::note(
        format!("{found}: a crash of the host can lose the last second, so tasks can be lost or run again"),
        "set both to 1 unless that is acceptable",
    )
}

pub fn max_allowed_packet(settings: &Settings) -> Assessment {
    let bytes = number(settings, "max_allowed_packet");
    let found = format!("{} kB", bytes >> 10);
    if bytes < PACKET_MIN {
        return Assessment::problem(
            format!("{found}, but airun puts many rows into one statement"),
            format!("set `max_allowed_packet` to at least {PACKET_MIN}"),
        );
    }
    Assessment::ok(format!("{found}, which also limits payloads and the statements of migrations"))
}

pub fn wait_timeout(settings: &Settings) -> Assessment {
    let seconds = number(settings, "wait_timeout");
    if seconds < IDLE_MIN_SECONDS {
        return Assessment::note(
            format!("{seconds} s: the server closes idle connections so early that airun reconnects all the time"),
            format!("set `wait_timeout` to at least {IDLE_MIN_SECONDS}"),
        );
    }
    Assessment::ok(format!("{seconds} s"))
}

pub fn connections(settings: &Settings) -> Assessment {
    let (max, used) = (number(settings, "max_connections"), number(settings, "threads_connected"));
    let found = format!("{used} of {max} in use");
    if max.saturating_sub(used) < CONNECTIONS_MIN {
        return Assessment::note(
            format!("{found}: a worker opens about eight, and one for each of its `--threads`"),
            "raise `max_connections`",
        );
    }
    Assessment::ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn old_and_incompatible_servers_are_problems() {
        for (text, level) in [
            ("8.0.36", Level::Ok),
            ("9.7.4-2", Level::Ok),
            ("8.4.3-3-log", Level::Ok),
            ("10.11.18-MariaDB-0+deb12u1", Level::Ok),
            ("5.5.5-10.6.12-MariaDB", Level::Ok),
            ("11.8.1-MariaDB", Level::Ok),
            ("5.7.44", Level::Problem),
            ("10.5.23-MariaDB", Level::Problem),
            ("8.0.11-TiDB-v7.5.0", Level::Problem),
            ("", Level::Note),
        ] {
            assert_eq!(version(&settings(&[("version", text)])).level, level, "{text}");
        }
    }

    #[test]
    fn settings_that_airun_does_not_work_with_are_problems() {
        for (check, pairs, level) in [
            (writable as fn(&Settings) -> Assessment, &[("read_only", "ON")][..], Level::Problem),
            (writable, &[("read_only", "OFF")], Level::Ok),
            (binary_log, &[("log_bin", "ON"), ("binlog_format", "STATEMENT")], Level::Problem),
            (binary_log, &[("log_bin", "OFF"), ("binlog_format", "STATEMENT")], Level::Ok),
            (binary_log, &[("log_bin", "ON"), ("binlog_format", "MIXED")], Level::Ok),
            (durability, &[("innodb_flush_log_at_trx_commit", "1")], Level::Ok),
            (durability, &[("innodb_flush_log_at_trx_commit", "2")], Level::Note),
            (
                durability,
                &[("innodb_flush_log_at_trx_commit", "1"), ("log_bin", "ON"), ("sync_binlog", "0")],
                Level::Note,
            ),
            (max_allowed_packet, &[("max_allowed_packet", "1048576")], Level::Problem),
            (max_allowed_packet, &[("max_allowed_packet", "16777216")], Level::Ok),
            (wait_timeout, &[("wait_timeout", "10")], Level::Note),
            (connections, &[("max_connections", "40"), ("threads_connected", "20")], Level::Note),
        ] {
            assert_eq!(check(&settings(pairs)).level, level, "{pairs:?}");
        }
    }
}
