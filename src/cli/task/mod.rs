//! `airun task …`: the arguments of its commands.

mod change;
mod check;
mod enqueue;
mod kinds;
mod list;
mod queue_conn;
mod show;
mod stats;
mod verify;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::args::{Args, invalid};
use super::context::{Action, Context};
use super::output::{Output, print_error};
use crate::cli::exit::Exit;
use crate::error::{Error, Result};
use crate::queue::state::State;
use crate::queue::store::admin::Control;
use crate::queue::store::group::TaskFilter;
use crate::queue::{self, Kind, Priority};

/// Version of the JSON that `--json` prints. It is raised when a field is removed or changes its meaning.
const JSON_FORMAT: u32 = 1;

/// A kind with a payload version.
#[derive(Serialize, PartialEq, Eq)]
struct KindVersion {
    kind: String,
    version: u16,
}

/// The most tasks that `task list` shows.
const LIST_MAX: usize = 10_000;

pub fn kinds(args: Args) -> Result<Action> {
    let json = args.has("--json");
    action(move |kinds, context, output| kinds::run(kinds, context, json, output))
}

pub fn enqueue(args: Args) -> Result<Action> {
    let json = args.has("--json");
    let args = enqueue::parse(&args)?;
    action(move |kinds, context, output| enqueue::run(args, kinds, context, json, output))
}

pub fn list(args: Args) -> Result<Action> {
    let (json, states) = (args.has("--json"), states(&args, &State::ALL)?.unwrap_or_default());
    let text = |name| args.value(name).map(str::to_owned);
    let filter = TaskFilter { states, kind: text("--kind"), queue: text("--queue") };
    let limit = args.parsed("--limit")?.unwrap_or(LIST_MAX);
    if !(1..=LIST_MAX).contains(&limit) {
        return Err(Error::usage(format!("`--limit` must be from 1 to {LIST_MAX}")));
    }
    action(move |kinds, context, output| list::run(&filter, limit, kinds, context, json, output))
}

pub fn show(args: Args) -> Result<Action> {
    let (id, json) = (ids(&args)?[0], args.has("--json"));
    action(move |kinds, context, output| show::run(id, kinds, context, json, output))
}

pub fn retry(args: Args) -> Result<Action> {
    let kind = args.value("--kind").map(str::to_owned);
    let ids = ids(&args)?;
    match (args.has("--dead"), ids.is_empty()) {
        (true, true) => action(move |_, context, output| change::retry_dead(kind, context, output)),
        (false, false) if kind.is_some() => Err(Error::usage("`--kind` requires `--dead`")),
        (false, false) => action(move |_, context, output| change::retry(&ids, context, output)),
        _ => Err(Error::usage(format!("give either ids or `--dead`; usage: {}", args.command.usage()))),
    }
}

pub fn cancel(args: Args) -> Result<Action> {
    let ids = ids(&args)?;
    let limit = args.duration("--wait")?;
    let wait = args.has("--wait").then_some(limit);
    action(move |_, context, output| change::cancel(&ids, wait, context, output))
}

pub fn stats(args: Args) -> Result<Action> {
    let (exact, json) = (args.has("--exact"), args.has("--json"));
    action(move |_, context, output| stats::run(exact, context, json, output))
}

pub fn purge(args: Args) -> Result<Action> {
    let older_than = args.duration("--older-than")?;
    let states = states(&args, &State::FINAL)?.unwrap_or_else(|| State::FINAL.to_vec());
    action(move |_, context, output| change::purge(older_than, &states, context, output))
}

pub fn pause(args: Args) -> Result<Action> {
    let control = control(&args)?;
    action(move |kinds, context, output| change::pause(&control, kinds, context, output))
}

pub fn resume(args: Args) -> Result<Action> {
    let control = control(&args)?;
    action(move |kinds, context, output| change::resume(&control, kinds, context, output))
}

pub fn verify(args: Args) -> Result<Action> {
    let json = args.has("--json");
    action(move |kinds, context, output| verify::run(kinds, context, json, output))
}

pub fn check(args: Args) -> Result<Action> {
    let json = args.has("--json");
    action(move |kinds, context, output| check::run(kinds, context, json, output))
}

pub fn workers(args: Args) -> Result<Action> {
    let json = args.has("--json");
    action(move |_, context, output| workers::run(context, json, output))
}

/// Runs `work` with the kinds of the registry and an output, and reports an output that failed.
fn action(work: impl FnOnce(&[Arc<Kind>], &Context, &mut Output) -> Result<Exit> + Send + 'static) -> Result<Action> {
    Ok(Box::new(move |registry, context| {
        registry.check()?;
        let mut output = Output::default();
        let exit = work(&registry.kinds, context, &mut output)?;
        output.finish()?;
        Ok(exit)
    }))
}

fn ids(args: &Args) -> Result<Vec<u64>> {
    let id = |word: &String| {
        word.parse().map_err(|_| Error::usage(format!("invalid task id `{word}`; `airun task list` shows the ids")))
    };
    args.words.iter().map(id).collect()
}

fn control(args: &Args) -> Result<Control> {
    let control = match (args.value("--kind"), args.value("--queue")) {
        (Some(kind), None) => Control::Kind(kind.to_owned()),
        (None, Some(queue)) => Control::Queue(queue.to_owned()),
        _ => return Err(Error::usage(format!("give either a kind or a queue; usage: {}", args.command.usage()))),
    };
    let (what, name) = control.parts();
    queue::check_name(what, name)?;
    Ok(control)
}

/// The value of `--state`, for example `dead,cancelled`.
fn states(args: &Args, allowed: &[State]) -> Result<Option<Vec<State>>> {
    let Some(text) = args.value("--state") else { return Ok(None) };
    let state = |name: &str| State::named(name.trim()).filter(|state| allowed.contains(state));
    let found: Option<Vec<State>> = text.split(',').map(state).collect();
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|state| state.name()).collect();
        invalid("--state", text, format!("use {}", names.join(", ")))
    })
}

/// The name of a priority, or its number if it has none.
fn priority_name(number: u8) -> String {
    let priority = Priority::ALL.into_iter().find(|priority| *priority as u8 == number);
    priority.map_or_else(|| number.to_string(), |priority| priority.name().to_owned())
}

/// True if this binary can run tasks of this kind and version.
fn can_run(kinds: &[Arc<Kind>], name: &str, version: u16) -> bool {
    kinds.iter().any(|kind| kind.name == name && (1..=kind.version).contains(&version))
}

/// Prints a note about a pending kind that this binary does not know.
fn note_unknown(KindVersion { kind, version }: &KindVersion) {
    let note = "this binary does not know kind";
    print_error("note", &format!("{note} `{kind}` version {version}; its tasks are left to another binary"));
}

/// A number with its noun, for example `1 task` or `2 tasks`.
fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn count_tasks(number: u64) -> String {
    count(number, "task")
}

fn is_or_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// A time span, before or after now, for example `1.2s`.
fn short(micros: i64) -> String {
    crate::duration::short(Duration::from_micros(micros.unsigned_abs()))
}
