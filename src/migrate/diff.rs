//! Shows the difference between an applied script and its file.

use similar::TextDiff;

/// Unchanged lines shown around a change.
const CONTEXT: usize = 1;
/// Maximum number of lines shown.
const LINES_MAX: usize = 40;

/// Returns a unified diff, or a sentence if the journal doesn't hold the old text.
pub fn describe(old: Option<&str>, new: &str) -> String {
    let Some(old) = old else { return "  (no diff: the file was too large to be kept in the journal)".to_owned() };
    let diff =
        TextDiff::from_lines(old, new).unified_diff().missing_newline_hint(false).context_radius(CONTEXT).to_string();
    let mut lines: Vec<&str> = diff.lines().take(LINES_MAX).collect();
    if diff.lines().count() > LINES_MAX {
        lines.push("…");
    }
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
