//! Settings from the environment and `.env`. A flag overrides the environment, and the environment overrides `.env`.

mod database;
mod url;

use std::collections::HashMap;
use std::env;
use std::path::Path;

pub use database::{DatabaseFlags, URL_FROM_FLAG, database};

use crate::error::{Error, Result};

/// The file in the current folder that is read without `--env-file`.
const ENV_FILE: &str = ".env";

/// The variables of the process, and those of a `.env` file.
#[derive(Default)]
pub struct Environment {
    process: HashMap<String, String>,
    file: HashMap<String, String>,
    file_name: String,
}

impl Environment {
    /// Reads the environment of the process and `env_file`, or `.env` if it exists.
    ///
    /// # Errors
    /// The file can't be read, or has a line that is not `NAME=value`.
    pub fn load(env_file: Option<&str>) -> Result<Self> {
        let name = env_file.unwrap_or(ENV_FILE);
        let mut file = HashMap::new();
        if env_file.is_some() || Path::new(name).exists() {
            let failed = |error| Error::usage(format!("failed to read `{name}`: {}", reason(&error)));
            for pair in dotenvy::from_path_iter(name).map_err(failed)? {
                let (key, value) = pair.map_err(failed)?;
                file.insert(key, value);
            }
        }
        // airun reads no variable that is not UTF-8.
        let process =
            env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Ok(Self { process: process.collect(), file, file_name: name.to_owned() })
    }

    /// Returns the value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        let set = |variables: &'_ HashMap<String, String>| variables.contains_key(name);
        let variables = if set(&self.process) { &self.process } else { &self.file };
        variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Names a variable and its file for a message: "`NAME`" or "`NAME` in `.env`".
    pub fn source(&self, name: &str) -> String {
        if self.process.contains_key(name) || !self.file.contains_key(name) {
            format!("`{name}`")
        } else {
            format!("`{name}` in `{}`", self.file_name)
        }
    }

    #[cfg(test)]
    fn of(process: &[(&str, &str)], file: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { process: owned(process), file: owned(file), file_name: ENV_FILE.to_owned() }
    }
}

/// Returns the cause without the text of the line, which can hold a secret.
fn reason(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => error.to_string(),
        _ => "a line is not NAME=value, or its quotes are not closed".to_owned(),
    }
}

impl std::fmt::Debug for Environment {
    /// Shows only the names, because values can be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.process.keys()).entries(self.file.keys()).finish()
    }
}
