//! Tests the command line: usage, settings, the README's examples, `airun doctor` and `airun task`.

mod doctor;
mod readme;
mod settings;
mod task;
mod task_verify;
mod usage;
