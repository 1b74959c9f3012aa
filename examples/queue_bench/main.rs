//! Times the queue beside what the server can do at best, in one run on one server; see `scripts/bench`.
//!
//! `BENCH_URL` is the server, `BENCH_LAB` the program whose worker is timed, `BENCH_AIRUN` the one that migrates. Figures are the server's own: from the first
//! claim to the last completion, by the rows' columns.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program to be looked at")]

mod bed;
mod flat;
mod idle;
mod latency;
mod throughput;

use std::env;
use std::error::Error;

use bed::Bed;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let parts: Vec<String> = env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let bed = Bed::new()?;
    println!("server: {}", bed.version()?);
    if wanted("throughput") {
        throughput::show(&bed)?;
    }
    if wanted("latency") {
        latency::show(&bed)?;
    }
    if wanted("idle") {
        idle::show(&bed)?;
    }
    // These need millions of rows, and so minutes.
    if parts.iter().any(|part| part == "flat") {
        flat::show(&bed)?;
    }
    Ok(())
}
