//! "Did you mean": the nearest of the known words.

/// `; did you mean …?`, or nothing where no known word is near.
pub fn among<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = |word: &str| (distance(wrong, word), word.len());
    match known.filter(|word| distance(wrong, word) <= 1 + word.len() / 4).min_by_key(|word| near(word)) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => String::new(),
    }
}

/// Insertions, deletions, replacements, and swaps of neighbours that make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_one_step() {
        for (a, b, steps) in
            [("status", "status", 0), ("stauts", "status", 1), ("statu", "status", 1), ("up", "down", 4)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["up", "rollback", "status"];
        assert_eq!(among("stauts", known.into_iter()), "; did you mean `status`?");
        assert_eq!(among("frobnicate", known.into_iter()), "");
    }
}
