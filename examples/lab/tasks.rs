//! Database tasks whose payloads say how they behave.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airun::mysql::TxOpts;
use airun::mysql::prelude::Queryable as _;
use airun::queue::{
    Backoff, CommandTask, DatabaseTask, Enqueue, Failure, Interrupted, Isolation, TaskContext, TaskPayload,
};
use airun::{Registry, TaskError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Short, so that a test needn't wait.
const SHORT_BACKOFF: Backoff = Backoff::constant(Duration::from_millis(50));

/// Removes the quotes around its input, and becomes a shell that runs it.
const SCRIPT: &str = r#"script=$(sed 's/^"//; s/"$//'); exec sh -c "$script" </dev/null"#;

/// Registers all tasks of this file.
pub fn register(registry: Registry) -> Registry {
    registry
        .task(NoopTask)
        .task(EchoTask)
        .task(ClockTask)
        .task(EffectTask)
        .task(FailTask)
        .task(ActTask::<false>)
        .task(ActTask::<true>)
        .task(SingleTask)
        .task(VersionedTask)
        .task(ParentTask)
        .command(CommandTask::new("cat", "cat", [""; 0]))
        .command(CommandTask::new("ignores_input", "true", [""; 0]))
        .command(CommandTask::new("missing", "no-such-program", [""; 0]).backoff(SHORT_BACKOFF).max_attempts(2))
        // The payload is a script: a JSON string without escapes.
        .command(CommandTask::new("script", "sh", ["-c", SCRIPT]).backoff(SHORT_BACKOFF).max_attempts(2))
}

/// Does nothing, as fast as possible.
struct NoopTask;

#[derive(Serialize, Deserialize)]
struct Noop(Value);

impl TaskPayload for Noop {
    const KIND: &'static str = "noop";
}

impl DatabaseTask for NoopTask {
    type Payload = Noop;
    type Output = ();

    fn execute(&self, _: Noop, _: &TaskContext<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Returns its payload.
struct EchoTask;

#[derive(Serialize, Deserialize)]
struct Echo(Value);

impl TaskPayload for Echo {
    const KIND: &'static str = "echo";
}

impl DatabaseTask for EchoTask {
    type Payload = Echo;
    type Output = Value;

    fn execute(&self, Echo(value): Echo, _: &TaskContext<'_>) -> Result<Value, TaskError> {
        Ok(value)
    }
}

/// Returns when it ran, in microseconds since 1970.
struct ClockTask;

#[derive(Serialize, Deserialize)]
struct Clock;

impl TaskPayload for Clock {
    const KIND: &'static str = "clock";
}

impl DatabaseTask for ClockTask {
    type Payload = Clock;
    type Output = u64;

    fn execute(&self, _: Clock, _: &TaskContext<'_>) -> Result<u64, TaskError> {
        Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
    }
}

/// Inserts a row with a unique key into `effects`, in the transaction that completes the task.
struct EffectTask;

#[derive(Serialize, Deserialize)]
struct Effect {
    key: u64,
}

impl TaskPayload for Effect {
    const KIND: &'static str = "once";
}

impl DatabaseTask for EffectTask {
    type Payload = Effect;
    type Output = ();
    const BACKOFF: Backoff = SHORT_BACKOFF;

    fn execute(&self, effect: Effect, context: &TaskContext<'_>) -> Result<(), TaskError> {
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        transaction.exec_drop("INSERT INTO effects (effect) VALUES (?)", (effect.key,))?;
        context.complete_in(&mut transaction, &())?;
        transaction.commit()?;
        Ok(())
    }
}

/// Fails in the way that its payload names.
struct FailTask;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fail {
    Error,
    Panic,
    Fatal,
    /// Asks for a retry after this many milliseconds, and succeeds then.
    RetryAfterMs(u64),
    /// Fails this many times, and succeeds then.
    Times(u32),
}

impl TaskPayload for Fail {
    const KIND: &'static str = "fails";
}

impl DatabaseTask for FailTask {
    type Payload = Fail;
    type Output = u32;
    const BACKOFF: Backoff = SHORT_BACKOFF;
    const MAX_ATTEMPTS: u32 = 3;

    fn execute(&self, fail: Fail, context: &TaskContext<'_>) -> Result<u32, TaskError> {
        let attempt = context.attempt();
        match fail {
            Fail::Panic => panic!("out of paper"),
            Fail::Fatal => Err(Failure::fatal("no such lamp").into()),
            Fail::RetryAfterMs(ms) if attempt == 1 => {
                Err(Failure::retry_after(Duration::from_millis(ms), "too many requests").into())
            }
            Fail::Times(times) if attempt > times => Ok(attempt),
            Fail::RetryAfterMs(_) => Ok(attempt),
            Fail::Error | Fail::Times(_) => Err("the lamp is broken\nERROR forged line".into()),
        }
    }
}

/// Does what its payload says, in a thread (`act`) or in a process of its own (`act_apart`).
struct ActTask<const APART: bool>;

#[derive(Serialize, Deserialize)]
struct Act<const APART: bool>(Action);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Waits this long, unless it is interrupted.
    WaitMs(u64),
    /// Waits until the worker shuts down, and succeeds.
    FinishAtStop,
    /// Sleeps this long and can't be interrupted.
    SleepMs(u64),
    /// Never returns.
    Hang,
    /// Completes the task in a transaction, and never returns to commit it.
    HangCompleted,
    /// Completes the task in a transaction that is rolled back.
    ForgetToCommit,
    /// Runs a query that takes this many seconds.
    QueryS(u64),
    /// Ends the process with SIGABRT.
    Abort,
    /// Ends the process with this exit code.
    Exit(i32),
    /// Returns this many bytes.
    Return(usize),
    /// Fails, and asks for a retry after this many seconds.
    RetryAfterS(u64),
    /// Starts a process that leaves the process group and survives this one, and then hangs.
    Daemon,
    /// Stores this progress and waits.
    Progress(u64),
    /// Prints two lines to standard output.
    Print,
    /// Claims that the worker is shutting down.
    SayStopping,
    /// Claims that its lease was lost.
    SayLost,
    /// Waits for a row that another session has locked.
    WaitForRow,
}

impl<const APART: bool> TaskPayload for Act<APART> {
    const KIND: &'static str = if APART { "act_apart" } else { "act" };
}

impl<const APART: bool> DatabaseTask for ActTask<APART> {
    type Payload = Act<APART>;
    type Output = String;
    const BACKOFF: Backoff = SHORT_BACKOFF;
    const MAX_ATTEMPTS: u32 = 2;
    const ISOLATION: Isolation = if APART { Isolation::Process } else { Isolation::Thread };

    fn execute(&self, Act(action): Act<APART>, context: &TaskContext<'_>) -> Result<String, TaskError> {
        log::info!("running in process {}", std::process::id());
        match action {
            Action::WaitMs(ms) => context.wait(Duration::from_millis(ms))?,
            Action::FinishAtStop => {
                let reason = context.wait(Duration::MAX).err();
                return Ok(format!("{reason:?} {}", context.is_stopping()));
            }
            #[expect(clippy::disallowed_methods, reason = "the test needs a run that nothing interrupts")]
            Action::SleepMs(ms) => thread::sleep(Duration::from_millis(ms)),
            Action::Hang => hang(),
            Action::HangCompleted => {
                let mut conn = context.conn()?;
                let mut transaction = conn.start_transaction(TxOpts::default())?;
                context.complete_in(&mut transaction, &"never")?;
                hang();
            }
            Action::ForgetToCommit => {
                let mut conn = context.conn()?;
                let mut transaction = conn.start_transaction(TxOpts::default())?;
                context.complete_in(&mut transaction, &"never")?;
            }
            Action::QueryS(seconds) => {
                // With a single row a killed SLEEP returns early instead of failing.
                let rows = "(SELECT 1 AS one UNION SELECT 2) AS two_rows";
                let _: Vec<u8> = context.conn()?.query(format!("SELECT SLEEP({seconds}) FROM {rows}"))?;
            }
            Action::Abort => std::process::abort(),
            Action::Exit(code) => std::process::exit(code),
            Action::Return(bytes) => return Ok("x".repeat(bytes)),
            Action::RetryAfterS(seconds) => {
                return Err(Failure::retry_after(Duration::from_secs(seconds), "later").into());
            }
            Action::Daemon => {
                let daemon = std::process::Command::new("setsid").args(["sleep", "1000"]).spawn()?;
                log::info!("started process {}", daemon.id());
                hang();
            }
            Action::Progress(n) => {
                context.progress(&n)?;
                context.wait(Duration::MAX)?;
            }
            #[expect(clippy::print_stdout, reason = "the test reads it in the worker's log")]
            Action::Print => print!("printed\nin two lines"),
            Action::SayStopping => return Err(Interrupted::Stopping.into()),
            Action::SayLost => return Err(Interrupted::LeaseLost.into()),
            Action::WaitForRow => {
                let mut conn = context.conn()?;
                conn.query_drop("SET innodb_lock_wait_timeout = 1000")?;
                conn.query_drop("UPDATE blocked SET id = 2")?;
            }
        }
        Ok("done".to_owned())
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// Runs at most once at a time among all workers, for as many milliseconds as its payload says.
struct SingleTask;

#[derive(Serialize, Deserialize)]
struct Single(u64);

impl TaskPayload for Single {
    const KIND: &'static str = "single";
}

impl DatabaseTask for SingleTask {
    type Payload = Single;
    type Output = ();
    const CONCURRENCY: Option<u32> = Some(1);

    fn execute(&self, Single(ms): Single, context: &TaskContext<'_>) -> Result<(), TaskError> {
        context.conn()?.query_drop("INSERT INTO spans (began) VALUES (UTC_TIMESTAMP(6))")?;
        let waited = context.wait(Duration::from_millis(ms));
        context.conn()?.query_drop("UPDATE spans SET ended = UTC_TIMESTAMP(6) WHERE ended IS NULL")?;
        Ok(waited?)
    }
}

/// Returns the number in its payload, whose version 1 was the number alone.
struct VersionedTask;

#[derive(Serialize, Deserialize)]
struct Versioned {
    number: u64,
}

impl TaskPayload for Versioned {
    const KIND: &'static str = "versioned";
    const VERSION: u16 = 2;

    fn decode(version: u16, json: &str) -> Result<Self, TaskError> {
        Ok(match version {
            1 => Self { number: serde_json::from_str(json)? },
            _ => serde_json::from_str(json)?,
        })
    }
}

impl DatabaseTask for VersionedTask {
    type Payload = Versioned;
    type Output = u64;

    fn execute(&self, payload: Versioned, _: &TaskContext<'_>) -> Result<u64, TaskError> {
        Ok(payload.number)
    }
}

/// Enqueues as many tasks as its payload says, in the transaction that completes it.
struct ParentTask;

#[derive(Serialize, Deserialize)]
struct Parent(u64);

impl TaskPayload for Parent {
    const KIND: &'static str = "parent";
}

impl DatabaseTask for ParentTask {
    type Payload = Parent;
    type Output = ();

    fn execute(&self, Parent(children): Parent, context: &TaskContext<'_>) -> Result<(), TaskError> {
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        let payloads: Vec<Echo> = (0..children).map(|n| Echo(n.into())).collect();
        Enqueue::new().insert_many(&mut transaction, &payloads)?;
        context.complete_in(&mut transaction, &())?;
        transaction.commit()?;
        Ok(())
    }
}
