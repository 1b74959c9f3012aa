//! Lines end in `\n`, whatever a file says: the `mysql` client reads `\r\n` so, in quoted text too.

use memchr::memmem;

/// Takes the `\r` of each `\r\n` out; returns what is left of the length. A `\r` that stands elsewhere stays.
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

    use super::*;

    proptest! {
        #[test]
        fn the_same_as_replacing_them_all(text in "[ab\r\n]{0,40}") {
            let mut bytes = text.clone().into_bytes();
            let length = join_line_endings(&mut bytes);
            prop_assert_eq!(str::from_utf8(&bytes[..length]).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
