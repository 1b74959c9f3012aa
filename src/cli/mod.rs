//! The command line: arguments become a [`Command`], which is carried out; the only place that prints.

mod args;
mod doctor;
mod exit;
mod help;
mod hide;
mod migrate;
mod output;
mod periodic;
mod suggest;
mod table;
mod task;
mod worker;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};

use self::args::Args;
use self::exit::Exit;
use self::output::{Output, print_error};
use crate::config::{self, DatabaseFlags, Environment};
use crate::db::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::interval;
use crate::observe::logging::{self, Format};
use crate::queue;
use crate::registry::Registry;
use crate::shutdown::{self, Shutdown};

const LOG_FILTER: &str = "info";

const SETTINGS_ADVICE: &str = "no database URL; set `--database-url` or `DATABASE_URL`, as in \
                               mysql://user:password@127.0.0.1:3306/database";

/// The whole program with `registry`'s tasks: takes the process's arguments, does what they ask for, and returns the
/// exit code.
pub fn main(registry: Registry) -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    if let Some((first, rest)) = args.split_first()
        && first == queue::PROGRAM
    {
        let error = queue::become_program(rest);
        print_error("error", &error.to_string());
        return Exit::from(error.kind()).into();
    }
    hide::hide_password(&args);
    match parse(args).and_then(|invocation| run(invocation, registry)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error("error", &error.to_string());
            Exit::from(error.kind()).into()
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Command {
    Help(String),
    Version,
    Migrate(migrate::Command),
    Worker(worker::Command),
    Periodic(periodic::Command),
    Task(task::Command),
    Doctor(doctor::Command),
    /// What a worker calls for a run in a process of its own.
    Errand,
}

/// A command, and the flags that every command takes.
struct Invocation {
    command: Command,
    database: DatabaseFlags,
    env_file: Option<String>,
    log_filter: Option<String>,
    log_format: Option<Format>,
}

/// What a command needs of the process.
struct Context {
    environment: Environment,
    flags: DatabaseFlags,
    /// Closed by the first signal.
    stop: Shutdown,
}

impl Context {
    /// The database, where one is named.
    fn database(&self) -> Result<Option<Database>> {
        config::database(&self.flags, &self.environment)
    }
}

fn parse(raw: Vec<OsString>) -> Result<Invocation> {
    let mut args = Args::new(raw);
    let help = args.short_flag("-h", "--help");
    let version = args.short_flag("-V", "--version");
    let database = DatabaseFlags {
        url: args.value("--database-url")?.or_else(|| env::var(config::URL_FROM_FLAG).ok()),
        tls_mode: args.value("--tls-mode")?,
        tls_ca: args.value("--tls-ca")?.map(PathBuf::from),
    };
    let env_file = args.value("--env-file")?;
    let log_filter = args.value("--log-level")?;
    if let Some(filter) = &log_filter {
        logging::check_filter(filter)?;
    }
    let log_format = args.parsed("--log-format")?;
    let command = if version { Command::Version } else { command(&mut args, help)? };
    if !help {
        args.finish()?;
    }
    Ok(Invocation { command, database, env_file, log_filter, log_format })
}

const COMMANDS: [&str; 6] = ["migrate", "worker", "task", "periodic", "doctor", "help"];

fn command(args: &mut Args, help: bool) -> Result<Command> {
    let Some(first) = args.word()? else {
        return if help { help_page("") } else { Err(Error::usage("no command; `airun help` lists them")) };
    };
    match first.as_str() {
        "help" => {
            let mut path = Vec::new();
            while let Some(word) = args.word()? {
                path.push(word);
            }
            help_page(&path.join(" "))
        }
        "migrate" => {
            let name = second(args, "migrate", &migrate::COMMANDS, help)?;
            match name {
                Some(name) if help => help_page(&format!("migrate {name}")),
                Some(name) => Ok(Command::Migrate(migrate::parse(&name, args)?)),
                None => help_page("migrate"),
            }
        }
        "periodic" => {
            let name = second(args, "periodic", &periodic::COMMANDS, help)?;
            match name {
                Some(name) if !help => Ok(Command::Periodic(periodic::parse(&name, args)?)),
                _ => help_page("periodic"),
            }
        }
        "task" => {
            let name = second(args, "task", &task::COMMANDS, help)?;
            match name {
                Some(name) if help => help_page(&format!("task {name}")),
                Some(name) => Ok(Command::Task(task::parse(&name, args)?)),
                None => help_page("task"),
            }
        }
        "doctor" if help => help_page("doctor"),
        "doctor" => Ok(Command::Doctor(doctor::parse(args)?)),
        queue::HANDLER => Ok(Command::Errand),
        "worker" if help => help_page("worker"),
        "worker" => Ok(Command::Worker(worker::parse(args)?)),
        unknown => Err(Error::usage(format!(
            "unknown command `{unknown}`{}; `airun help` lists them",
            suggest::among(unknown, COMMANDS.into_iter())
        ))),
    }
}

/// The word behind a group's name; only help can do without.
fn second(args: &mut Args, group: &str, commands: &[&str], help: bool) -> Result<Option<String>> {
    match args.word()? {
        None if !help => Err(Error::usage(format!("`{group}` needs a command: {}", commands.join(", ")))),
        word => Ok(word),
    }
}

fn help_page(path: &str) -> Result<Command> {
    help::page(path).map(Command::Help).ok_or_else(|| {
        Error::usage(format!(
            "there is no help on `{path}`{}; `airun help` lists the commands",
            suggest::among(path, help::pages())
        ))
    })
}

fn run(invocation: Invocation, registry: Registry) -> Result<Exit> {
    let mut output = Output::default();
    match invocation.command {
        Command::Help(page) => output.raw(&page),
        Command::Version => output.line(&format!("airun {}", env!("CARGO_PKG_VERSION"))),
        _ => return in_a_thread(invocation, registry),
    }
    output.finish()?;
    Ok(Exit::Success)
}

/// The command runs in a thread of its own, so that the second signal ends the process whatever that is at.
fn in_a_thread(invocation: Invocation, registry: Registry) -> Result<Exit> {
    let signals = shutdown::on_signals()?;
    let environment = Environment::load(invocation.env_file.as_deref())?;
    let filter = invocation.log_filter.as_deref().or_else(|| environment.get("RUST_LOG")).unwrap_or(LOG_FILTER);
    logging::start(filter, invocation.log_format.unwrap_or_default())?;
    let context = Context { environment, flags: invocation.database, stop: signals.stop };
    let (done, result) = bounded(1);
    let running = thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || done.send(dispatch(invocation.command, registry, &context)).unwrap_or_default())
        .map_err(|error| Error::failure(format!("failed to start a thread: {error}")))?;
    select! {
        recv(result) -> result => match result {
            Ok(result) => result,
            // Its panic has told why.
            Err(_) => {
                drop(running.join());
                Err(Error::failure("airun has a bug: please report the lines above"))
            }
        },
        recv(signals.abort.receiver()) -> _ => {
            Err(Error::new(ErrorKind::Interrupted, "ended at once by a second signal"))
        }
    }
}

fn dispatch(command: Command, registry: Registry, context: &Context) -> Result<Exit> {
    match command {
        Command::Migrate(command) => migrate::perform(command, context),
        Command::Worker(command) => worker::perform(command, registry, context),
        Command::Periodic(command) => periodic::perform(command, registry, context),
        Command::Task(command) => task::perform(command, registry, context),
        Command::Doctor(command) => doctor::perform(command, context),
        Command::Errand => queue::run_errand(&registry.kinds, &context.stop).map(|()| Exit::Success),
        Command::Help(_) | Command::Version => Ok(Exit::Success),
    }
}

/// A time as people write it: seconds, or with units.
fn duration(flag: &str, text: &str) -> Result<Duration> {
    interval::parse(text).map_err(|error| error.context(format!("the value of `{flag}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command> {
        parse(line.split_whitespace().map(OsString::from).collect()).map(|invocation| invocation.command)
    }

    #[test]
    fn a_slip_is_answered_with_what_was_meant() {
        for (line, expected) in [
            ("", "no command; `airun help` lists them"),
            ("migrat up", "unknown command `migrat`; did you mean `migrate`?; `airun help` lists them"),
            (
                "migrate stauts",
                "unknown command `migrate stauts`; did you mean `status`?; `airun help migrate` lists them",
            ),
            (
                "migrate",
                "`migrate` needs a command: generate, up, rollback, redo, status, check, resolve, baseline, dump",
            ),
            ("migrate up --stric", "unknown flag `--stric`; did you mean `--strict`?"),
            ("migrate up now", "unexpected argument `now`"),
            (
                "migrate up --database-url --strict",
                "`--database-url` needs a value; a value that begins with `-` is given as --database-url=…",
            ),
            (
                "migrate rollback -n 2 --to 20260101000000",
                "`--to` and `-n` are two ways to say how far; give one of them",
            ),
            (
                "migrate up --wait=soon",
                "the value of `--wait`: `soon` is no length of time; write it as in 500ms, 30s, 5m, 1h 30m",
            ),
            (
                "migrate resolve 20260101000000",
                "give one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`",
            ),
            ("worker --hartbeat 5", "unknown flag `--hartbeat`; did you mean `--heartbeat`?"),
            ("periodic run", "a task's name is missing; `airun periodic list` lists them"),
            (
                "help migrate upp",
                "there is no help on `migrate upp`; did you mean `migrate up`?; `airun help` lists the commands",
            ),
        ] {
            let error = parsed(line).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.kind()), (expected, ErrorKind::InvalidInput), "{line}");
        }
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        let before = parsed("--database-url mysql://h/d --log-level=debug migrate up --strict");
        assert_eq!(before.unwrap(), parsed("migrate up --strict").unwrap());
        assert_eq!(parsed("--version").unwrap(), Command::Version);
    }

    #[test]
    fn every_command_has_a_page_and_every_page_a_command() {
        for path in
            ["migrate up -h", "help migrate up", "migrate --help", "worker --help", "periodic run -h", "--help", "help"]
        {
            assert!(matches!(parsed(path).unwrap(), Command::Help(_)), "{path}");
        }
        for name in migrate::COMMANDS {
            assert!(help::page(&format!("migrate {name}")).is_some(), "{name}");
        }
        for name in task::COMMANDS {
            assert!(help::page(&format!("task {name}")).is_some(), "{name}");
        }
    }
}
