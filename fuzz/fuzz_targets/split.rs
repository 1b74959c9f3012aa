//! Feeds the splitter with whatever reaches new code; `scripts/fuzz` runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/airun/migrate/splitter/properties.rs"]
mod properties;

fuzz_target!(|script: &[u8]| properties::check(script));
