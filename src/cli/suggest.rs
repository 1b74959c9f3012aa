//! "Did you mean": the nearest of the known words.

use strsim::osa_distance;

/// `; did you mean …?`, or else `otherwise` if no known word is near enough.
pub fn hint<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let distances = known.map(|word| (osa_distance(wrong, word), word.len(), word));
    match distances.filter(|(distance, length, _)| *distance <= 1 + length / 4).min() {
        Some((.., word)) => format!("; did you mean `{word}`?"),
        None if otherwise.is_empty() => String::new(),
        None => format!("; {otherwise}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["up", "rollback", "status"];
        assert_eq!(hint("stauts", known.into_iter(), "see the list"), "; did you mean `status`?");
        assert_eq!(hint("frobnicate", known.into_iter(), "see the list"), "; see the list");
        assert_eq!(hint("frobnicate", known.into_iter(), ""), "");
    }
}
