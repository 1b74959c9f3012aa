//! `airun task retry | cancel | purge | pause | resume`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::operator::Operator;
use super::tasks;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, print_error};
use crate::cli::suggest::hint;
use crate::cli::worker;
use crate::error::{Error, Result};
use crate::interval;
use crate::queue::Kind;
use crate::queue::state::State;
use crate::queue::store::admin::{self, Cancelled, Control, Retried};
use crate::queue::store::group::{Filter, groups};
use crate::queue::store::{inspect, purge as store};

pub fn retry(ids: &[u64], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let mut exit = Exit::Success;
    for &id in ids {
        let why = match operator.run(|conn| admin::retry(conn, id))? {
            Retried::Done => {
                output.line(&format!("task {id} is pending again"));
                continue;
            }
            Retried::Not => not(&mut operator, id, "dead or cancelled")?,
            Retried::Duplicate => {
                format!(
                    "task {id} has the dedupe key of a task that is alive, so it can't be pending; cancel that one first"
                )
            }
        };
        print_error("error", &why);
        exit = Exit::Failure;
    }
    operator.wake()?;
    Ok(exit)
}

/// Why a task isn't what was expected.
fn not(operator: &mut Operator<'_>, id: u64, expected: &str) -> Result<String> {
    Ok(match operator.run(|conn| inspect::state(conn, id))? {
        Some(state) => format!("task {id} is {}, not {expected}", state.name()),
        None => format!("there is no task {id} in `{}`", operator.database.name),
    })
}

pub fn retry_dead(kind: Option<String>, context: &Context, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let (mut retried, mut duplicates) = (0, 0);
    for group in operator.run(|conn| groups(conn, &admin::dead(kind.clone())))? {
        let mut place = None;
        loop {
            let batch = operator.run(|conn| admin::retry_batch(conn, &group, place.as_ref()))?;
            retried += batch.retried;
            duplicates += batch.duplicates;
            operator.wake()?;
            place = batch.last;
            if place.is_none() {
                break;
            }
            operator
                .wait(Duration::ZERO)
                .map_err(|error| error.context(format!("{} are pending again", tasks(retried))))?;
        }
    }
    output.line(&match retried {
        1 => "1 task is pending again".to_owned(),
        n => format!("{n} tasks are pending again"),
    });
    if duplicates > 0 {
        print_error("note", &format!("{} left dead, since living ones have the same dedupe keys", tasks(duplicates)));
    }
    Ok(Exit::Success)
}

/// Between two looks at a task that is to end.
const LOOK: Duration = Duration::from_millis(100);

pub fn cancel(ids: &[u64], wait: Option<Option<Duration>>, context: &Context, output: &mut Output) -> Result<Exit> {
    let retention = worker::retention(context)?;
    let mut operator = Operator::connect(context)?;
    let mut exit = Exit::Success;
    let mut asked = Vec::new();
    for &id in ids {
        match operator.run(|conn| admin::cancel(conn, id, retention))? {
            Cancelled::AtOnce => output.line(&format!("task {id} is cancelled")),
            Cancelled::Asked => {
                output.line(&format!("task {id} is running; its worker was asked to cancel it"));
                asked.push(id);
            }
            Cancelled::Not => {
                print_error("error", &not(&mut operator, id, "pending or running")?);
                exit = Exit::Failure;
            }
        }
    }
    if let Some(limit) = wait {
        let deadline = limit.map(|limit| Instant::now() + limit);
        for id in asked {
            output.line(&ended(&mut operator, id, deadline)?);
        }
    }
    Ok(exit)
}

/// Waits until a task has ended, and says how.
fn ended(operator: &mut Operator<'_>, id: u64, deadline: Option<Instant>) -> Result<String> {
    loop {
        match operator.run(|conn| inspect::state(conn, id))? {
            Some(state) if state.is_final() => return Ok(format!("task {id} is {}", state.name())),
            Some(_) if deadline.is_none_or(|deadline| Instant::now() < deadline) => operator.wait(LOOK)?,
            Some(state) => {
                return Err(Error::failure(format!(
                    "task {id} is {} still; it ends when its handler looks at `is_cancelled`, or at its timeout",
                    state.name()
                )));
            }
            None => return Ok(format!("task {id} is purged")),
        }
    }
}

pub fn purge(older_than: Option<Duration>, states: &[State], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let mut purged = 0;
    for group in operator.run(|conn| groups(conn, &Filter::states(states)))? {
        let mut place = None;
        loop {
            let more = match older_than {
                None => {
                    let deleted = operator.run(|conn| store::purge_due(conn, &group))?;
                    purged += deleted;
                    deleted > 0
                }
                Some(age) => {
                    let (deleted, last) = operator.run(|conn| store::purge_older(conn, &group, age, place.as_ref()))?;
                    purged += deleted;
                    place = last;
                    place.is_some()
                }
            };
            if !more {
                break;
            }
            operator.wait(Duration::ZERO).map_err(|error| error.context(format!("purged {}", tasks(purged))))?;
        }
    }
    let which = match older_than {
        None => "whose time was up".to_owned(),
        Some(age) => format!("that had ended more than {} before", interval::format(age)),
    };
    output.line(&format!("purged {} {which}", tasks(purged)));
    Ok(Exit::Success)
}

pub fn pause(control: &Control, kinds: &[Arc<Kind>], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let (scope, name) = control.parts();
    warn_unknown(control, kinds);
    let shut = operator.run(|conn| admin::pause(conn, control))?;
    output.line(&if shut {
        format!("the {scope} `{name}` is paused: no more of it is claimed; what runs goes on")
    } else {
        format!("the {scope} `{name}` was paused already")
    });
    Ok(Exit::Success)
}

pub fn resume(control: &Control, kinds: &[Arc<Kind>], context: &Context, output: &mut Output) -> Result<Exit> {
    let mut operator = Operator::connect(context)?;
    let (scope, name) = control.parts();
    let opened = operator.run(|conn| admin::resume(conn, control))?;
    if !opened {
        warn_unknown(control, kinds);
    }
    operator.wake()?;
    output.line(&if opened {
        format!("the {scope} `{name}` goes on")
    } else {
        format!("the {scope} `{name}` was not paused")
    });
    Ok(Exit::Success)
}

/// It may be another binary's, or a slip.
fn warn_unknown(control: &Control, kinds: &[Arc<Kind>]) {
    let known: Vec<&str> = match control {
        Control::Kind(_) => kinds.iter().map(|kind| kind.name.as_str()).collect(),
        Control::Queue(_) => kinds.iter().map(|kind| kind.queue.as_str()).collect(),
    };
    let (scope, name) = control.parts();
    if !known.contains(&name) {
        print_error("note", &format!("this binary has no {scope} `{name}`{}", hint(name, known.into_iter(), "")));
    }
}
