//! Checks the splitter's properties on the inputs that the fuzzer finds. `scripts/fuzz` runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/airun/migrate/splitter/properties.rs"]
mod properties;

fuzz_target!(|script: &[u8]| properties::check(script));
