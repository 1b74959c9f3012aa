//! The short form of `scripts/chaos`.

use std::env;
use std::process::Command;

use crate::on_both;
use crate::support::{Kind, lab};

on_both! {
    fn workers_that_are_killed_again_and_again_lose_nothing(db) {
        let server = match db.kind {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        };
        let client = env::var(format!("AIRUN_TEST_{}_CLIENT", server.to_uppercase())).unwrap();
        let mut chaos = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/chaos"));
        chaos.args(["workers", "--server", server, "--tasks", "1000", "--seconds", "8"]);
        chaos.env("AIRUN_CHAOS_URL", db.kind.url()).env("AIRUN_CHAOS_CLIENT", client);
        chaos.env("AIRUN_CHAOS_LAB", lab("").get_program());
        let output = chaos.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
