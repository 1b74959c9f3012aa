//! The `airun` binary: this server's registry of tasks, handed to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    airun::main()
}
