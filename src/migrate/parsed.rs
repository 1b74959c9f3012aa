//! A migration read from its files.

use std::fs;
use std::path::Path;
use std::thread;

use super::files::{self, MigrationFile, text_of, unreadable};
use super::journal::{Migration, UP_TEXT_MAX};
use super::script::{Script, ScriptSummary};
use crate::error::{Error, Result};

/// A pair of files, and what parsing its UP found.
#[derive(Debug)]
pub struct ParsedMigration {
    pub file: MigrationFile,
    pub summary: ScriptSummary,
    /// The UP, if it has at most [`UP_TEXT_MAX`] bytes. Longer ones are streamed from their file.
    pub up_text: Option<String>,
}

impl ParsedMigration {
    fn read(file: MigrationFile) -> Result<Self> {
        let path = &file.up;
        let size = path.metadata().map_err(|error| unreadable(path, &error))?.len();
        if size > UP_TEXT_MAX {
            let summary = Script::file(path).summarize()?;
            return Ok(Self { file, summary, up_text: None });
        }
        let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let label = path.display().to_string();
        // Summarizes the script before its text is decoded, because the splitter reports line and column of bytes that
        // are not UTF-8.
        let summary = Script::memory(&bytes, label.as_str()).summarize()?;
        let up_text = Some(text_of(bytes, &label)?);
        Ok(Self { file, summary, up_text })
    }

    /// Returns the values of its journal row. `down_text` is its DOWN.
    pub fn migration<'m>(&'m self, applied_order: u64, down_text: Option<&'m str>) -> Migration<'m> {
        Migration {
            version: self.file.version,
            name: &self.file.name,
            applied_order,
            checksum: &self.summary.checksum,
            statements_total: self.summary.total,
            up_text: self.up_text.as_deref(),
            down_text,
        }
    }

    /// Returns the UP.
    pub fn script(&self) -> Script<'_> {
        match &self.up_text {
            Some(text) => Script::memory(text.as_bytes(), self.file.up.display().to_string()),
            None => Script::file(&self.file.up),
        }
    }
}

/// Reads every migration in the folder, with several threads if there are many. The result is in version order.
pub fn read_folder(folder: &Path) -> Result<Vec<ParsedMigration>> {
    /// Reading this many files takes less time than starting a thread.
    const SHARE_MIN: usize = 100;
    let files = files::scan(folder)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut shares = files.chunks(files.len().div_ceil(threads).max(SHARE_MIN));
    let own = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let start =
            |share| thread::Builder::new().name("files".to_owned()).spawn_scoped(scope, move || read_all(share));
        let readers: Vec<_> = shares
            .map(start)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::failure(format!("failed to start a thread: {error}")))?;
        let mut all = read_all(own)?;
        for reader in readers {
            all.extend(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn read_all(files: &[MigrationFile]) -> Result<Vec<ParsedMigration>> {
    files.iter().cloned().map(ParsedMigration::read).collect()
}
