//! Database tasks that do what the tests need of them.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airun::Registry;
use airun::queue::{
    Backoff, CommandTask, DatabaseTask, Enqueue, Failure, Interrupted, Isolation, TaskContext, TaskError,
};
use mysql::TxOpts;
use mysql::prelude::Queryable as _;
use serde::{Deserialize, Serialize};

/// Quick, so that a test needn't wait.
const AGAIN: Backoff = Backoff::constant(Duration::from_millis(50));

/// Takes the quotes off its input, and becomes a shell that runs it.
const SCRIPT: &str = r#"script=$(sed 's/^"//; s/"$//'); exec sh -c "$script" </dev/null"#;

/// Registers them all.
pub fn register(registry: Registry) -> Registry {
    registry
        .task(Noop)
        .task(Echo)
        .task(Clock)
        .task(Once)
        .task(Fails)
        .task(Act::<false>)
        .task(Act::<true>)
        .task(Single)
        .task(Versioned)
        .task(Child)
        .command(CommandTask::new("cat", "cat", [""; 0]))
        .command(CommandTask::new("deaf", "true", [""; 0]))
        .command(CommandTask::new("missing", "no-such-program", [""; 0]).backoff(AGAIN).max_attempts(2))
        // Its payload is a script, as a JSON string that needs no escapes.
        .command(CommandTask::new("script", "sh", ["-c", SCRIPT]).backoff(AGAIN).max_attempts(2))
}

/// Does nothing, as quickly as it can.
struct Noop;

impl DatabaseTask for Noop {
    type Payload = serde_json::Value;
    type Output = ();
    const KIND: &'static str = "noop";

    fn execute(&self, _: Self::Payload, _: &TaskContext<'_>) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Returns its payload.
struct Echo;

impl DatabaseTask for Echo {
    type Payload = serde_json::Value;
    type Output = serde_json::Value;
    const KIND: &'static str = "echo";

    fn execute(&self, payload: Self::Payload, _: &TaskContext<'_>) -> Result<Self::Output, TaskError> {
        Ok(payload)
    }
}

/// Tells when it ran, in microseconds since 1970.
struct Clock;

impl DatabaseTask for Clock {
    type Payload = ();
    type Output = u64;
    const KIND: &'static str = "clock";

    fn execute(&self, (): (), _: &TaskContext<'_>) -> Result<u64, TaskError> {
        Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
    }
}

/// Inserts a row with a unique key into `effects`, in the transaction of its completion.
struct Once;

#[derive(Serialize, Deserialize)]
struct Effect {
    key: u64,
}

impl DatabaseTask for Once {
    type Payload = Effect;
    type Output = ();
    const KIND: &'static str = "once";
    const BACKOFF: Backoff = AGAIN;

    fn execute(&self, effect: Effect, context: &TaskContext<'_>) -> Result<(), TaskError> {
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        transaction.exec_drop("INSERT INTO effects (effect) VALUES (?)", (effect.key,))?;
        context.complete_in(&mut transaction, &())?;
        transaction.commit()?;
        Ok(())
    }
}

/// Fails as it is told.
struct Fails;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Error,
    Panic,
    Fatal,
    RetryAfterMs(u64),
    /// So many times, and then succeeds.
    Times(u32),
}

impl DatabaseTask for Fails {
    type Payload = Way;
    type Output = u32;
    const KIND: &'static str = "fails";
    const BACKOFF: Backoff = AGAIN;
    const MAX_ATTEMPTS: u32 = 3;

    fn execute(&self, way: Way, context: &TaskContext<'_>) -> Result<u32, TaskError> {
        let (attempt, _) = context.attempt();
        match way {
            Way::Panic => panic!("out of paper"),
            Way::Fatal => Err(Failure::fatal("no such lamp").into()),
            Way::RetryAfterMs(ms) if attempt == 1 => {
                Err(Failure::retry_after(Duration::from_millis(ms), "too many requests").into())
            }
            Way::Times(times) if attempt > times => Ok(attempt),
            Way::RetryAfterMs(_) => Ok(attempt),
            Way::Error | Way::Times(_) => Err("the lamp is broken\nERROR forged line".into()),
        }
    }
}

/// Does what its payload says, in a thread (`act`) or in a process (`act_apart`).
struct Act<const APART: bool>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    /// Waits so that it can be interrupted.
    WaitMs(u64),
    /// Waits until the worker wants to stop, and finishes.
    FinishAtStop,
    /// Takes so long, whatever it is told.
    SleepMs(u64),
    /// Never comes back, whatever it is told.
    Hang,
    /// Completes the task in a transaction, and never comes back to commit that.
    HangCompleted,
    /// Completes the task in a transaction that it throws away.
    ForgetToCommit,
    /// Runs a query that takes so long.
    QueryS(u64),
    /// Ends the process by a signal.
    Abort,
    /// Ends the process with an exit code.
    Exit(i32),
    /// Returns so many bytes.
    Return(usize),
    /// Wants to be tried again in so many seconds.
    RetryAfterS(u64),
    /// Starts a process that leaves the group and outlives this one, and hangs.
    Daemon,
    /// Says how far it is, and waits.
    Progress(u64),
    /// Prints what it likes.
    Print,
    /// Returns as if the worker wanted to stop.
    SayStopping,
    /// Returns as if it had lost the task.
    SayLost,
    /// Waits for a row that somebody has locked.
    WaitForRow,
}

impl<const APART: bool> DatabaseTask for Act<APART> {
    type Payload = Deed;
    type Output = String;
    const KIND: &'static str = if APART { "act_apart" } else { "act" };
    const BACKOFF: Backoff = AGAIN;
    const MAX_ATTEMPTS: u32 = 2;
    const ISOLATION: Isolation = if APART { Isolation::Process } else { Isolation::Thread };

    fn execute(&self, deed: Deed, context: &TaskContext<'_>) -> Result<String, TaskError> {
        log::info!("begun in process {}", std::process::id());
        match deed {
            Deed::WaitMs(ms) => context.wait(Duration::from_millis(ms))?,
            Deed::FinishAtStop => {
                let why = context.wait(Duration::MAX).err();
                return Ok(format!("{why:?} {}", context.is_stopping()));
            }
            #[expect(clippy::disallowed_methods, reason = "nothing is to wake it")]
            Deed::SleepMs(ms) => thread::sleep(Duration::from_millis(ms)),
            Deed::Hang => hang(),
            Deed::HangCompleted => {
                let mut conn = context.conn()?;
                let mut transaction = conn.start_transaction(TxOpts::default())?;
                context.complete_in(&mut transaction, &"never")?;
                hang();
            }
            Deed::ForgetToCommit => {
                let mut conn = context.conn()?;
                let mut transaction = conn.start_transaction(TxOpts::default())?;
                context.complete_in(&mut transaction, &"never")?;
            }
            Deed::QueryS(seconds) => {
                // Of one row it would return early instead of failing.
                let rows = "(SELECT 1 AS one UNION SELECT 2) AS two_rows";
                let _: Vec<u8> = context.conn()?.query(format!("SELECT SLEEP({seconds}) FROM {rows}"))?;
            }
            Deed::Abort => std::process::abort(),
            Deed::Exit(code) => std::process::exit(code),
            Deed::Return(bytes) => return Ok("x".repeat(bytes)),
            Deed::RetryAfterS(seconds) => {
                return Err(Failure::retry_after(Duration::from_secs(seconds), "later").into());
            }
            Deed::Daemon => {
                let daemon = std::process::Command::new("setsid").args(["sleep", "1000"]).spawn()?;
                log::info!("started process {}", daemon.id());
                hang();
            }
            Deed::Progress(n) => {
                context.progress(&n)?;
                context.wait(Duration::MAX)?;
            }
            Deed::SayLost => return Err(Interrupted::LeaseLost.into()),
            Deed::WaitForRow => {
                let mut conn = context.conn()?;
                conn.query_drop("SET innodb_lock_wait_timeout = 1000")?;
                conn.query_drop("UPDATE blocked SET id = 2")?;
            }
            Deed::SayStopping => return Err(Interrupted::Stopping.into()),
            #[expect(clippy::print_stdout, reason = "that is what it is to do")]
            Deed::Print => print!("printed\nin two lines"),
        }
        Ok("done".to_owned())
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// One at a time in the whole fleet.
struct Single;

impl DatabaseTask for Single {
    type Payload = u64;
    type Output = ();
    const KIND: &'static str = "single";
    const CONCURRENCY: Option<u32> = Some(1);

    fn execute(&self, ms: u64, context: &TaskContext<'_>) -> Result<(), TaskError> {
        context.conn()?.query_drop("INSERT INTO spans (began) VALUES (UTC_TIMESTAMP(6))")?;
        let waited: Result<(), Interrupted> = context.wait(Duration::from_millis(ms));
        context.conn()?.query_drop("UPDATE spans SET ended = UTC_TIMESTAMP(6) WHERE ended IS NULL")?;
        Ok(waited?)
    }
}

/// Its first version was a number.
struct Versioned;

#[derive(Serialize, Deserialize)]
struct Second {
    number: u64,
}

impl DatabaseTask for Versioned {
    type Payload = Second;
    type Output = u64;
    const KIND: &'static str = "versioned";
    const VERSION: u16 = 2;

    fn decode(version: u16, payload: &str) -> Result<Second, TaskError> {
        Ok(match version {
            1 => Second { number: serde_json::from_str(payload)? },
            _ => serde_json::from_str(payload)?,
        })
    }

    fn execute(&self, payload: Second, _: &TaskContext<'_>) -> Result<u64, TaskError> {
        Ok(payload.number)
    }
}

/// Enqueues others in the transaction of its completion.
struct Child;

impl DatabaseTask for Child {
    type Payload = u64;
    type Output = ();
    const KIND: &'static str = "parent";

    fn execute(&self, children: u64, context: &TaskContext<'_>) -> Result<(), TaskError> {
        let mut conn = context.conn()?;
        let mut transaction = conn.start_transaction(TxOpts::default())?;
        let payloads: Vec<serde_json::Value> = (0..children).map(Into::into).collect();
        Enqueue::<Echo>::new().insert_many(&mut transaction, &payloads)?;
        context.complete_in(&mut transaction, &())?;
        transaction.commit()?;
        Ok(())
    }
}
