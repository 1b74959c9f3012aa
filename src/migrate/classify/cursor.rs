//! Walks a statement's tokens: just enough grammar to find the names in it.

use std::iter::Peekable;

use super::{ObjectKind, ObjectName};
use crate::migrate::sql::{Token, TokenKind, tokens};

/// A place in a statement.
pub struct Cursor<'a> {
    tokens: Peekable<Box<dyn Iterator<Item = Token<'a>> + 'a>>,
}

/// Whether the token is code, and not the frame of a version comment or a hint.
pub fn is_code(token: &Token<'_>) -> bool {
    !matches!(token.kind, TokenKind::VersionOpen | TokenKind::VersionClose | TokenKind::Hint)
}

impl<'a> Cursor<'a> {
    pub fn new(sql: &'a str) -> Self {
        let code: Box<dyn Iterator<Item = Token<'a>> + 'a> = Box::new(tokens(sql).filter(is_code));
        Self { tokens: code.peekable() }
    }

    /// The next token.
    // Not an iterator: it is looked at and skipped in ways that an iterator has no words for.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Token<'a>> {
        self.tokens.next()
    }

    /// The next token in upper case, left where it is.
    pub fn peek_upper(&mut self) -> Option<String> {
        self.tokens.peek().map(Token::upper)
    }

    /// The next token, if it's a bare word, in upper case.
    pub fn word(&mut self) -> Option<String> {
        self.tokens.next_if(|token| token.kind == TokenKind::Word).map(|token| token.upper())
    }

    /// Takes the next token if it is `text`, in any case.
    pub fn take(&mut self, text: &str) -> bool {
        self.tokens.next_if(|token| token.text.eq_ignore_ascii_case(text)).is_some()
    }

    /// Takes words as long as they are among `words`.
    pub fn skip_words(&mut self, words: &[&str]) {
        while self.tokens.next_if(|token| words.contains(&token.upper().as_str())).is_some() {}
    }

    /// Goes on behind the next bare `word`.
    pub fn find_word(&mut self, word: &str) -> bool {
        self.tokens.by_ref().any(|token| token.kind == TokenKind::Word && token.upper() == word)
    }

    /// A name, unquoted.
    pub fn name(&mut self) -> Option<String> {
        self.tokens.next_if(|token| token.name().is_some()).and_then(|token| token.name())
    }

    /// `name` or `schema.name`.
    pub fn object_name(&mut self) -> Option<ObjectName> {
        let first = self.name()?;
        if !self.take(".") {
            return Some(ObjectName { schema: None, name: first });
        }
        self.name().map(|name| ObjectName { schema: Some(first), name })
    }

    /// A name; an account's is kept as it is written, with its host.
    pub fn account_or_name(&mut self, kind: ObjectKind) -> Option<ObjectName> {
        if kind != ObjectKind::Account {
            return self.object_name();
        }
        let mut name = self.tokens.next_if(|token| token.name().is_some())?.text.to_owned();
        if self.take("@") {
            name.push('@');
            name.push_str(self.tokens.next_if(|token| token.name().is_some())?.text);
        }
        Some(ObjectName { schema: None, name })
    }

    /// The rest of the tokens in upper case; quoted ones are empty.
    pub fn rest_upper(&mut self) -> Vec<String> {
        self.tokens.by_ref().map(|token| token.upper()).collect()
    }

    /// `CREATE … TABLE name (`: its `LIKE` or `SELECT` would have come before the parenthesis.
    pub fn takes_plain_create(mut self) -> bool {
        self.word().as_deref() == Some("CREATE")
            && self.find_word("TABLE")
            && {
                self.skip_words(&["IF", "NOT", "EXISTS"]);
                self.object_name().is_some() && self.take("(")
            }
            && !self.rest_upper().iter().any(|word| matches!(word.as_str(), "SELECT" | "LIKE"))
    }
}
