//! The migrations folder: which files are migrations, and writing a new pair.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::version::Version;
use crate::error::{Error, Result};

/// The `name` column of `ai_migrations` has room for this many bytes.
const NAME_LENGTH_MAX: usize = 180;

/// The pair of files of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFile {
    /// The 14 digits of the file name.
    pub version: Version,
    /// The part of the file name between the version and `_UP.sql`.
    pub name: String,
    /// `…_UP.sql`
    pub up: PathBuf,
    /// `…_DOWN.sql`. Without it the migration is irreversible.
    pub down: Option<PathBuf>,
}

impl MigrationFile {
    /// Reads the DOWN, if there is one.
    pub fn down_text(&self) -> Result<Option<String>> {
        self.down.as_deref().map(read_text).transpose()
    }
}

/// Reads a whole file into memory.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    text_of(bytes, &path.display().to_string())
}

/// Decodes the content of a file that messages call `label`, without its byte order mark.
pub fn text_of(bytes: Vec<u8>, label: &str) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::failure(format!("`{label}` is not UTF-8 at byte {offset}; save it as UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Returns the error for a file that can't be opened or read.
pub fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::failure(format!("failed to read `{}`: {error}", path.display()))
}

/// Returns every migration in `folder`, in version order.
///
/// # Errors
/// Fails if the folder can't be read, and names each file that seems to be a migration but has an invalid name. Other
/// files (`README.md`, `.gitkeep`) are ignored.
pub fn scan(folder: &Path) -> Result<Vec<MigrationFile>> {
    let entries = fs::read_dir(folder).map_err(|error| {
        Error::usage(format!(
            "failed to read the migrations folder `{}`: {error}; set `--dir` or `AIRUN_MIGRATIONS_DIR`",
            folder.display()
        ))
    })?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let name = entry.file_name();
        match name.to_str() {
            Some(name) if resembles_migration(name) => names.push(name.to_owned()),
            _ => {}
        }
    }
    names.sort_unstable();
    pair(folder, &names)
}

/// Writes a new pair of files. Its version is later than every version in `folder`.
///
/// # Errors
/// Fails if the name can't be part of a file name, or if the files can't be written. Existing files are never changed.
pub fn generate(folder: &Path, name: &str) -> Result<MigrationFile> {
    let name = file_name_part(name)?;
    fs::create_dir_all(folder)
        .map_err(|error| Error::failure(format!("failed to create `{}`: {error}", folder.display())))?;
    let newest = scan(folder)?.last().map(|file| file.version);
    let version = Version::next(Utc::now(), newest);
    let (up, down) =
        (folder.join(format!("{version}_{name}_UP.sql")), folder.join(format!("{version}_{name}_DOWN.sql")));
    write_new(&up, &format!("-- {name}: the change. Statements end with `;`.\n\n"))?;
    write_new(&down, &format!("-- {name}: how to undo the change. Delete this file if that is impossible.\n\n"))?;
    Ok(MigrationFile { version, name, up, down: Some(down) })
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let write = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(write)
        .map_err(|error| Error::failure(format!("failed to write `{}`: {error}", path.display())))
}

fn file_name_part(name: &str) -> Result<String> {
    let part = name.trim().replace([' ', '-'], "_");
    let plain = part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    if part.is_empty() || !plain || part.starts_with('.') || part.len() > NAME_LENGTH_MAX {
        return Err(Error::usage(format!(
            "invalid migration name `{name}`; use letters, digits and `_`, at most {NAME_LENGTH_MAX} bytes"
        )));
    }
    Ok(part)
}

/// True for an SQL file that starts like a version or ends like a direction, so that it is probably meant as a
/// migration.
fn resembles_migration(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let Some(stem) = lower.strip_suffix(".sql") else { return false };
    !name.starts_with('.')
        && (stem.ends_with("_up") || stem.ends_with("_down") || stem.bytes().next().is_some_and(|b| b.is_ascii_digit()))
}

fn pair(folder: &Path, names: &[String]) -> Result<Vec<MigrationFile>> {
    let mut ups: BTreeMap<Version, MigrationFile> = BTreeMap::new();
    let mut downs = Vec::new();
    let mut wrong = Vec::new();
    for file_name in names {
        let path = folder.join(file_name);
        match parse(file_name) {
            Err(why) => wrong.push(format!("`{}`: {why}", path.display())),
            Ok((version, name, true)) => downs.push((version, name, path)),
            Ok((version, name, false)) => {
                let file = MigrationFile { version, name, up: path.clone(), down: None };
                if let Some(other) = ups.insert(version, file) {
                    wrong.push(format!(
                        "`{}`: version {version} is already used by `{}`; give one of them another version",
                        path.display(),
                        other.up.display()
                    ));
                }
            }
        }
    }
    for (version, name, path) in downs {
        match ups.get_mut(&version) {
            Some(file) if file.name == name => file.down = Some(path),
            Some(file) => wrong.push(format!(
                "`{}`: its UP is named `{}`; give both the same name",
                path.display(),
                file.up.display()
            )),
            None => wrong.push(format!("`{}`: version {version} has no UP", path.display())),
        }
    }
    if wrong.is_empty() { Ok(ups.into_values().collect()) } else { Err(Error::failure(wrong.join("\n"))) }
}

/// Returns the version, the name, and true for a DOWN.
fn parse(file_name: &str) -> Result<(Version, String, bool), String> {
    const PATTERN: &str = "name it YYYYMMDDHHMMSS_name_UP.sql or YYYYMMDDHHMMSS_name_DOWN.sql";
    let (digits, rest) = file_name.split_once('_').ok_or_else(|| PATTERN.to_owned())?;
    let version = digits.parse().map_err(|_| format!("`{digits}` is not a date and time of 14 digits; {PATTERN}"))?;
    let (name, is_down) = match (rest.strip_suffix("_UP.sql"), rest.strip_suffix("_DOWN.sql")) {
        (Some(name), _) => (name, false),
        (_, Some(name)) => (name, true),
        _ => return Err(PATTERN.to_owned()),
    };
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        return Err(format!("the name must have 1 to {NAME_LENGTH_MAX} bytes; {PATTERN}"));
    }
    Ok((version, name.to_owned(), is_down))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair_up(names: &[&str]) -> Result<Vec<MigrationFile>> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        assert!(names.iter().all(|name| resembles_migration(name)));
        pair(Path::new("m"), &names)
    }

    #[test]
    fn pairs_are_found_in_version_order() {
        let files =
            pair_up(&["20260102000000_b_UP.sql", "20260101000000_a_DOWN.sql", "20260101000000_a_UP.sql"]).unwrap();
        let found: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.down.is_some())).collect();
        assert_eq!(found, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_badly_named_file_is_an_error_that_names_it() {
        for (names, part) in [
            (&["2026_a_UP.sql"][..], "`2026` is not a date"),
            (&["20260230000000_a_UP.sql"], "is not a date"),
            (&["20260101000000_a_up.sql"], "name it"),
            (&["20260101000000_a.sql"], "name it"),
            (&["20260101000000__UP.sql"], "the name must have"),
            (&["20260101000000_a_DOWN.sql"], "version 20260101000000 has no UP"),
            (&["20260101000000_a_UP.sql", "20260101000000_b_UP.sql"], "is already used by `m/20260101000000_a_UP.sql`"),
            (&["20260101000000_a_UP.sql", "20260101000000_b_DOWN.sql"], "give both the same name"),
        ] {
            let message = pair_up(names).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert!(message.contains(names[names.len() - 1]), "{message}");
        }
    }

    #[test]
    fn other_files_are_ignored() {
        for name in ["README.md", ".gitkeep", "schema.sql", ".20260101000000_a_UP.sql.swp", "20260101000000_a_UP.sql~"]
        {
            assert!(!resembles_migration(name), "{name}");
        }
    }

    #[test]
    fn a_name_becomes_part_of_a_file_name() {
        assert_eq!(file_name_part("add users-table").unwrap(), "add_users_table");
        for bad in ["", "  ", "a/b", "..", ".a", "a\nb", &"x".repeat(200)] {
            assert!(file_name_part(bad).is_err(), "{bad}");
        }
    }
}
