//! The default tier runs the same few cases each time; `scripts/test --all` runs all of them, and random ones.

use proptest::test_runner::Config;

/// True for `scripts/test --all`.
pub fn is_long() -> bool {
    std::env::var_os("AIRUN_TEST_ALL").is_some()
}

/// Returns the configuration of a property test whose cases are slow: a tenth of the `cases` in the default tier.
pub fn slow_property(cases: u32) -> Config {
    Config { cases: if is_long() { cases } else { cases / 10 }, ..Config::default() }
}
