//! Checks the splitter's properties on the inputs that the fuzzer finds. `scripts/fuzz` runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| airun::check_splitter(script));
