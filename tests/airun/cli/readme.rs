//! Checks that airun prints what the README shows.

use std::error::Error;
use std::fs;
use std::process::Command;

use airun::queue::{TaskPayload, enqueue};
use mysql::prelude::Queryable as _;
use mysql::{Conn, TxOpts};
use serde::{Deserialize, Serialize};

use crate::on_both;
use crate::support::{Database, stop, timeless};

/// The payload of this server's task. A program that only enqueues the task doesn't need its handler.
#[derive(Serialize, Deserialize)]
struct NameConversation {
    conversation_id: u64,
}

impl TaskPayload for NameConversation {
    const KIND: &'static str = "name_conversation";
}

const README: &str = include_str!("../../../README.md");

/// Returns the console blocks of a section.
fn consoles(title: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(&format!("\n### {title}\n")).expect("the section");
    let section = section.split("\n##").next().unwrap();
    section.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// Returns the commands of a block, each with its expected output.
fn steps(block: &str) -> Vec<(&str, String)> {
    let steps = block.split("$ ").skip(1);
    steps.map(|step| step.split_once('\n').map(|(command, output)| (command, output.to_owned())).unwrap()).collect()
}

fn shell(db: &Database, command: &str) -> String {
    let airun = std::path::Path::new(env!("CARGO_BIN_EXE_airun")).parent().unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}; }} 2>&1")])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", airun.display()))
        .env("DATABASE_URL", db.url())
        .current_dir(db.folder())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace(&db.name, "shop")
}

on_both! {
    fn failed_statement_example_prints_what_the_readme_shows(db) {
        fs::create_dir(db.folder().join("migrations")).unwrap();
        let mut ran = 0;
        for block in consoles("When a statement fails") {
            for (command, expected) in steps(block) {
                // The README shows a file with `cat`, so the test writes it first.
                if let Some(file) = command.strip_prefix("cat ") {
                    db.write(file, &expected);
                }
                assert_eq!(timeless(&shell(db, command)), timeless(&expected), "{command}");
                ran += 1;
            }
        }
        assert_eq!(ran, 7);
    }
}

const SAID: &str = "INSERT INTO agent_messages (conversation_id, position, role, content) VALUES (?, 1, 'user', ?)";

// The function that the README shows.
fn say(conn: &mut Conn, conversation_id: u64, content: &str) -> Result<(), Box<dyn Error>> {
    let mut transaction = conn.start_transaction(TxOpts::default())?;
    transaction.exec_drop(SAID, (conversation_id, content))?;
    enqueue(&mut transaction, &NameConversation { conversation_id })?;
    Ok(transaction.commit()?)
}

/// Returns the README's first code block in `language`.
fn block(language: &str) -> &'static str {
    let (_, block) = README.split_once(&format!("```{language}\n")).unwrap();
    block.split("```").next().unwrap()
}

on_both! {
    fn database_task_is_enqueued_in_each_way_shown(db) {
        db.create_tables();
        let shown = README.split("```rust\n").find_map(|part| part.starts_with("fn say(").then(|| part.split("```").next().unwrap()));
        assert!(include_str!("readme.rs").contains(shown.unwrap()));
        db.execute(&[
            "INSERT INTO agent_sessions (id, public_id, user_id, agent) VALUES (1, UUID(), 'ada', 'a')",
            "INSERT INTO agent_conversations (id, session_id) VALUES (1, 1), (2, 1)",
        ]);
        assert!(say(&mut db.conn(), 99, "lost").is_err());
        say(&mut db.conn(), 1, "How do I bake bread?\nAnd butter?").unwrap();
        say(&mut db.conn(), 2, "Tell me a joke").unwrap();
        db.execute(&[block("sql").trim().trim_end_matches(';')]);
        let worker = db.start("worker");
        db.wait_until_idle();
        stop(worker);
        assert_eq!(db.rows("SELECT state, kind, COUNT(*) FROM ai_server_tasks GROUP BY state, kind"), ["succeeded|name_conversation|3"]);
        assert_eq!(db.rows("SELECT title FROM agent_conversations ORDER BY id"), ["How do I bake bread?", "Tell me a joke"]);
    }

    fn task_commands_print_what_the_readme_shows(db) {
        db.create_tables();
        let mut ran = 0;
        for block in consoles("Database tasks") {
            for (command, expected) in steps(block) {
                assert_eq!(shell(db, command), expected, "{command}");
                ran += 1;
            }
        }
        assert_eq!(ran, 6);
    }
}

#[test]
fn registry_in_the_readme_is_the_real_one() {
    let (_, shown) = README.split_once("//! src/tasks/mod.rs\n").unwrap();
    let shown = shown.split("```").next().unwrap();
    assert!(include_str!("../../../src/tasks/mod.rs").contains(shown), "{shown}");
}

#[test]
fn every_command_and_flag_in_the_readme_is_in_the_help() {
    let help = |page: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_airun")).arg("help").args(page.split(' ')).output().unwrap();
        assert!(output.status.success(), "{page}");
        String::from_utf8(output.stdout).unwrap()
    };
    let up = help("migrate up");
    for flag in [
        "--to",
        "-n",
        "--dry-run",
        "--strict",
        "--wait",
        "--lock-timeout",
        "--database-url",
        "--tls-mode",
        "--tls-ca",
        "--dir",
        "--log-level",
        "--env-file",
    ] {
        assert!(README.contains(flag) && up.contains(flag), "{flag}");
    }
    let worker = help("worker");
    for flag in [
        "--heartbeat",
        "--stop-timeout",
        "--metrics-file",
        "--metrics-addr",
        "--log-format",
        "--retention",
        "--dead-retention",
    ] {
        assert!(README.contains(flag) && worker.contains(flag), "{flag}");
    }
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| row.starts_with("migrate "));
    for command in rows.map(|row| row.split('`').next().unwrap().trim_end_matches(" VERSION")) {
        help(command);
    }
    let tasks = README.lines().filter(|line| line.starts_with("| `task ") && !line.starts_with("| `task …`"));
    let mut shown = 0;
    for row in tasks {
        let (commands, does) = row.trim_start_matches("| ").split_once(" | ").unwrap();
        for command in commands.split(", ") {
            let words: Vec<&str> = command.trim_matches('`').split(' ').take(2).collect();
            let page = help(&words.join(" "));
            let flags = does.split('`').filter(|part| part.starts_with("--") && !part.contains("retention"));
            for flag in flags.map(|flag| flag.split(' ').next().unwrap()) {
                assert!(page.contains(flag), "{flag} in {command}");
            }
            shown += 1;
        }
    }
    assert_eq!(shown, 13);
    assert!(README.contains("| `doctor` |") && help("doctor").contains("--json"));
}
