//! Prints rows in columns.

use super::output::Output;

/// Rows whose columns are as wide as their widest value, two spaces apart.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Starts a table with the names of the columns.
    pub fn with_header<const N: usize>(names: [&str; N]) -> Self {
        Self { rows: vec![names.map(str::to_owned).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, values: [String; N]) {
        self.rows.push(values.to_vec());
    }

    /// Returns the lines, without trailing white space.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|value| value.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(value, width)| format!("{value:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }

    pub fn print(&self, output: &mut Output) {
        for line in self.lines() {
            output.line(&line);
        }
    }
}

/// Returns the first line of `text`, cut to `characters`. An ellipsis marks omitted text.
pub fn excerpt(text: &str, characters: usize) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    if line.chars().count() <= characters && line.len() == text.trim().len() {
        return line.to_owned();
    }
    let cut: String = line.chars().take(characters.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let mut table = Table::with_header(["id", "kind", "error"]);
        table.row(["7".to_owned(), "ö".to_owned(), String::new()]);
        table.row(["1234".to_owned(), "x".to_owned(), "no".to_owned()]);
        assert_eq!(table.lines(), ["id    kind  error", "7     ö", "1234  x     no"]);
    }

    #[test]
    fn an_excerpt_ends_with_an_ellipsis_if_text_is_omitted() {
        assert_eq!(excerpt("short\n", 10), "short");
        assert_eq!(excerpt("one\ntwo", 10), "one…");
        assert_eq!(excerpt("one two three", 9), "one two…");
    }
}
