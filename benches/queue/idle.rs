//! Measures how many statements idle workers send.

use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable as _;

use crate::Result;
use crate::fixture::Fixture;

const SECONDS: u64 = 20;

pub fn run(fixture: &Fixture) -> Result {
    println!("\nstatements per second that all idle workers send together, as the server counts them");
    fixture.execute("TRUNCATE ai_server_tasks")?;
    for processes in [1, 12] {
        let workers: Result<Vec<_>> = (0..processes).map(|_| fixture.start_worker(&[])).collect();
        let workers = workers?;
        // A worker polls less often once it has counted the others.
        thread::sleep(Duration::from_secs(8));
        let mut conn = fixture.conn()?;
        let mut questions = || -> Result<u64> {
            let (_, value): (String, u64) =
                conn.query_first("SHOW GLOBAL STATUS LIKE 'Questions'")?.ok_or("no counter `Questions`")?;
            Ok(value)
        };
        let before = questions()?;
        thread::sleep(Duration::from_secs(SECONDS));
        // The statement that reads the counter the second time is counted as well.
        let sent = questions()? - before - 1;
        println!("  {processes:>2} workers: {:.1}", sent as f64 / SECONDS as f64);
        drop(workers);
    }
    Ok(())
}
