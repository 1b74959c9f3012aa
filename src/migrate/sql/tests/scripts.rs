//! The scripts that the splitter is tested with: saved cases and random ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// The saved cases, and the scripts in the folder that `AIRUN_TEST_SCRIPTS` names, for example a fuzzer's corpus.
pub fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let saved = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/migrate/sql/tests/corpus");
    let given = std::env::var_os("AIRUN_TEST_SCRIPTS").map(PathBuf::from);
    let mut scripts = Vec::new();
    for folder in [Some(saved), given].into_iter().flatten() {
        for entry in fs::read_dir(&folder).expect("the folder of scripts") {
            let path = entry.expect("a script").path();
            let script = fs::read(&path).expect("a script");
            scripts.push((path, script));
        }
    }
    scripts
}

/// Runs `check` on `cases` random scripts, the same ones in every run; then on new ones for as many seconds as
/// `AIRUN_TEST_EXPLORE` says. Panics with the smallest script that fails.
pub fn for_random_scripts(cases: u32, check: impl Fn(&str) -> Result<(), String>) {
    let explore = std::env::var("AIRUN_TEST_EXPLORE").map_or(0, |text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(explore);
    let mut rng_seed = RngSeed::Fixed(1);
    loop {
        let config = Config { cases, rng_seed, failure_persistence: None, ..Config::default() };
        let script = prop_oneof![pieces(), characters()];
        let result = TestRunner::new(config).run(&script, |script| check(&script).map_err(TestCaseError::fail));
        if let Err(error) = result {
            panic!("{error}\nsave the script as a new file in src/migrate/sql/tests/corpus");
        }
        rng_seed = RngSeed::Random;
        if Instant::now() >= end {
            return;
        }
    }
}

/// Comments, version comments, hints and quotes next to delimiters that share characters with them.
fn characters() -> impl Strategy<Value = String> {
    let delimiter = prop::sample::select(vec![
        ";", "/", "//", "*", "**", "*/", "/*", "-", "--", "#", "!", "!!", "+", "'", ";;", "$$", "a", "aa", "/;", "*;",
    ]);
    let piece = prop::sample::select(vec![
        "/",
        "*",
        "!",
        "+",
        "-",
        "#",
        ";",
        "'",
        "\"",
        "`",
        "a",
        "1",
        " ",
        "\n",
        "/*",
        "*/",
        "/*!",
        "/*!50001 ",
        "/*+",
        "-- ",
        "/* c */",
        "/*! v */",
        "/*+ h */",
        "$$",
    ]);
    let part = (delimiter, prop::collection::vec(piece, 0..12));
    prop::collection::vec(part, 1..3).prop_map(|parts| {
        let part =
            |(delimiter, pieces): (&str, Vec<&str>)| format!("\nDELIMITER {delimiter}\n{}{delimiter}", pieces.concat());
        parts.into_iter().map(part).collect()
    })
}

/// Pieces of scripts in any order. Most results are not valid SQL, but the clients send them anyway.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "SELECT 1",
        "a",
        "é",
        "1",
        "'a;b'",
        "'it''s'",
        r"'\';'",
        r#""x\"y;""#,
        "`q;`",
        "`\\`",
        "'# no'",
        "'-- no'",
        "'/* no'",
        "'two\nlines'",
        "'two\r\nlines'",
        "'//'",
        ";",
        ";",
        ";",
        "//",
        "$$",
        " ",
        " ",
        "\n",
        "\n",
        "\r\n",
        "\t",
        "-- c ; '\n",
        "--\n",
        "a --1",
        "--\t;\n",
        "# c ; \"\n",
        "#\n",
        "/* ; ' */",
        "/**/",
        "/*/ ; */",
        "/* a /* b */",
        "/*!40101 x */",
        "/*!50003 y ; z */",
        "/*! ';' */",
        "/*M!100100 w */",
        "SELECT /*+ h ; */ 2",
        "/*M!999999\\- m */",
        "\\G",
        "\\g",
        "\\N",
        "\nDELIMITER //\n",
        "\ndelimiter ;\n",
        "\n  Delimiter $$\r\n",
        "\nDELIMITER ;;\n",
        "\nuse shop\n",
    ]);
    prop::collection::vec(pieces, 1..16).prop_map(|pieces| pieces.concat())
}
