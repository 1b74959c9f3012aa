//! Parses a command line by the table of commands.
//!
//! pico-args splits the arguments. This module adds checks that keep a typing error from doing harm: for unknown flags,
//! flags given twice, and a flag taken for the value of another.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::context::Context;
use super::exit::Exit;
use super::suggest::hint;
use crate::config::Environment;
use crate::duration;
use crate::error::{Error, Result};

/// A row of the table: a command, a group of commands, or a page of help.
pub struct Command {
    /// The words that select it, such as `migrate up`; empty for airun itself.
    pub path: &'static str,
    /// One line for the list of commands. A command with an empty summary is hidden.
    pub summary: &'static str,
    /// The arguments that are not flags: their usage, and the least and the greatest number of them.
    pub arguments: (&'static str, usize, usize),
    pub flags: &'static [Flag],
    /// The text of its page that follows the summary.
    pub help: &'static str,
    pub examples: &'static [&'static str],
    /// The commands of a group.
    pub commands: &'static [Self],
    /// Reads the arguments and runs the command. A group and a page have none.
    pub handler: Option<Handler>,
}

pub type Handler = fn(&mut Context) -> Result<Exit>;

/// A flag, with its help and where its value can come from.
#[derive(Clone, Copy)]
pub struct Flag {
    /// The name with its dashes, such as `--dir`.
    pub name: &'static str,
    /// A short form, such as `-h`.
    pub short: Option<&'static str>,
    pub value: Value,
    pub help: &'static str,
    /// The environment variable that is read if the flag is absent.
    pub variable: Option<&'static str>,
    /// The value if the flag and the variable are absent.
    pub default: Option<&'static str>,
}

/// Whether a flag takes a value, and the value's name in the help.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    None,
    Required(&'static str),
    /// Given as `--flag` or `--flag=VALUE`.
    Optional(&'static str),
}

impl Command {
    pub const EMPTY: Self = Self {
        path: "",
        summary: "",
        arguments: ("", 0, 0),
        flags: &[],
        help: "",
        examples: &[],
        commands: &[],
        handler: None,
    };

    pub const fn new(path: &'static str, summary: &'static str, handler: Handler) -> Self {
        Self { handler: Some(handler), ..Self::EMPTY.named(path, summary) }
    }

    pub const fn group(path: &'static str, summary: &'static str, commands: &'static [Self]) -> Self {
        Self { commands, ..Self::EMPTY.named(path, summary) }
    }

    pub const fn named(self, path: &'static str, summary: &'static str) -> Self {
        Self { path, summary, ..self }
    }

    pub const fn arguments(self, usage: &'static str, min: usize, max: usize) -> Self {
        Self { arguments: (usage, min, max), ..self }
    }

    pub const fn flags(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    pub const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    pub const fn examples(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }

    /// Returns the last word of its path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit(' ').next().unwrap_or(self.path)
    }

    /// Returns the commands and pages of this group that are not hidden.
    pub fn listed(&self) -> impl Iterator<Item = &'static Self> {
        self.commands.iter().filter(|command| !command.summary.is_empty())
    }

    /// `airun migrate up VERSION`
    pub fn usage(&self) -> String {
        let words = ["airun", self.path, self.arguments.0];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn child(&self, word: &str) -> Result<&'static Self> {
        let runs = |command: &&Self| command.handler.is_some() || !command.commands.is_empty();
        if let Some(found) = self.commands.iter().filter(runs).find(|command| command.name() == word) {
            return Ok(found);
        }
        let names = self.listed().filter(runs).map(Self::name);
        let list = format!("`airun {}` lists the commands", ["help", self.path].join(" ").trim_end());
        let command = [self.path, word].join(" ");
        Err(Error::usage(format!("unknown command `{}`{}", command.trim_start(), hint(word, names, &list))))
    }
}

impl Flag {
    /// Creates a flag without a value.
    pub const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { name, short: None, value: Value::None, help, variable: None, default: None }
    }

    /// Creates a flag with a value.
    pub const fn value(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { value: Value::Required(value), ..Self::switch(name, help) }
    }

    /// Creates a flag whose value may be omitted.
    pub const fn optional(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { value: Value::Optional(value), ..Self::switch(name, help) }
    }

    /// Creates a setting: a flag, else a variable, else a default.
    pub const fn setting(name: &'static str, value: &'static str, variable: &'static str, help: &'static str) -> Self {
        Self { variable: Some(variable), ..Self::value(name, value, help) }
    }

    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

/// The arguments of one command, and the environment, from which flags that are not given can get their values.
pub struct Args {
    pub command: &'static Command,
    /// The arguments that are not flags; the table has checked how many there are.
    pub words: Vec<String>,
    pub environment: Environment,
    root: &'static Command,
    flags: Vec<(&'static str, Option<String>)>,
}

/// Reads the arguments of the process by the table of commands, whose root is airun itself.
///
/// # Errors
/// Names the argument that is wrong. The text after a `=` is never repeated, because it can be a secret.
pub fn parse(root: &'static Command, raw: Vec<OsString>) -> Result<Args> {
    let mut parser = Parser { left: pico_args::Arguments::from_vec(raw.clone()), raw, flags: Vec::new() };
    parser.take(root.flags)?;
    let mut command = root;
    while !command.commands.is_empty() {
        let word = parser.left.subcommand().map_err(|_| not_utf8())?;
        let Some(word) = word else { break };
        command = command.child(&word)?;
    }
    let mut words = Vec::new();
    if !parser.flags.iter().any(|(name, _)| *name == "--help") {
        parser.take(command.flags)?;
        words = check_rest(parser.left, root, command)?;
    }
    Ok(Args { command, words, environment: Environment::default(), root, flags: parser.flags })
}

struct Parser {
    left: pico_args::Arguments,
    raw: Vec<OsString>,
    flags: Vec<(&'static str, Option<String>)>,
}

impl Parser {
    fn take(&mut self, flags: &'static [Flag]) -> Result<()> {
        for flag in flags {
            let given = match flag.value {
                Value::None => match flag.short {
                    Some(short) => self.left.contains([short, flag.name]),
                    None => self.left.contains(flag.name),
                }
                .then_some(None),
                Value::Required(_) => self.value(flag.name)?.map(Some),
                Value::Optional(_) if self.left.contains(flag.name) => Some(None),
                Value::Optional(_) if self.has_value(flag.name) => self.value(flag.name)?.map(Some),
                Value::Optional(_) => None,
            };
            self.flags.extend(given.map(|value| (flag.name, value)));
        }
        Ok(())
    }

    /// True if `--name=…` is among the arguments.
    fn has_value(&self, name: &str) -> bool {
        let value = |arg: &OsString| Some(arg.to_str()?.strip_prefix(name)?.starts_with('='));
        self.raw.iter().any(|arg| value(arg) == Some(true))
    }

    /// Returns the value of `--name VALUE` or `--name=VALUE`.
    fn value(&mut self, name: &'static str) -> Result<Option<String>> {
        // pico-args would take the next flag for the value.
        let swallows = self.raw.windows(2).any(|pair| pair[0] == name && is_flag(&pair[1]));
        if swallows || self.raw.last().is_some_and(|last| last == name) {
            return Err(Error::usage(format!(
                "`{name}` needs a value; write a value that begins with `-` as {name}=VALUE"
            )));
        }
        match self.left.opt_value_from_str(name) {
            Ok(value) => Ok(value),
            Err(pico_args::Error::NonUtf8Argument) => Err(Error::usage(format!("the value of `{name}` is not UTF-8"))),
            Err(_) => Err(Error::usage(format!("`{name}` needs a value"))),
        }
    }
}

/// Returns the words that are left after all flags were taken. A lone `-` and a negative number are not flags.
fn check_rest(left: pico_args::Arguments, root: &'static Command, command: &'static Command) -> Result<Vec<String>> {
    let (flags, words): (Vec<OsString>, Vec<OsString>) = left.finish().into_iter().partition(|arg| is_flag(arg));
    if let Some(flag) = flags.first() {
        return Err(wrong_flag(&flag.to_string_lossy(), command.flags.iter().chain(root.flags)));
    }
    let words: Vec<String> =
        words.into_iter().map(OsString::into_string).collect::<Result<_, _>>().map_err(|_| not_utf8())?;
    let (_, min, max) = command.arguments;
    if let Some(word) = words.get(max) {
        return Err(Error::usage(format!("unexpected argument `{word}`; usage: {}", command.usage())));
    }
    if words.len() < min {
        return Err(Error::usage(format!("missing argument; usage: {}", command.usage())));
    }
    Ok(words)
}

/// Explains a flag that no row of the table has taken.
fn wrong_flag(arg: &str, mut known: impl Iterator<Item = &'static Flag> + Clone) -> Error {
    let (name, value) = arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value)));
    let found = known.clone().find(|flag| flag.name == name || flag.short == Some(name));
    Error::usage(match (found, value) {
        (Some(Flag { value: Value::None, .. }), Some(_)) => format!("`{name}` takes no value"),
        (Some(_), _) => format!("`{name}` is given twice"),
        (None, _) => {
            format!("unknown flag `{name}`{}", hint(name, known.by_ref().map(|flag| flag.name), ""))
        }
    })
}

fn not_utf8() -> Error {
    Error::usage("an argument is not UTF-8")
}

fn is_flag(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes.len() > 1 && bytes[0] == b'-' && !bytes[1].is_ascii_digit()
}

impl Args {
    /// True if the flag is on the command line.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| *given == name)
    }

    /// Returns the value on the command line.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(given, _)| *given == name)?.1.as_deref()
    }

    /// Returns the value on the command line, else that of the variable, with the name of the one that is set.
    pub fn set(&self, name: &str) -> Option<(&'static str, &str)> {
        let flag = self.flag(name)?;
        if self.has(name) {
            return Some((flag.name, self.given(name)?));
        }
        flag.variable.and_then(|variable| Some((variable, self.environment.get(variable)?)))
    }

    fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.command.flags.iter().chain(self.root.flags).find(|flag| flag.name == name)
    }

    /// Returns the value, and the flag or the variable that it came from. The default is used if neither is given.
    fn sourced(&self, name: &str) -> Option<(&'static str, &str)> {
        self.set(name).or_else(|| self.flag(name).and_then(|flag| Some((flag.name, flag.default?))))
    }

    /// Returns the value on the command line, else that of the variable, else the default.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.sourced(name).map(|(_, text)| text)
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.value(name).map(str::to_owned)
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// Reads the value with `read`, whose error says how to write it.
    ///
    /// # Errors
    /// Names the flag or the variable, its value and what is wrong with it.
    pub fn read<T, E: Display>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, E>) -> Result<Option<T>> {
        let Some((source, text)) = self.sourced(name) else { return Ok(None) };
        let invalid = |error| Error::usage(format!("invalid value `{text}` for `{source}`: {error}"));
        read(text).map(Some).map_err(invalid)
    }

    /// Reads the value as [`read`](Self::read) does.
    pub fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>> {
        self.read(name, str::parse)
    }

    /// # Errors
    /// Names the flag or the variable, its value and how to write a duration.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some((source, text)) = self.sourced(name) else { return Ok(None) };
        duration::parse(text).map(Some).map_err(|error| error.context(format!("`{source}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ROOT: Command = Command {
        flags: &[Flag { short: Some("-h"), ..Flag::switch("--help", "") }, Flag::value("--url", "URL", "")],
        commands: &[Command::new("go", "goes", |_| Ok(Exit::Success)).arguments("[WHERE]", 0, 1).flags(&[
            Flag::switch("--strict", ""),
            Flag::value("--dir", "FOLDER", ""),
            Flag::value("--count", "N", "").default("3"),
            Flag::optional("--wait", "TIME", ""),
        ])],
        ..Command::EMPTY
    };

    fn parsed(line: &str) -> Result<Args, String> {
        parse(&ROOT, line.split_whitespace().map(OsString::from).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_may_stand_before_the_command_and_after_its_arguments() {
        for line in ["--url u go here --strict", "go --strict here --url u"] {
            let args = parsed(line).unwrap();
            assert_eq!((args.command.path, args.value("--url"), args.has("--strict")), ("go", Some("u"), true));
            assert_eq!(args.words, ["here"]);
        }
    }

    #[test]
    fn a_flag_is_never_taken_for_a_value() {
        for line in ["--url --strict go", "go --url", "go x --url -v"] {
            let message = parsed(line).err().unwrap();
            assert!(message.contains("`--url` needs a value"), "{message}");
        }
        assert_eq!(parsed("go --url=--strict").unwrap().value("--url"), Some("--strict"));
        assert_eq!(parsed("go --count -1").unwrap().value("--count"), Some("-1"));
        assert_eq!(parsed("go").unwrap().value("--count"), Some("3"));
    }

    #[test]
    fn what_is_left_is_an_error() {
        let error = |line: &str| parsed(line).err().unwrap();
        assert_eq!(error("go --strct"), "unknown flag `--strct`; did you mean `--strict`?");
        assert_eq!(error("go --strict --strict"), "`--strict` is given twice");
        assert_eq!(error("go --dir a --dir b"), "`--dir` is given twice");
        assert_eq!(error("go --strict=yes"), "`--strict` takes no value");
        assert_eq!(error("go --password=secret"), "unknown flag `--password`");
        assert_eq!(error("go a b"), "unexpected argument `b`; usage: airun go [WHERE]");
        assert_eq!(error("goo"), "unknown command `goo`; did you mean `go`?");
        assert_eq!(error("xyz"), "unknown command `xyz`; `airun help` lists the commands");
    }

    #[test]
    fn an_optional_value_is_given_with_an_equals_sign_only() {
        let wait = |line: &str| {
            let args = parsed(line).unwrap();
            (args.has("--wait"), args.value("--wait").map(str::to_owned), args.words)
        };
        assert_eq!(wait("go"), (false, None, vec![]));
        assert_eq!(wait("go --wait"), (true, None, vec![]));
        assert_eq!(wait("go --wait 5"), (true, None, vec!["5".to_owned()]));
        assert_eq!(wait("go --wait=5"), (true, Some("5".to_owned()), vec![]));
    }

    #[test]
    fn help_is_given_however_wrong_the_rest_is() {
        let args = parsed("go --nonsense a b c -h").unwrap();
        assert_eq!((args.command.path, args.has("--help")), ("go", true));
    }
}
