//! Walks over a statement's tokens. It knows just enough grammar to find the names in it.

use std::iter::Peekable;

use super::statement::{Object, ObjectKind, ObjectName};
use crate::migrate::sql::{Token, TokenKind, tokens};

/// A position among the code tokens of a statement.
pub struct TokenCursor<'a> {
    tokens: Peekable<Box<dyn Iterator<Item = Token<'a>> + 'a>>,
}

/// True if the token is code, and not a hint or a delimiter of a version comment.
pub fn is_code(token: &Token<'_>) -> bool {
    !matches!(token.kind, TokenKind::VersionOpen | TokenKind::VersionClose | TokenKind::Hint)
}

impl<'a> TokenCursor<'a> {
    pub fn new(sql: &'a str) -> Self {
        let code: Box<dyn Iterator<Item = Token<'a>> + 'a> = Box::new(tokens(sql).filter(is_code));
        Self { tokens: code.peekable() }
    }

    /// Takes the next token.
    // Not an iterator: callers peek and skip between calls.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Token<'a>> {
        self.tokens.next()
    }

    /// Returns the next token in upper case, without taking it.
    pub fn peek_upper(&mut self) -> Option<String> {
        self.tokens.peek().map(Token::upper)
    }

    /// Takes the next token if it is a bare word, and returns it in upper case.
    pub fn word(&mut self) -> Option<String> {
        self.tokens.next_if(|token| token.kind == TokenKind::Word).map(|token| token.upper())
    }

    /// Takes the next token if it is `text`, ignoring case.
    pub fn take(&mut self, text: &str) -> bool {
        self.tokens.next_if(|token| token.text.eq_ignore_ascii_case(text)).is_some()
    }

    /// Skips tokens as long as they are among `words`.
    pub fn skip_words(&mut self, words: &[&str]) {
        while self.tokens.next_if(|token| words.contains(&token.upper().as_str())).is_some() {}
    }

    /// Skips everything up to and including the next bare `word`. Returns false if there is none.
    pub fn find_word(&mut self, word: &str) -> bool {
        self.tokens.by_ref().any(|token| token.kind == TokenKind::Word && token.upper() == word)
    }

    /// Takes a name and unquotes it.
    pub fn name(&mut self) -> Option<String> {
        self.tokens.next_if(|token| token.name().is_some()).and_then(|token| token.name())
    }

    /// Takes `name` or `schema.name`.
    pub fn object_name(&mut self) -> Option<ObjectName> {
        let first = self.name()?;
        if !self.take(".") {
            return Some(ObjectName { schema: None, name: first });
        }
        self.name().map(|name| ObjectName { schema: Some(first), name })
    }

    /// Returns the kind of object that `word`, which was just taken, names.
    pub fn object_kind(&mut self, word: &str) -> Option<ObjectKind> {
        let kind = ObjectKind::from_keyword(word)?;
        if kind == ObjectKind::Package {
            self.skip_words(&["BODY"]);
        }
        Some(kind)
    }

    /// Takes an object's name. An account's name is kept as written, quotes and host included.
    pub fn object(&mut self, kind: ObjectKind) -> Option<Object> {
        if kind != ObjectKind::Account {
            return self.object_name().map(|name| Object { kind, name });
        }
        let mut name = self.tokens.next_if(|token| token.name().is_some())?.text.to_owned();
        if self.take("@") {
            name.push('@');
            name.push_str(self.tokens.next_if(|token| token.name().is_some())?.text);
        }
        Some(Object { kind, name: ObjectName { schema: None, name } })
    }

    /// Takes all remaining tokens, in upper case; quoted ones are empty.
    pub fn rest_upper(&mut self) -> Vec<String> {
        self.tokens.by_ref().map(|token| token.upper()).collect()
    }
}
