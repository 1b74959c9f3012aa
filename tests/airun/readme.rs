//! What the README shows is what airun prints.

use std::fs;
use std::process::Command;

use crate::on_both;
use crate::support::{Database, timeless};

const README: &str = include_str!("../../README.md");

/// The console blocks of a section.
fn consoles(title: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(&format!("\n### {title}\n")).expect("the section");
    let section = section.split("\n##").next().unwrap();
    section.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// A command of a block, and what it prints.
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
    fn what_happens_when_a_statement_fails(db) {
        fs::create_dir(db.folder().join("migrations")).unwrap();
        let mut ran = 0;
        for block in consoles("When a statement fails") {
            for (command, expected) in steps(block) {
                // The README shows the file as its reader has written it.
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

#[test]
fn the_registry_that_it_shows_is_the_one_there_is() {
    let (_, shown) = README.split_once("//! src/tasks/mod.rs\n").unwrap();
    let shown = shown.split("```").next().unwrap();
    assert!(include_str!("../../src/tasks/mod.rs").contains(shown), "{shown}");
}

#[test]
fn every_command_and_setting_that_it_names_is_in_the_help() {
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
    for flag in ["--heartbeat", "--stop-timeout", "--metrics-file", "--metrics-addr", "--log-format"] {
        assert!(README.contains(flag) && worker.contains(flag), "{flag}");
    }
    let rows = README.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| row.starts_with("migrate "));
    for command in rows.map(|row| row.split('`').next().unwrap().trim_end_matches(" VERSION")) {
        help(command);
    }
}
