//! Measures the queue's worker, and compares it with the least SQL that makes a queue. `scripts/bench queue` runs it.
//!
//! `BENCH_URL` is the server's URL and `BENCH_LAB` the path of the `lab` example, whose worker is measured. Rates come
//! from the columns of the tasks' rows: from the first claim to the last completion, by the server's clock.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that prints figures and may sleep")]

mod deadline;
mod fixture;
mod flat;
mod idle;
mod latency;
mod throughput;

use std::env;
use std::error::Error;

use fixture::Fixture;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;
type Part = fn(&Fixture) -> Result;

const PARTS: [(&str, Part); 5] = [
    ("throughput", throughput::run),
    ("latency", latency::run),
    ("idle", idle::run),
    ("deadline", deadline::run),
    // Inserts millions of rows, which takes minutes, so it runs only if named.
    ("flat", flat::run),
];

/// Runs the parts that the arguments name, or all but `flat`.
fn main() -> Result {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        return Err(format!("unknown part `{unknown}`").into());
    }
    let fixture = Fixture::new()?;
    println!("server: {}", fixture.server_settings()?);
    for (name, run) in PARTS {
        if wanted.iter().any(|wanted| wanted == name) || wanted.is_empty() && name != "flat" {
            run(&fixture)?;
        }
    }
    Ok(())
}

/// Returns a quantile: the smallest value that at least `share` of the values do not exceed.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}
