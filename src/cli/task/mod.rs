//! `airun task …`: its arguments, and what they ask for.

mod change;
mod check;
mod enqueue;
mod kinds;
mod list;
mod operator;
mod show;
mod stats;
mod verify;
mod workers;

use std::time::Duration;

use super::args::Args;
use super::output::Output;
use super::{Context, duration, suggest};
use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::queue::state::State;
use crate::queue::store::admin::Control;
use crate::queue::store::group::Filter;
use crate::queue::{self, Kind, Priority};
use crate::registry::Registry;

/// The version of every `--json` shape of these commands; raised when a field changes its meaning or goes.
const JSON_FORMAT: u32 = 1;

/// What `airun task` is to do.
#[derive(Debug, PartialEq)]
pub struct Command {
    json: bool,
    action: Action,
}

#[derive(Debug, PartialEq)]
enum Action {
    Kinds,
    Enqueue(enqueue::EnqueueArgs),
    List { filter: Filter, limit: usize },
    Show { id: u64 },
    Retry(Chosen),
    Cancel { ids: Vec<u64>, wait: Option<Option<Duration>> },
    Stats { exact: bool },
    Purge { older_than: Option<Duration>, states: Vec<State> },
    Pause(Control),
    Resume(Control),
    Verify,
    Check,
    Workers,
}

/// Which tasks are to be retried.
#[derive(Debug, PartialEq)]
enum Chosen {
    Ids(Vec<u64>),
    Dead { kind: Option<String> },
}

pub const COMMANDS: [&str; 13] = [
    "kinds", "enqueue", "list", "show", "retry", "cancel", "stats", "purge", "pause", "resume", "verify", "check",
    "workers",
];

const LIST: usize = 20;
const LIST_MAX: usize = 10_000;

/// Takes the arguments behind `task NAME` apart.
pub fn parse(name: &str, args: &mut Args) -> Result<Command> {
    let tells = !matches!(name, "retry" | "cancel" | "purge" | "pause" | "resume");
    let json = tells && args.flag("--json");
    let action = match name {
        "kinds" => Action::Kinds,
        "enqueue" => Action::Enqueue(enqueue::parse(args)?),
        "list" => {
            let states = args.value("--state")?.map_or(Ok(Vec::new()), |text| states(&text, &State::ALL))?;
            let filter = Filter { states, kind: args.value("--kind")?, queue: args.value("--queue")? };
            let limit = args.parsed("--limit")?.unwrap_or(LIST);
            if !(1..=LIST_MAX).contains(&limit) {
                return Err(Error::usage(format!("`--limit` is a number from 1 to {LIST_MAX}")));
            }
            Action::List { filter, limit }
        }
        "show" => match ids(args, "task show ID")?.as_slice() {
            [id] => Action::Show { id: *id },
            _ => return Err(Error::usage("`task show` shows one task; give one id")),
        },
        "retry" => Action::Retry(chosen(args)?),
        "cancel" => {
            let wait = match args.optional_value("--wait")? {
                None => None,
                Some(None) => Some(None),
                Some(Some(text)) => Some(Some(duration("--wait", &text)?)),
            };
            Action::Cancel { ids: ids(args, "task cancel ID…")?, wait }
        }
        "stats" => Action::Stats { exact: args.flag("--exact") },
        "purge" => Action::Purge {
            older_than: args.value("--older-than")?.map(|text| duration("--older-than", &text)).transpose()?,
            states: args.value("--state")?.map_or(Ok(State::FINAL.to_vec()), |text| states(&text, &State::FINAL))?,
        },
        "pause" => Action::Pause(control(args, "pause")?),
        "resume" => Action::Resume(control(args, "resume")?),
        "verify" => Action::Verify,
        "check" => Action::Check,
        "workers" => Action::Workers,
        unknown => {
            return Err(Error::usage(format!(
                "unknown command `task {unknown}`{}; `airun help task` lists them",
                suggest::among(unknown, COMMANDS.into_iter())
            )));
        }
    };
    Ok(Command { json, action })
}

/// Does what `command` asks for.
///
/// # Errors
/// Nothing was found to do it to, or the server has something against it.
pub fn perform(command: Command, registry: Registry, context: &Context) -> Result<Exit> {
    registry.check()?;
    let kinds = &registry.kinds;
    let mut output = Output::default();
    let json = command.json;
    let exit = match command.action {
        Action::Kinds => kinds::perform(kinds, context, json, &mut output)?,
        Action::Enqueue(args) => enqueue::perform(args, kinds, context, json, &mut output)?,
        Action::List { filter, limit } => list::perform(&filter, limit, kinds, context, json, &mut output)?,
        Action::Show { id } => show::perform(id, kinds, context, json, &mut output)?,
        Action::Retry(Chosen::Ids(ids)) => change::retry(&ids, context, &mut output)?,
        Action::Retry(Chosen::Dead { kind }) => change::retry_dead(kind, context, &mut output)?,
        Action::Cancel { ids, wait } => change::cancel(&ids, wait, context, &mut output)?,
        Action::Stats { exact } => stats::perform(exact, context, json, &mut output)?,
        Action::Purge { older_than, states } => change::purge(older_than, &states, context, &mut output)?,
        Action::Pause(control) => change::pause(&control, kinds, context, &mut output)?,
        Action::Resume(control) => change::resume(&control, kinds, context, &mut output)?,
        Action::Verify => verify::perform(kinds, context, json, &mut output)?,
        Action::Check => check::perform(kinds, context, json, &mut output)?,
        Action::Workers => workers::perform(context, json, &mut output)?,
    };
    output.finish()?;
    Ok(exit)
}

/// The ids that are left of the arguments.
fn ids(args: &mut Args, usage: &str) -> Result<Vec<u64>> {
    let words = args.words()?;
    if words.is_empty() {
        return Err(Error::usage(format!("a task's id is missing; usage: airun {usage}")));
    }
    let id = |word: &String| {
        word.parse().map_err(|_| {
            Error::usage(format!("`{word}` is no task's id; that is a number, as `airun task list` has it"))
        })
    };
    words.iter().map(id).collect()
}

fn chosen(args: &mut Args) -> Result<Chosen> {
    let (dead, kind) = (args.flag("--dead"), args.value("--kind")?);
    if !dead && kind.is_some() {
        return Err(Error::usage("`--kind` goes with `--dead`"));
    }
    if !dead {
        return Ok(Chosen::Ids(ids(args, "task retry (ID… | --dead [--kind KIND])")?));
    }
    match args.words()?.first() {
        None => Ok(Chosen::Dead { kind }),
        Some(_) => Err(Error::usage("`--dead` takes all dead tasks; give it, or ids")),
    }
}

fn control(args: &mut Args, command: &str) -> Result<Control> {
    let control = match (args.value("--kind")?, args.value("--queue")?) {
        (Some(kind), None) => Control::Kind(kind),
        (None, Some(queue)) => Control::Queue(queue),
        _ => return Err(Error::usage(format!("say what to {command}: `--kind KIND` or `--queue QUEUE`"))),
    };
    let (what, name) = control.parts();
    queue::check_name(what, name)?;
    Ok(control)
}

/// `dead,cancelled`
fn states(text: &str, allowed: &[State]) -> Result<Vec<State>> {
    let state = |name: &str| State::named(name.trim()).filter(|state| allowed.contains(state));
    let found: Option<Vec<State>> = text.split(',').map(state).collect();
    found.ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|state| state.name()).collect();
        Error::usage(format!("`{text}` can't be the value of `--state`; take of {}", names.join(", ")))
    })
}

/// A priority's name; one that there isn't is its number.
fn priority(number: u8) -> String {
    let priority = Priority::ALL.into_iter().find(|priority| *priority as u8 == number);
    priority.map_or_else(|| number.to_string(), |priority| priority.name().to_owned())
}

/// Whether this binary can run tasks of this kind and version.
fn knows(kinds: &[std::sync::Arc<Kind>], name: &str, version: u16) -> bool {
    kinds.iter().any(|kind| kind.name == name && (1..=kind.version).contains(&version))
}

/// `1 task`, `2 tasks`
fn tasks(count: u64) -> String {
    format!("{count} task{}", if count == 1 { "" } else { "s" })
}

/// `1.2s`, of microseconds on either side of now.
fn short(micros: i64) -> String {
    crate::interval::short(Duration::from_micros(micros.unsigned_abs()))
}
