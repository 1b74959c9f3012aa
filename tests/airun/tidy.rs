//! Keeps the repository tidy: the invariants of the crate page that a search can check.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of code, without the tests and without comments.
struct Line {
    file: String,
    number: usize,
    text: String,
}

/// Returns the paths below `folder` whose names end in `extension`, relative to the repository.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {extension} in {folder}");
    found.iter().map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the code of `src/`.
fn code() -> Vec<Line> {
    let mut lines = Vec::new();
    for file in files("src", ".rs").into_iter().filter(|file| !file.contains("/tests")) {
        for (number, text) in (1..).zip(read(&file).lines()) {
            if text.trim() == "#[cfg(test)]" {
                break;
            }
            if !text.trim_start().starts_with("//") {
                lines.push(Line { file: file.clone(), number, text: text.to_owned() });
            }
        }
    }
    lines
}

/// Fails with each line of `code` that is wrong.
fn assert_none(rule: &str, wrong: impl Fn(&Line) -> bool) {
    let code = code();
    let wrong: Vec<_> = code.iter().filter(|line| wrong(line)).collect();
    let shown: Vec<_> =
        wrong.iter().map(|line| format!("{}:{}: {}", line.file, line.number, line.text.trim())).collect();
    assert!(wrong.is_empty(), "{rule}:\n{}", shown.join("\n"));
}

/// True if `text` contains `word`, and not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part)
            && !text[at + word.len()..].chars().next().is_some_and(is_part)
    })
}

#[test]
fn migrations_periodic_tasks_and_the_queue_do_not_use_each_other() {
    let modules = ["migrate", "periodic", "queue"];
    assert_none("a module uses its sibling", |line| {
        modules.iter().filter(|module| line.file.starts_with(&format!("src/{module}/"))).any(|own| {
            modules.iter().filter(|other| other != &own).any(|other| has_word(&line.text, &format!("crate::{other}")))
        })
    });
}

#[test]
fn only_the_command_line_prints_and_nothing_exits_the_process() {
    // A task's own process reports its outcome to the worker on standard output.
    let child = "src/queue/executor/child.rs";
    assert_none("prints outside src/cli", |line| {
        let prints = ["println!", "print!", "eprintln!", "eprint!", "stdout()"];
        !line.file.starts_with("src/cli/")
            && line.file != child
            && prints.iter().any(|print| has_word(&line.text, print))
    });
    assert_none("exits outside src/main.rs", |line| line.file != "src/main.rs" && line.text.contains("process::exit"));
}

#[test]
fn sql_is_only_where_it_belongs() {
    let places = ["src/db/", "src/migrate/", "src/queue/store/", "src/doctor/"];
    // This server's own tasks use the database as they like.
    let tasks = "src/tasks/";
    let verbs =
        ["SELECT ", "INSERT INTO ", "UPDATE `", "UPDATE ai_", "DELETE FROM ", "REPLACE INTO ", "START TRANSACTION"];
    assert_none("SQL outside of its modules", |line| {
        !places.iter().any(|place| line.file.starts_with(place))
            && !line.file.starts_with(tasks)
            && verbs.iter().any(|verb| line.text.contains(&format!("\"{verb}")))
    });
}

#[test]
fn there_is_no_unsafe_code_no_async_code_and_no_sleep() {
    for word in ["unsafe", "async", "await"] {
        assert_none(word, |line| has_word(&line.text, word));
    }
    assert_none("a sleep that a shutdown can't interrupt", |line| line.text.contains("thread::sleep"));
}

#[test]
fn no_result_is_dropped_as_a_default() {
    // An error that is ignored on purpose is an `.ok()` or a `let … else`, with a comment.
    let producers =
        ["fs::", "io::", "from_utf8", ".parse()", ".join()", ".send(", ".write_all(", ".flush()", ".query_"];
    // The splitter has checked that the text is UTF-8.
    let allowed = [("src/migrate/sql/splitter.rs", "from_utf8")];
    assert_none("an error is dropped", |line| {
        line.text.split_once(".unwrap_or_default()").is_some_and(|(expression, _)| {
            let is_allowed = allowed.iter().any(|(file, part)| line.file == *file && expression.contains(part));
            // A `?` has returned the error.
            !is_allowed && !expression.contains(")?") && producers.iter().any(|part| expression.contains(part))
        })
    });
}

/// Identifiers of earlier versions: columns, tables, metrics, flags and types.
const OLD_NAMES: [&str; 63] = [
    "--keep",
    "--keep-dead",
    "--lane",
    "Backlog",
    "Bell",
    "Chain",
    "Definition",
    "Errand",
    "Fence",
    "Follower",
    "GivenBack",
    "Heart",
    "Intake",
    "LAST_WORDS",
    "Lane",
    "Ledger",
    "Onlooker",
    "Opaque",
    "Outline",
    "Outlook",
    "Owed",
    "Purger",
    "Repeatable",
    "Sight",
    "Slots",
    "Spent",
    "Standing",
    "Surroundings",
    "Teller",
    "Timekeeper",
    "Troubles",
    "ai_server_gates",
    "airun_tasks_deadlocks_total",
    "airun_tasks_lost_connections_total",
    "airun_tasks_lost_threads_total",
    "airun_tasks_refused_total",
    "airun_tasks_rescued_total",
    "alive_dedupe_key",
    "complain",
    "dispatcher",
    "due_at",
    "errand",
    "fault-points",
    "intake",
    "is_new",
    "is_refusal",
    "lane",
    "missing_at",
    "onlooker",
    "outlook",
    "ownerless",
    "passes_by_itself",
    "patient_for",
    "process_id",
    "purger",
    "quotation",
    "seen_at",
    "strays",
    "surroundings",
    "timekeeper",
    "trials",
    "tripwire",
    "turn_page",
];

/// Files that were named by earlier versions.
const OLD_FILES: [&str; 30] = [
    "around",
    "backlog",
    "bell",
    "chain",
    "definition",
    "dispatcher",
    "heart",
    "held",
    "intake",
    "lateness",
    "ledger",
    "link",
    "look",
    "onlooker",
    "opaque",
    "operator",
    "outlook",
    "owed",
    "purger",
    "quotation",
    "random",
    "refusal",
    "settle",
    "shape",
    "slots",
    "stage",
    "surroundings",
    "timekeeper",
    "tripwire",
    "words",
];

#[test]
fn no_name_of_an_earlier_version_is_left() {
    let mut found = Vec::new();
    let texts = [files("src", ".rs"), files("migrations", ".sql"), vec!["README.md".to_owned()]].concat();
    for file in &texts {
        for (number, line) in (1..).zip(read(file).lines()) {
            let names = OLD_NAMES.iter().filter(|name| has_word(line, name));
            found.extend(names.map(|name| format!("{file}:{number}: `{name}`: {}", line.trim())));
        }
        let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
        if OLD_FILES.contains(&stem) {
            found.push(format!("{file} has the name of an earlier version"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns the value of `key = "…"` in the manifest's package section.
fn manifest(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let value = manifest.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= "));
    value.unwrap_or_else(|| panic!("no `{key}` in Cargo.toml")).trim_matches('"').to_owned()
}

#[test]
fn the_changelog_has_a_heading_for_the_version() {
    let version = manifest("version");
    let changelog = read("CHANGELOG.md");
    let heading = changelog.lines().any(|line| line.starts_with("## ") && has_word(line, &version));
    assert!(heading, "CHANGELOG.md has no heading for {version}");
}

#[test]
fn ci_checks_with_the_rust_version_of_the_manifest() {
    let ci = read(".ci/run");
    assert!(ci.contains("rust-version") && ci.contains("check --all-targets --locked"), "{ci}");
    // The version is written down in the manifest only.
    let version = manifest("rust-version");
    assert!(!has_word(&ci, &version), ".ci/run must read {version} from Cargo.toml");
}
