//! A statement's tokens, without comments and white space.

use memchr::{memchr2, memmem};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    /// Its text as written, including quotes.
    pub text: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword, a bare name, or a number.
    Word,
    /// A name in backticks.
    QuotedName,
    /// `'…'` or `"…"`, which may be a name under `ANSI_QUOTES`.
    Text,
    /// `@x`, `` @`x` ``, `@'x'`
    UserVariable,
    /// `@@x`, `@@session.x`
    SystemVariable,
    /// `/*+ … */`
    Hint,
    /// The start of a version comment: `/*!50001`, `/*M!100203`, `/*!`. The text after it is code.
    VersionOpen,
    /// The end of a version comment.
    VersionClose,
    /// Any other character.
    Mark,
}

impl Token<'_> {
    /// Returns the text in upper case if it is a word, a system variable or a mark; otherwise empty.
    pub fn upper(&self) -> String {
        match self.kind {
            TokenKind::Word | TokenKind::SystemVariable | TokenKind::Mark => self.text.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// Returns the unquoted name of a word, a quoted name or a text.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_owned()),
            TokenKind::QuotedName | TokenKind::Text => Some(unquote(self.text)),
            _ => None,
        }
    }

    /// Returns the unquoted name of a user variable.
    pub fn user_variable(&self) -> Option<String> {
        let name = self.text.strip_prefix('@').filter(|_| self.kind == TokenKind::UserVariable)?;
        Some(if name.starts_with(['`', '\'', '"']) { unquote(name) } else { name.to_owned() })
    }
}

/// Returns the tokens of `sql`. An unclosed quote or comment reaches to the end.
pub fn tokens(sql: &str) -> impl Iterator<Item = Token<'_>> + Clone {
    Tokens { sql, at: 0, in_version: false, after_name: false }
}

/// True if `byte` is part of a bare name or number.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// True if `rest` starts with a `--` comment: white space, a control character or the end must follow the dashes.
pub(super) fn is_dash_comment(rest: &[u8]) -> bool {
    rest.starts_with(b"--") && rest.get(2).is_none_or(|&byte| byte <= b' ' || byte == 0x7f)
}

fn unquote(text: &str) -> String {
    let quote = &text[..1];
    let inner = text[1..].strip_suffix(quote).unwrap_or(&text[1..]);
    inner.replace(&quote.repeat(2), quote)
}

#[derive(Clone)]
struct Tokens<'a> {
    sql: &'a str,
    at: usize,
    in_version: bool,
    /// The previous byte ends a name or a text, so an `@` here belongs to a host, not to a variable.
    after_name: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.sql.as_bytes();
        loop {
            let rest = &bytes[self.at..];
            let &first = rest.first()?;
            if first.is_ascii_whitespace() || first == 0x0b {
                self.skip(1);
            } else if first == b'#' || is_dash_comment(rest) {
                self.skip(memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
            } else if rest.starts_with(b"/*") && version_open(rest).is_none() && !rest.starts_with(b"/*+") {
                self.skip(memmem::find(&rest[2..], b"*/").map_or(rest.len(), |end| end + 4));
            } else {
                return Some(self.token(rest));
            }
        }
    }
}

impl<'a> Tokens<'a> {
    fn skip(&mut self, length: usize) {
        self.at += length;
        self.after_name = false;
    }

    fn token(&mut self, rest: &[u8]) -> Token<'a> {
        let (kind, length) = match rest[0] {
            b'`' => (TokenKind::QuotedName, quoted(rest)),
            b'\'' | b'"' => (TokenKind::Text, quoted(rest)),
            b'@' if self.after_name => (TokenKind::Mark, 1),
            b'@' if rest.get(1) == Some(&b'@') => (TokenKind::SystemVariable, 2 + dotted_word(&rest[2..])),
            b'@' => match rest.get(1) {
                Some(b'`' | b'\'' | b'"') => (TokenKind::UserVariable, 1 + quoted(&rest[1..])),
                _ => (TokenKind::UserVariable, 1 + dotted_word(&rest[1..])),
            },
            b'/' if rest.starts_with(b"/*+") => {
                (TokenKind::Hint, memmem::find(&rest[3..], b"*/").map_or(rest.len(), |end| end + 5))
            }
            b'/' if let Some(length) = version_open(rest) => {
                self.in_version = true;
                (TokenKind::VersionOpen, length)
            }
            b'*' if self.in_version && rest.starts_with(b"*/") => {
                self.in_version = false;
                (TokenKind::VersionClose, 2)
            }
            byte if is_word(byte) => (TokenKind::Word, word(rest)),
            _ => (TokenKind::Mark, 1),
        };
        let text = &self.sql[self.at..self.at + length];
        self.at += length;
        self.after_name = matches!(kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::Text);
        Token { kind, text }
    }
}

/// The length of `/*!`, `/*!50001`, `/*M!`, `/*M!100203` at the start of `rest`. `/*M!999999\-` is a message to
/// MariaDB's client, not code.
pub(super) fn version_open(rest: &[u8]) -> Option<usize> {
    let mark = if rest.starts_with(b"/*!") {
        3
    } else if rest.starts_with(b"/*M!") && !rest.starts_with(b"/*M!999999\\-") {
        4
    } else {
        return None;
    };
    Some(mark + rest[mark..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count())
}

fn word(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())
}

fn dotted_word(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| !is_word(byte) && byte != b'.').unwrap_or(rest.len())
}

/// The length of the quoted text at the start of `rest`; a doubled quote is part of it, and so is an escaped one.
fn quoted(rest: &[u8]) -> usize {
    let quote = rest[0];
    let escape = if quote == b'`' { quote } else { b'\\' };
    let mut at = 1;
    while let Some(found) = memchr2(quote, escape, &rest[at..]) {
        at += found;
        if rest[at] != quote {
            at = (at + 2).min(rest.len());
        } else if rest.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    // An escape before a multi-byte character must not cut it.
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql).map(|token| token.text).collect()
    }

    #[test]
    fn version_comments_are_tokens_and_other_comments_are_not() {
        assert_eq!(texts("a -- b\n--c # d\n/* e */f"), ["a", "-", "-", "c", "f"]);
        assert_eq!(texts("/*!50001 CREATE */ VIEW/*!*/"), ["/*!50001", "CREATE", "*/", "VIEW", "/*!", "*/"]);
        assert_eq!(texts("/*M!999999\\- enable the sandbox mode */ x"), ["x"]);
        assert_eq!(texts("SELECT /*+ NO_ICP(t) */ 1"), ["SELECT", "/*+ NO_ICP(t) */", "1"]);
        assert_eq!(texts("2*/* x */3"), ["2", "*", "3"]);
    }

    #[test]
    fn quoted_text_is_one_token() {
        assert_eq!(texts(r"'it''s \' -- ' 'b'"), [r"'it''s \' -- '", "'b'"]);
        assert_eq!(texts("`a``b\\` \"x\\\"y\""), ["`a``b\\`", "\"x\\\"y\""]);
        assert_eq!(texts("'open"), ["'open"]);
        assert_eq!(texts("'é\\é'x"), ["'é\\é'", "x"]);
    }

    #[test]
    fn variables_are_distinguished_from_hosts() {
        let variables = |sql| tokens(sql).filter_map(|token| token.user_variable()).collect::<Vec<_>>();
        assert_eq!(variables("SET @a = @`b c`, @'d' := @@sql_mode"), ["a", "b c", "d"]);
        assert_eq!(variables("CREATE DEFINER=root@localhost PROCEDURE"), [""; 0]);
        assert_eq!(variables("CREATE USER 'u'@'%' IDENTIFIED BY 'x'"), [""; 0]);
    }
}
