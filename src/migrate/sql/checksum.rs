//! Checksums over tokens, so that adding a comment or white space doesn't change them.

use sha2::{Digest, Sha256};

use super::lexer::tokens;

/// SHA-256 of the tokens of one statement.
pub fn statement_digest(sql: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut buffer = Vec::with_capacity(BUFFER);
    for token in tokens(sql) {
        // The length distinguishes `ab c` from `a bc`.
        let length = token.text.len() as u64;
        buffer.extend_from_slice(&length.to_le_bytes()[..if length < 0xff { 1 } else { 8 }]);
        buffer.extend_from_slice(token.text.as_bytes());
        if buffer.len() >= BUFFER {
            hash.update(&buffer);
            buffer.clear();
        }
    }
    hash.update(&buffer);
    hash.finalize().into()
}

const BUFFER: usize = 8 * 1024;

/// SHA-256 of the digests of all statements that were added.
#[derive(Debug, Clone, Default)]
pub struct Checksum(Sha256);

impl Checksum {
    /// Adds the next statement.
    pub fn add(&mut self, sql: &str) {
        self.0.update(statement_digest(sql));
    }

    /// Returns the checksum of the statements added so far.
    pub fn so_far(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_ignores_comments_and_white_space() {
        let digest = statement_digest("CREATE TABLE t (a INT)");
        assert_eq!(digest, statement_digest("CREATE  TABLE\n t(a INT) -- why"));
        assert_eq!(digest, statement_digest("CREATE /* x */ TABLE t ( a INT )"));
        for other in ["CREATE TABLE t (b INT)", "CREATE TABLE `t` (a INT)", "/*!50001 CREATE TABLE t (a INT) */"] {
            assert_ne!(digest, statement_digest(other), "{other}");
        }
        assert_ne!(statement_digest("ab c"), statement_digest("a bc"));
        assert_ne!(statement_digest("'a' 'b'"), statement_digest("'a''b'"));
        assert_ne!(statement_digest("' '"), statement_digest("'  '"));
    }
}
