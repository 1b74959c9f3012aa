//! Runs a short form of `scripts/chaos`.

use std::env;
use std::process::Command;

use crate::on_both;
use crate::support::{Kind, lab};

/// Runs `scripts/chaos FORM`, on the server of `url` if given, or else on one that it starts.
fn chaos(kind: Kind, form: &str, seconds: u32, url: Option<String>) {
    let server = kind.name();
    let mut chaos = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/chaos"));
    chaos.args([form, "--server", server, "--tasks", "1000", "--seconds", &seconds.to_string()]);
    chaos.env("AIRUN_CHAOS_LAB", lab("").get_program());
    if let Some(url) = url {
        let client = env::var(format!("AIRUN_TEST_{}_CLIENT", server.to_uppercase())).unwrap();
        chaos.env("AIRUN_CHAOS_URL", url).env("AIRUN_CHAOS_CLIENT", client);
    }
    let output = chaos.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

on_both! {
    #[ignore = "long tier"]
    fn repeatedly_killed_workers_lose_nothing(db) {
        chaos(db.kind, "workers", 8, Some(db.kind.url()));
    }

    #[ignore = "long tier"]
    fn killed_server_loses_nothing(db) {
        chaos(db.kind, "server", 22, None);
    }
}
