//! What changed between a text that ran and the one that is there now.

use similar::TextDiff;

/// Lines around a change.
const CONTEXT: usize = 1;
/// Lines shown, at most.
const LINES_MAX: usize = 40;

/// A unified diff, or a sentence where the old text wasn't kept.
pub fn describe(old: Option<&str>, new: &str) -> String {
    let Some(old) = old else { return "  (the file was too large to keep what it said)".to_owned() };
    let diff =
        TextDiff::from_lines(old, new).unified_diff().missing_newline_hint(false).context_radius(CONTEXT).to_string();
    let mut lines: Vec<&str> = diff.lines().take(LINES_MAX).collect();
    if diff.lines().count() > LINES_MAX {
        lines.push("…");
    }
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
