//! The command line: arguments become a [`Command`], which is carried out; the only place that prints.

mod args;
mod help;
mod migrate;
mod output;
mod suggest;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{bounded, select};

use self::args::Args;
use self::output::{Output, complain};
use crate::config::{self, DatabaseFlags, Environment};
use crate::db::Database;
use crate::error::{Error, Exit, Result};
use crate::shutdown::{self, Shutdown};

const SETTINGS_ADVICE: &str = "no database URL; set `--database-url` or `DATABASE_URL`, as in \
                               mysql://user:password@127.0.0.1:3306/database";

/// The whole program: takes the process's arguments, does what they ask for, and returns the exit code.
pub fn main() -> ExitCode {
    match parse(env::args_os().skip(1).collect()).and_then(carry_out) {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain("error", &error.to_string());
            error.exit().into()
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Command {
    Help(String),
    Version,
    Migrate(migrate::Command),
}

/// A command, and the flags that every command takes.
struct Invocation {
    command: Command,
    database: DatabaseFlags,
    env_file: Option<String>,
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
        url: args.value("--database-url")?,
        tls_mode: args.value("--tls-mode")?,
        tls_ca: args.value("--tls-ca")?.map(PathBuf::from),
    };
    let env_file = args.value("--env-file")?;
    let command = if version { Command::Version } else { command(&mut args, help)? };
    if !help {
        args.finish()?;
    }
    Ok(Invocation { command, database, env_file })
}

const COMMANDS: [&str; 2] = ["migrate", "help"];

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
            let second = args.word()?;
            match second {
                Some(name) if help => help_page(&format!("migrate {name}")),
                Some(name) => Ok(Command::Migrate(migrate::parse(&name, args)?)),
                None if help => help_page("migrate"),
                None => Err(Error::usage(format!("`migrate` needs a command: {}", migrate::COMMANDS.join(", ")))),
            }
        }
        unknown => Err(Error::usage(format!(
            "unknown command `{unknown}`{}; `airun help` lists them",
            suggest::among(unknown, COMMANDS.into_iter())
        ))),
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

fn carry_out(invocation: Invocation) -> Result<Exit> {
    let mut output = Output::default();
    match invocation.command {
        Command::Help(page) => output.raw(&page),
        Command::Version => output.line(&format!("airun {}", env!("CARGO_PKG_VERSION"))),
        command => return in_a_thread(command, invocation.database, invocation.env_file.as_deref()),
    }
    output.finish()?;
    Ok(Exit::Success)
}

/// The command runs in a thread of its own, so that the second signal ends the process whatever that is at.
fn in_a_thread(command: Command, flags: DatabaseFlags, env_file: Option<&str>) -> Result<Exit> {
    let signals = shutdown::on_signals()?;
    let context = Context { environment: Environment::load(env_file)?, flags, stop: signals.stop };
    let (done, result) = bounded(1);
    let running = thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || done.send(dispatch(command, &context)).unwrap_or_default())
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
        recv(signals.abort.receiver()) -> _ => Ok(Exit::Interrupted),
    }
}

fn dispatch(command: Command, context: &Context) -> Result<Exit> {
    match command {
        Command::Migrate(command) => migrate::perform(command, context),
        Command::Help(_) | Command::Version => Ok(Exit::Success),
    }
}

/// A time as people write it: seconds, or with units.
fn duration(flag: &str, text: &str) -> Result<Duration> {
    text.parse::<u64>().map(Duration::from_secs).map_err(|_| {
        Error::usage(format!("`{text}` can't be the value of `{flag}`: give seconds, or as in 30s, 5m, 1h 30m"))
    })
}
