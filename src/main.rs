//! The `airun` binary: this server's registry of tasks, handed to the library.

fn main() {}
