//! Taking arguments apart: pico-args, and what it leaves to its users: unknown flags, doubled ones, swallowed ones.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Error, Result};

use super::suggest;

/// A command's arguments; remembers which flags it was asked for, to suggest them where one is unknown.
pub struct Args {
    left: pico_args::Arguments,
    raw: Vec<OsString>,
    known: Vec<&'static str>,
}

impl Args {
    pub fn new(raw: Vec<OsString>) -> Self {
        Self { left: pico_args::Arguments::from_vec(raw.clone()), raw, known: Vec::new() }
    }

    /// The next word that is no flag.
    pub fn word(&mut self) -> Result<Option<String>> {
        self.left.subcommand().map_err(|_| Error::usage("an argument is not UTF-8"))
    }

    /// All that is left and no flag, once every flag was asked for. A lone `-` and a negative number are words.
    pub fn words(&mut self) -> Result<Vec<String>> {
        let left = std::mem::replace(&mut self.left, pico_args::Arguments::from_vec(Vec::new())).finish();
        let (flags, words): (Vec<OsString>, Vec<OsString>) = left.into_iter().partition(|arg| starts_like_a_flag(arg));
        self.left = pico_args::Arguments::from_vec(flags);
        let text = |word: OsString| word.into_string().map_err(|_| Error::usage("an argument is not UTF-8"));
        words.into_iter().map(text).collect()
    }

    /// Whether `--flag` is there.
    pub fn flag(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        self.left.contains(name)
    }

    /// Whether `-x` or `--long` is there.
    pub fn short_flag(&mut self, short: &'static str, long: &'static str) -> bool {
        self.known.extend([short, long]);
        self.left.contains([short, long])
    }

    /// The value of `--name VALUE` or `--name=VALUE`.
    pub fn value(&mut self, name: &'static str) -> Result<Option<String>> {
        self.known.push(name);
        // pico-args would take the next flag for the value.
        let swallows = self.raw.windows(2).any(|pair| pair[0] == name && starts_like_a_flag(&pair[1]));
        let none = self.raw.last().is_some_and(|last| last == name);
        if swallows || none {
            return Err(Error::usage(format!(
                "`{name}` needs a value; a value that begins with `-` is given as {name}=…"
            )));
        }
        match self.left.opt_value_from_str(name) {
            Ok(value) => Ok(value),
            Err(pico_args::Error::NonUtf8Argument) => Err(Error::usage(format!("the value of `{name}` is not UTF-8"))),
            Err(_) => Err(Error::usage(format!("`{name}` needs a value"))),
        }
    }

    /// As [`Args::value`], parsed.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value
            .parse()
            .map(Some)
            .map_err(|error| Error::usage(format!("`{value}` can't be the value of `{name}`: {error}")))
    }

    /// `--name` alone, or `--name=VALUE`: its value is no argument of its own.
    pub fn optional_value(&mut self, name: &'static str) -> Result<Option<Option<String>>> {
        self.known.push(name);
        if self.left.contains(name) {
            return Ok(Some(None));
        }
        let prefix = format!("{name}=");
        let given = self.raw.iter().filter_map(|arg| arg.to_str()).any(|arg| arg.starts_with(&prefix));
        if !given {
            return Ok(None);
        }
        Ok(self.value(name)?.map(Some))
    }

    /// Ends the taking apart; whatever is left is an error.
    pub fn finish(self) -> Result<()> {
        let Some(left) = self.left.finish().into_iter().next() else { return Ok(()) };
        let left = left.to_string_lossy().into_owned();
        let name = left.split('=').next().unwrap_or_default();
        if !starts_like_a_flag(OsStr::new(&left)) {
            return Err(Error::usage(format!("unexpected argument `{left}`")));
        }
        if self.known.contains(&name) {
            return Err(Error::usage(if left == name {
                format!("`{name}` is given twice")
            } else {
                format!("`{name}` is given twice, or takes no value")
            }));
        }
        // Only the name: what follows a `=` may be a secret.
        Err(Error::usage(format!("unknown flag `{name}`{}", suggest::among(name, self.known.iter().copied()))))
    }
}

fn starts_like_a_flag(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes.len() > 1 && bytes[0] == b'-' && !bytes[1].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn a_flag_is_never_taken_for_a_value() {
        for line in ["--url --verbose", "--url", "x --url -v"] {
            let message = args(line).value("--url").unwrap_err().to_string();
            assert!(message.contains("`--url` needs a value"), "{message}");
        }
        assert_eq!(args("--url=--verbose").value("--url").unwrap().unwrap(), "--verbose");
        assert_eq!(args("--count -1").value("--count").unwrap().unwrap(), "-1");
    }

    #[test]
    fn what_is_left_is_an_error() {
        let finish = |line: &str| {
            let mut args = args(line);
            args.flag("--strict");
            args.value("--dir").unwrap();
            args.finish().map_err(|error| error.to_string())
        };
        assert_eq!(finish("--strict --dir x"), Ok(()));
        assert_eq!(finish("--strct").unwrap_err(), "unknown flag `--strct`; did you mean `--strict`?");
        assert_eq!(finish("--strict --strict").unwrap_err(), "`--strict` is given twice");
        assert_eq!(finish("--dir a --dir b").unwrap_err(), "`--dir` is given twice");
        assert_eq!(finish("--password=secret").unwrap_err(), "unknown flag `--password`");
        assert_eq!(finish("more").unwrap_err(), "unexpected argument `more`");
    }

    #[test]
    fn an_optional_value_is_given_with_an_equals_sign_only() {
        assert_eq!(args("--wait").optional_value("--wait").unwrap(), Some(None));
        assert_eq!(args("--wait=5").optional_value("--wait").unwrap(), Some(Some("5".to_owned())));
        assert_eq!(args("").optional_value("--wait").unwrap(), None);
        let mut both = args("--wait 5");
        assert_eq!(both.optional_value("--wait").unwrap(), Some(None));
        assert_eq!(both.word().unwrap().unwrap(), "5");
        let mut equals = args("--wait=5");
        equals.optional_value("--wait").unwrap();
        equals.finish().unwrap();
    }
}
