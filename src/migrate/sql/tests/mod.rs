//! Tests of the splitter: properties that hold for any input, and comparison with what the servers' own clients send.
//!
//! Inputs are the saved cases of `corpus/` and random scripts from a fixed seed, so that a run is repeatable. With
//! `AIRUN_TEST_EXPLORE=SECONDS` each test also tries new random scripts for that long. Every input
//! that exploration or the fuzzer finds becomes a file in `corpus/`.

pub mod properties;

#[cfg(test)]
mod clients;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod scripts;
