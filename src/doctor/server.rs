//! What the server's settings mean for airun. Pure.

use super::{Finding, Settings};

const MYSQL_MIN: (u32, u32) = (8, 0);
const MARIADB_MIN: (u32, u32) = (10, 6);

/// A statement of airun's has so many bytes at most, but for a single payload that is larger.
const PACKET_MIN: u64 = 4 << 20;
/// A worker has some eight connections, and one for each thread whose task asks for it.
const CONNECTIONS_MIN: u64 = 32;
/// Connections that are used less often are cut.
const IDLE_MIN_SECONDS: u64 = 60;

/// Everything that the settings tell.
pub fn all(settings: &Settings) -> Vec<Finding> {
    vec![
        version(settings.get("version").map_or("", String::as_str)),
        writable(settings),
        binary_log(settings),
        durability(settings),
        packet(settings),
        idle(settings),
        connections(settings),
    ]
}

fn number(settings: &Settings, name: &str) -> u64 {
    settings.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn is_on(settings: &Settings, name: &str) -> bool {
    settings.get(name).is_some_and(|value| matches!(value.as_str(), "ON" | "1"))
}

fn version(text: &str) -> Finding {
    const CHECK: &str = "version";
    if text.contains("TiDB") {
        let advice = "use MySQL 8.0 or newer, or MariaDB 10.6 or newer: TiDB takes SKIP LOCKED and does not skip";
        return Finding::problem(CHECK, format!("TiDB {text}"), advice);
    }
    let (name, least) = if text.contains("MariaDB") { ("MariaDB", MARIADB_MIN) } else { ("MySQL", MYSQL_MIN) };
    // Some MariaDB servers begin with a version that old replicas understand.
    let mut parts = text.trim_start_matches("5.5.5-").split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Finding::note(CHECK, format!("the version `{text}` is unknown"), "use MySQL or MariaDB");
    };
    if (major, minor) < least {
        let advice = format!("use {name} {}.{} or newer", least.0, least.1);
        return Finding::problem(CHECK, format!("{name} {text}"), advice);
    }
    Finding::ok(CHECK, format!("{name} {text}"))
}

fn writable(settings: &Settings) -> Finding {
    const CHECK: &str = "writable";
    match ["read_only", "innodb_read_only"].into_iter().find(|name| is_on(settings, name)) {
        Some(name) => Finding::problem(
            CHECK,
            format!("the server is read-only: `{name}` is on"),
            "name the primary in the URL; with several hosts airun takes the first that can be written to",
        ),
        None => Finding::ok(CHECK, "the server takes writes"),
    }
}

fn binary_log(settings: &Settings) -> Finding {
    const CHECK: &str = "binary-log";
    let format = settings.get("binlog_format").map_or("", String::as_str);
    if !is_on(settings, "log_bin") {
        return Finding::ok(CHECK, "off");
    }
    if format == "STATEMENT" {
        let advice = "set `binlog_format` to ROW or MIXED: by statements the server refuses READ COMMITTED";
        return Finding::problem(CHECK, "by statements", advice);
    }
    Finding::ok(CHECK, format!("on, {}", if format.is_empty() { "ROW" } else { format }))
}

fn durability(settings: &Settings) -> Finding {
    const CHECK: &str = "durability";
    let flush = number(settings, "innodb_flush_log_at_trx_commit");
    let sync = number(settings, "sync_binlog");
    let has_log = is_on(settings, "log_bin");
    let mut found = format!("innodb_flush_log_at_trx_commit = {flush}");
    if has_log {
        found.push_str(&format!(", sync_binlog = {sync}"));
    }
    if flush == 1 && (!has_log || sync == 1) {
        return Finding::ok(CHECK, format!("{found}: what is committed survives a crash of the host"));
    }
    Finding::note(
        CHECK,
        format!("{found}: a crash of the host can lose the last second"),
        "set them to 1 where no task may be lost, or run a second time",
    )
}

fn packet(settings: &Settings) -> Finding {
    const CHECK: &str = "max-allowed-packet";
    let bytes = number(settings, "max_allowed_packet");
    let found = format!("{} kB", bytes >> 10);
    if bytes < PACKET_MIN {
        let advice = format!("set `max_allowed_packet` to {PACKET_MIN} or more: airun puts many rows into a statement");
        return Finding::problem(CHECK, found, advice);
    }
    Finding::ok(CHECK, format!("{found}, which is also the limit of a payload or a migration's statement"))
}

fn idle(settings: &Settings) -> Finding {
    const CHECK: &str = "wait-timeout";
    let seconds = number(settings, "wait_timeout");
    if seconds < IDLE_MIN_SECONDS {
        let advice =
            format!("set `wait_timeout` to {IDLE_MIN_SECONDS} or more: airun has to connect anew all the time");
        return Finding::note(CHECK, format!("{seconds} s"), advice);
    }
    Finding::ok(CHECK, format!("{seconds} s"))
}

fn connections(settings: &Settings) -> Finding {
    const CHECK: &str = "connections";
    let (most, used) = (number(settings, "max_connections"), number(settings, "threads_connected"));
    let found = format!("{used} of {most} in use");
    if most.saturating_sub(used) < CONNECTIONS_MIN {
        let advice = "raise `max_connections`: a worker has some eight, and one for each of its `--threads`";
        return Finding::note(CHECK, found, advice);
    }
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn old_servers_and_impostors_are_refused() {
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
            assert_eq!(version(text).level, level, "{text}");
        }
    }

    #[test]
    fn settings_that_keep_airun_from_working_are_problems() {
        for (check, pairs, level) in [
            (writable as fn(&Settings) -> Finding, &[("read_only", "ON")][..], Level::Problem),
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
            (packet, &[("max_allowed_packet", "1048576")], Level::Problem),
            (packet, &[("max_allowed_packet", "16777216")], Level::Ok),
            (idle, &[("wait_timeout", "10")], Level::Note),
            (connections, &[("max_connections", "40"), ("threads_connected", "20")], Level::Note),
        ] {
            assert_eq!(check(&settings(pairs)).level, level, "{pairs:?}");
        }
    }
}
