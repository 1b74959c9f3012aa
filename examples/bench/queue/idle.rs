//! What idle workers ask of the server.

use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable as _;

use super::bed::Bed;
use crate::Result;

const SECONDS: u64 = 20;

pub fn show(bed: &Bed) -> Result {
    println!("\nstatements a second of idle workers, all together, as the server counts them");
    bed.execute("TRUNCATE ai_server_tasks")?;
    for processes in [1, 12] {
        let workers: Result<Vec<_>> = (0..processes).map(|_| bed.worker(&[])).collect();
        let workers = workers?;
        // Until each has counted the others.
        thread::sleep(Duration::from_secs(8));
        let mut conn = bed.conn()?;
        let mut count = || -> Result<u64> {
            let (_, value): (String, u64) =
                conn.query_first("SHOW GLOBAL STATUS LIKE 'Questions'")?.ok_or("no such counter")?;
            Ok(value)
        };
        let before = count()?;
        thread::sleep(Duration::from_secs(SECONDS));
        // The one that asks for the counter isn't theirs.
        let asked = count()? - before - 1;
        println!("  {processes:>2} workers: {:.1}", asked as f64 / SECONDS as f64);
        drop(workers);
    }
    Ok(())
}
