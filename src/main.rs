//! The `airun` binary: this server's registry of tasks, handed to the library.

mod tasks;

use std::process::ExitCode;

fn main() -> ExitCode {
    airun::main(tasks::registry())
}
