//! The command line: finds the command in the table, runs it, and prints what it has to say. Nothing else prints.

mod args;
mod commands;
mod context;
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
use std::process::ExitCode;
use std::thread;

use crossbeam_channel::{bounded, select};

use self::args::{Args, Handler};
use self::commands::ROOT;
use self::context::Context;
use self::exit::Exit;
use self::output::{Output, print_error};
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::logging;
use crate::queue;
use crate::registry::Registry;
use crate::shutdown::{self, Phase};

/// The whole program with the tasks of `registry`: runs the command that the process's arguments name, and returns the
/// exit code.
pub fn main(registry: Registry) -> ExitCode {
    let raw: Vec<OsString> = env::args_os().skip(1).collect();
    let result = match raw.split_first() {
        Some((first, rest)) if first == queue::PROGRAM => Err(queue::become_program(rest)),
        _ => {
            hide::hide_password(&raw);
            args::parse(&ROOT, raw).and_then(|args| run(args, registry))
        }
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error("error", &error.to_string());
            Exit::from(error.kind()).into()
        }
    }
}

fn run(mut args: Args, registry: Registry) -> Result<Exit> {
    if args.has("--help") {
        return print(&help::page(&ROOT, args.command));
    }
    if args.has("--version") {
        return print(&format!("airun {}\n", env!("CARGO_PKG_VERSION")));
    }
    let handler = args.command.handler.ok_or_else(|| missing_command(args.command))?;
    let log_format = args.parsed("--log-format")?.unwrap_or_default();
    if let Some(filter) = args.given("--log-level") {
        logging::check_filter(filter)?;
    }
    args.environment = Environment::load(args.given("--env-file"))?;
    let stop = shutdown::on_signals()?;
    logging::start(args.value("--log-level").unwrap_or_default(), log_format)?;
    run_in_thread(handler, Context { args, registry, stop, output: Output::default() })
}

fn print(text: &str) -> Result<Exit> {
    let mut output = Output::default();
    output.raw(text);
    output.finish().map(|()| Exit::Success)
}

fn missing_command(group: &args::Command) -> Error {
    if group.path.is_empty() {
        return Error::usage("no command; `airun help` lists the commands");
    }
    let names: Vec<&str> = group.listed().map(args::Command::name).collect();
    Error::usage(format!("`{}` needs a command: {}", group.path, names.join(", ")))
}

/// Runs the command in a thread of its own, so that a second signal can end the process during any wait.
fn run_in_thread(handler: Handler, mut context: Context) -> Result<Exit> {
    let abort = context.stop.until(Phase::Killing);
    let (done, result) = bounded(1);
    let running = thread::Builder::new()
        .name("command".to_owned())
        .spawn(move || {
            let result = handler(&mut context).and_then(|exit| context.output.finish().map(|()| exit));
            // This fails only if a second signal is ending the process.
            done.send(result).ok();
        })
        .map_err(|error| Error::failure(format!("failed to start a thread: {error}")))?;
    select! {
        recv(result) -> result => result.unwrap_or_else(|_| {
            // The panic's message is already printed.
            drop(running.join());
            Err(Error::failure("airun panicked, which is a bug; please report the lines above"))
        }),
        recv(abort.receiver()) -> _ => {
            Err(Error::new(ErrorKind::Interrupted, "ended immediately by a second signal"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args> {
        args::parse(&ROOT, line.split_whitespace().map(OsString::from).collect())
    }

    /// Runs a command that has a usage error.
    fn run(line: &str) -> Result<Exit> {
        let args = parsed(line)?;
        let handler = args.command.handler.ok_or_else(|| missing_command(args.command))?;
        let (_trigger, stop) = shutdown::channel();
        handler(&mut Context { args, registry: Registry::new(), stop, output: Output::default() })
    }

    #[test]
    fn a_usage_error_says_what_to_do() {
        for (line, expected) in [
            ("", "no command; `airun help` lists the commands"),
            ("migrat up", "unknown command `migrat`; did you mean `migrate`?"),
            ("migrate stauts", "unknown command `migrate stauts`; did you mean `status`?"),
            ("migrate frob", "unknown command `migrate frob`; `airun help migrate` lists the commands"),
            ("exit-codes", "unknown command `exit-codes`; `airun help` lists the commands"),
            (
                "migrate",
                "`migrate` needs a command: generate, up, rollback, redo, status, check, resolve, baseline, dump",
            ),
            ("migrate up --stric", "unknown flag `--stric`; did you mean `--strict`?"),
            ("migrate up now", "unexpected argument `now`; usage: airun migrate up"),
            (
                "migrate up --database-url --strict",
                "`--database-url` needs a value; write a value that begins with `-` as --database-url=VALUE",
            ),
            ("migrate rollback -n 2 --to 20260101000000", "`--to` and `-n` can't be combined; give one of them"),
            ("migrate up --wait=soon", "`--wait`: invalid duration `soon`; use for example 30s, 5m or 1h 30m"),
            (
                "migrate resolve 20260101000000",
                "give exactly one of `--applied`, `--pending`, `--from-statement K`, `--accept-edit`",
            ),
            ("worker --hartbeat 5", "unknown flag `--hartbeat`; did you mean `--heartbeat`?"),
            ("periodic run", "missing argument; usage: airun periodic run NAME"),
            ("help migrate upp", "no help for `migrate upp`; did you mean `migrate up`?"),
        ] {
            let error = run(line).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.kind()), (expected, ErrorKind::InvalidInput), "{line}");
        }
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        for line in ["--database-url mysql://h/d --log-level=debug migrate up --strict", "migrate up --strict"] {
            assert_eq!(parsed(line).unwrap().command.path, "migrate up");
        }
    }

    #[test]
    fn every_command_has_a_page_that_its_group_lists() {
        for path in help::paths(&ROOT) {
            let words = parsed(&format!("help {path}")).unwrap().words;
            assert_eq!(commands::find(&words).unwrap().path, path);
        }
        let groups = [&ROOT].into_iter().chain(ROOT.commands.iter().filter(|command| !command.commands.is_empty()));
        for group in groups {
            let page = help::page(&ROOT, group);
            for command in group.listed() {
                assert!(page.contains(&format!("{} ", command.name())), "{}", command.path);
                assert!(command.path.ends_with(command.name()) && command.path.starts_with(group.path));
                let page = help::page(&ROOT, command);
                assert!(command.flags.iter().all(|flag| page.contains(flag.name)), "{page}");
                assert!(page.lines().all(|line| line.chars().count() <= 120), "{page}");
            }
        }
    }
}
