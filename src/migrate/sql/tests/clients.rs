//! Compares the splitter's statements with those that the servers' own clients send.

use super::super::{TokenKind, tokens};
use super::fake_server::{self, Client};
use super::properties;
use super::scripts::{corpus, for_random_scripts};

#[test]
fn properties_hold_for_saved_cases() {
    for (_, script) in corpus() {
        properties::check(&script);
    }
}

#[test]
fn properties_hold_for_random_scripts() {
    for_random_scripts(5000, |script| {
        properties::check(script.as_bytes());
        Ok(())
    });
}

#[test]
fn statements_are_those_that_mysql_sends() {
    compare_with(Client::MySql);
}

#[test]
fn statements_are_those_that_mariadb_sends() {
    compare_with(Client::MariaDb);
}

fn compare_with(client: Client) {
    let differences: Vec<_> = corpus()
        .into_iter()
        .filter_map(|(path, script)| Some(format!("{}: {}", path.display(), compare(client, &script).err()?)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    for_random_scripts(200, |script| compare(client, script.as_bytes()));
}

/// Compares the splitter's statements with those that the client sends. Returns the first difference as an error.
fn compare(client: Client, script: &[u8]) -> Result<(), String> {
    let (ours, error) = properties::split(script, usize::MAX);
    // The clients rewrite MariaDB's version comments, at least in part.
    let rewritten = script.windows(4).any(|four| four == b"/*M!");
    // MySQL's client takes the `/*` in `*/*` for the start of a comment, though the server reads `*/` and `*`.
    let misread = script.windows(3).any(|three| three == b"*/*");
    if error.is_some() || rewritten || misread || is_beyond_the_client(script) {
        return Ok(());
    }
    let Some(sent) = fake_server::sent(client, script) else { return Ok(()) };
    let mut ours = ours.iter();
    for theirs in sent.iter().map(|sql| String::from_utf8_lossy(sql)) {
        if theirs.to_ascii_lowercase().contains("delimiter") {
            // Inside a statement, the clients take a `DELIMITER` for a part of it. What follows has another delimiter.
            return Ok(());
        }
        let sent = code(&theirs);
        if client == Client::MySql && (sent.starts_with('-') || theirs.trim_start().starts_with("--")) {
            // MySQL's client sends a line such as `--text`, which the server rejects; MariaDB's client and airun skip it.
            return Ok(());
        }
        if sent.is_empty() {
            // The client sends a comment without code only if it has cut it. The server rejects that, and the client stops.
            if theirs.rfind("/*") > theirs.rfind("*/") {
                return Ok(());
            }
            continue;
        }
        let (ours, _) = ours.next().ok_or_else(|| format!("{client:?} also sends {sent:?}"))?;
        let whole = code(ours);
        if whole.starts_with(&sent) && sent.len() < whole.len() && may_be_cut_short(ours) {
            // The server rejects a statement that was cut, and the client stops.
            return Ok(());
        }
        if whole != sent {
            return Err(format!("{ours:?} is {sent:?} to {client:?}"));
        }
    }
    ours.next().map_or(Ok(()), |(ours, _)| Err(format!("{ours:?} is not sent by {client:?}")))
}

/// The tokens of `sql`, joined. The clients replace comments by spaces and don't send a hint that stands alone.
fn code(sql: &str) -> String {
    tokens(sql).filter(|token| token.kind != TokenKind::Hint).map(|token| token.text).collect()
}

/// True if the clients may split the statement at a `;` within a body or a version comment. No server accepts the parts.
fn may_be_cut_short(ours: &str) -> bool {
    let first = tokens(ours).next().map(|token| token.upper()).unwrap_or_default();
    matches!(first.as_str(), "CREATE" | "BEGIN") || ours.contains("/*!")
}

/// True if the script contains something that airun treats differently on purpose: a command after a statement on the
/// same line, which the clients take for a part of the next statement, or a mode that only a real server would report
/// to the client.
fn is_beyond_the_client(script: &[u8]) -> bool {
    let text = String::from_utf8_lossy(script).to_ascii_lowercase();
    let commands = ["delimiter", "use", "go", "help", "print", "status", "warnings", "source"];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let after_statement = |line: &str| {
        commands.iter().any(|command| {
            line.trim_start().match_indices(command).any(|(at, _)| at > 0 && !line.trim_start()[..at].ends_with(word))
        })
    };
    text.contains("no_backslash_escapes") || text.lines().any(after_statement)
}
