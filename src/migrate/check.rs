//! `migrate check`: reads every file, without a database.

use std::path::Path;

use super::files;
use super::script::Script;
use crate::error::{Error, Result};

/// Reads every UP and DOWN in the folder. Returns the number of migrations and of statements.
///
/// # Errors
/// Names file, line and column of each problem, one line each.
pub fn check(folder: &Path) -> Result<(usize, u64)> {
    let files = files::scan(folder)?;
    let mut problems = Vec::new();
    let mut statements = 0;
    for path in files.iter().flat_map(|file| [Some(&file.up), file.down.as_ref()]).flatten() {
        match Script::file(path).summarize() {
            Ok(summary) => statements += summary.total,
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() { Ok((files.len(), statements)) } else { Err(Error::failure(problems.join("\n"))) }
}
