//! Times airun beside what else there is, in one run on one server; `scripts/bench` starts it.
//!
//! `BENCH_URL` is the server, `BENCH_AIRUN` the program that migrates, `BENCH_LAB` the one whose worker is timed,
//! `BENCH_CLIENT` and `BENCH_DBMATE` the migrators beside it.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, reason = "a program to be looked at")]

mod migrate;
mod queue;

use std::env;
use std::error::Error;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((what, [])) if what == "migrate" => migrate::show(),
        Some((what, parts)) if what == "queue" => queue::show(parts),
        _ => Err("usage: bench migrate | bench queue [PART …]".into()),
    }
}

/// The value that a share of `share` of the values doesn't exceed.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}
