//! Settings: flag, else environment, else `.env`, else default. A `.env` never overrides the real environment.

mod database;
mod url;

use std::collections::HashMap;
use std::env;
use std::path::Path;

pub use database::{DatabaseFlags, URL_FROM_FLAG, database};

use crate::error::{Error, Result};

/// The file that is read from the current folder where `--env-file` names no other.
const ENV_FILE: &str = ".env";

/// The environment's variables, and those of the `.env` file behind them.
#[derive(Default)]
pub struct Environment {
    process: HashMap<String, String>,
    file: HashMap<String, String>,
    file_name: String,
}

impl Environment {
    /// The process's own environment and `env_file`, or `.env` if it's there.
    ///
    /// # Errors
    /// Fails where a named file can't be read, or a file is no list of `NAME=value`.
    pub fn load(env_file: Option<&str>) -> Result<Self> {
        let name = env_file.unwrap_or(ENV_FILE);
        let mut file = HashMap::new();
        if env_file.is_some() || Path::new(name).exists() {
            // The error's own text would quote the line, and so a secret.
            let unreadable = |_| Error::usage(format!("failed to read `{name}`: it must hold lines of NAME=value"));
            for pair in dotenvy::from_path_iter(name).map_err(unreadable)? {
                let (key, value) = pair.map_err(unreadable)?;
                file.insert(key, value);
            }
        }
        // A variable that isn't UTF-8 is none of ours.
        let process =
            env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        Ok(Self { process: process.collect(), file, file_name: name.to_owned() })
    }

    /// The variable's value; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        let set = |variables: &'_ HashMap<String, String>| variables.contains_key(name);
        let variables = if set(&self.process) { &self.process } else { &self.file };
        variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where the variable's value comes from, for messages: "`NAME`" or "`NAME` in `.env`".
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

impl std::fmt::Debug for Environment {
    /// Names only: values can be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.process.keys()).entries(self.file.keys()).finish()
    }
}
