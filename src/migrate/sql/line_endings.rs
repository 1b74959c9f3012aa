//! Converts `\r\n` to `\n` as the `mysql` client does, in quoted text too.

use memchr::memmem;

/// Removes the `\r` of each `\r\n` and returns the new length. Any other `\r` stays.
pub(super) fn join_line_endings(bytes: &mut [u8]) -> usize {
    let Some(first) = memmem::find(bytes, b"\r\n") else { return bytes.len() };
    let mut kept = first;
    for at in first..bytes.len() {
        if bytes[at] != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            bytes[kept] = bytes[at];
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_replacing_all_of_them(text in "[ab\r\n]{0,40}") {
            let mut bytes = text.clone().into_bytes();
            let length = join_line_endings(&mut bytes);
            prop_assert_eq!(str::from_utf8(&bytes[..length]).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
