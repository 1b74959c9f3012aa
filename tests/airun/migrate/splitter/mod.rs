//! The splitter against its properties and against the real clients: what it makes of a script is what they send.

mod client;
mod properties;

use std::fs;
use std::path::PathBuf;

use airun::migrate::sql::{TokenKind, tokens};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Kind;

/// The scripts of the corpus, and those of the folder that `AIRUN_TEST_SCRIPTS` names: what a fuzzer has gathered.
fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/airun/corpus/split");
    let given = std::env::var_os("AIRUN_TEST_SCRIPTS").map(PathBuf::from);
    let mut scripts = Vec::new();
    for folder in [Some(own), given].into_iter().flatten() {
        for entry in fs::read_dir(&folder).expect("the folder of scripts") {
            let path = entry.expect("a script").path();
            let script = fs::read(&path).expect("a script");
            scripts.push((path, script));
        }
    }
    scripts
}

#[test]
fn what_the_fuzzer_found_stays_mended() {
    for (_, script) in corpus() {
        properties::check(&script);
    }
}

#[test]
fn the_properties_hold_for_random_scripts() {
    let mut runner = TestRunner::new(Config { cases: 5000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&script(), |script| {
        properties::check(script.as_bytes());
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn statements_are_those_that_mysql_sends() {
    same_as_sent(Kind::MySql);
}

#[test]
fn statements_are_those_that_mariadb_sends() {
    same_as_sent(Kind::MariaDb);
}

fn same_as_sent(kind: Kind) {
    let differing: Vec<_> = corpus()
        .into_iter()
        .filter_map(|(path, script)| Some(format!("{}: {}", path.display(), compare(kind, &script).err()?)))
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    runner.run(&script(), |script| compare(kind, script.as_bytes()).map_err(TestCaseError::fail)).unwrap();
}

/// Holds the splitter's statements against those that the client sends.
fn compare(kind: Kind, script: &[u8]) -> Result<(), String> {
    let (ours, error) = properties::split(script, usize::MAX);
    // Where a statement is open, the clients take a `DELIMITER` for a part of it and lose the line's end.
    let swallows_a_line = ours.iter().any(|(text, _)| text.to_ascii_lowercase().contains("delimiter"));
    // The clients rewrite MariaDB's version comments, or a part of them.
    let rewritten = script.windows(4).any(|four| four == b"/*M!");
    if error.is_some() || swallows_a_line || rewritten || is_beyond_the_client(script) {
        return Ok(());
    }
    let Some(sent) = client::sent(kind, script) else { return Ok(()) };
    let sent: Vec<_> = sent.iter().map(|sql| String::from_utf8_lossy(sql)).collect();
    let mut sent = sent.iter().map(|sql| code(sql)).filter(|sql| !sql.is_empty()).peekable();
    for (ours, _) in &ours {
        let theirs = sent.next().ok_or_else(|| format!("{ours:?} is not sent by {kind:?}"))?;
        let whole = code(ours);
        let mut left = whole.strip_prefix(&theirs[..]).ok_or_else(|| format!("{ours:?} is {theirs:?} to {kind:?}"))?;
        if !left.is_empty() && !may_be_cut_short(ours) {
            return Err(format!("{ours:?} goes only as far as {theirs:?} for {kind:?}"));
        }
        while !left.is_empty() {
            left = left.strip_prefix(';').unwrap_or(left);
            let Some(more) = sent.next_if(|more| left.starts_with(more.as_str())) else { break };
            left = &left[more.len()..];
        }
    }
    sent.next().map_or(Ok(()), |more| Err(format!("{kind:?} also sends {more:?}")))
}

/// The tokens of `sql`; the clients put spaces where comments were, and a hint alone is nothing.
fn code(sql: &str) -> String {
    tokens(sql).filter(|token| token.kind != TokenKind::Hint).map(|token| token.text).collect()
}

/// Whether the clients may split the statement at a `;` within it, a body's or a version comment's, which no server takes.
fn may_be_cut_short(ours: &str) -> bool {
    let first = tokens(ours).next().map(|token| token.upper()).unwrap_or_default();
    matches!(first.as_str(), "CREATE" | "BEGIN") || ours.contains("/*!")
}

/// Whether the script has something that airun does its own way: a command behind a statement on the same line, which
/// the clients take for a part of the next one, and what only a real server could tell the client.
fn is_beyond_the_client(script: &[u8]) -> bool {
    let text = String::from_utf8_lossy(script).to_ascii_lowercase();
    let commands = ["delimiter", "use", "go", "help", "print", "status", "warnings", "source"];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let behind = |line: &str| {
        commands.iter().any(|command| {
            line.trim_start().match_indices(command).any(|(at, _)| at > 0 && !line.trim_start()[..at].ends_with(word))
        })
    };
    text.contains("no_backslash_escapes") || text.lines().any(behind)
}

/// Pieces of scripts in any order: most of them are no SQL, and the client sends them all the same.
fn script() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "SELECT 1",
        "a",
        "é",
        "1",
        "'a;b'",
        "'it''s'",
        r"'\';'",
        r#""x\"y;""#,
        "`q;`",
        "`\\`",
        "'# no'",
        "'-- no'",
        "'/* no'",
        "'two\nlines'",
        "'two\r\nlines'",
        "'//'",
        ";",
        ";",
        ";",
        "//",
        "$$",
        " ",
        " ",
        "\n",
        "\n",
        "\r\n",
        "\t",
        "-- c ; '\n",
        "--\n",
        "a --1",
        "--\t;\n",
        "# c ; \"\n",
        "#\n",
        "/* ; ' */",
        "/**/",
        "/*/ ; */",
        "/* a /* b */",
        "/*!40101 x */",
        "/*!50003 y ; z */",
        "/*! ';' */",
        "/*M!100100 w */",
        "SELECT /*+ h ; */ 2",
        "/*M!999999\\- m */",
        "\\G",
        "\\g",
        "\\N",
        "\nDELIMITER //\n",
        "\ndelimiter ;\n",
        "\n  Delimiter $$\r\n",
        "\nDELIMITER ;;\n",
        "\nuse shop\n",
    ]);
    prop::collection::vec(pieces, 1..16).prop_map(|pieces| pieces.concat())
}
