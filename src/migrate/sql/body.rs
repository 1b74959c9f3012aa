//! Finds the end of a routine's body, so that it needs no `DELIMITER`.
//!
//! It is given the words and marks of a statement one after another. `BEGIN`, `CASE`, `IF`, `LOOP`, `WHILE`, `REPEAT` and MariaDB's
//! `FOR` open a block, `END` closes one. Most of these words can be functions or names too, so the text before them
//! decides.

/// State of the statement so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Body {
    phase: Phase,
    /// The open blocks, innermost last.
    open: Vec<Block>,
    before: Before,
    /// The previous word was `END`, so the next one may name the kind of block.
    after_end: bool,
    /// Inside `DECLARE … HANDLER FOR …`, whose statement follows one of many conditions.
    handler: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No word yet.
    #[default]
    Start,
    /// `CREATE`, before the kind of object.
    Create,
    /// `BEGIN` as the first word: a transaction, or MariaDB's anonymous block.
    BeginFirst,
    /// The statement has a body.
    Routine,
    /// Any other statement.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// It contains statements.
    Statements,
    /// A `CASE` in an expression: `THEN IF(a, b, c)` in it is a function.
    Expression,
}

/// The context of the next word.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A statement can begin here.
    StatementStart,
    /// `.`, `@`, `=`: a name follows.
    Name,
    #[default]
    Other,
}

/// Words after which a statement can begin: inside a body, or as the body itself after a routine's characteristics.
const STATEMENT_FOLLOWS: [&str; 9] =
    ["THEN", "ELSE", "DO", "ROW", "DETERMINISTIC", "DATA", "SQL", "DEFINER", "INVOKER"];

impl Body {
    /// True if a delimiter here would be part of a body.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Adds a quoted name or text.
    pub(super) fn quoted(&mut self) {
        self.start_plain();
        // A procedure's `COMMENT 'x'` can come just before its body.
        self.before = if self.open.is_empty() { Before::StatementStart } else { Before::Other };
        self.after_end = false;
    }

    /// Adds a character that is not part of a word.
    pub(super) fn mark(&mut self, byte: u8) {
        self.start_plain();
        self.handler = self.handler && byte != b';';
        self.before = match byte {
            b';' | b':' => Before::StatementStart,
            // The end of the parameters.
            b')' if self.open.is_empty() => Before::StatementStart,
            b'.' | b'@' => Before::Name,
            // `CREATE DEFINER = event@localhost …`
            b'=' if self.phase == Phase::Create => Before::Name,
            _ => Before::Other,
        };
        self.after_end = false;
    }

    /// Adds a bare word.
    pub(super) fn word(&mut self, word: &[u8]) {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword.as_bytes());
        match self.phase {
            Phase::Plain => return,
            Phase::Start => {
                self.phase = if is("CREATE") {
                    Phase::Create
                } else if is("BEGIN") {
                    Phase::BeginFirst
                } else {
                    Phase::Plain
                };
                return;
            }
            Phase::BeginFirst => {
                // `BEGIN NOT ATOMIC`
                self.phase = Phase::Plain;
                if is("NOT") {
                    self.phase = Phase::Routine;
                    self.begin();
                }
                return;
            }
            Phase::Create => {
                if self.before != Before::Name {
                    if ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"].into_iter().any(is) {
                        self.phase = Phase::Routine;
                        self.before = Before::Name;
                        return;
                    }
                    let others =
                        ["TABLE", "VIEW", "INDEX", "DATABASE", "SCHEMA", "USER", "ROLE", "SERVER", "TABLESPACE"];
                    if others.into_iter().any(is) {
                        self.phase = Phase::Plain;
                    }
                }
                self.before = Before::Other;
                return;
            }
            Phase::Routine => {}
        }
        let in_expression = self.open.last() == Some(&Block::Expression);
        let at_start = self.before == Before::StatementStart && !in_expression;
        let is_name = self.before == Before::Name;
        let after_end = std::mem::take(&mut self.after_end);
        self.before = Before::Other;
        if is_name || (after_end && ["IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"].into_iter().any(is)) {
            return;
        }
        if is("CASE") {
            self.open.push(if at_start { Block::Statements } else { Block::Expression });
        } else if is("END") {
            self.after_end = self.open.pop().is_some();
        } else if in_expression {
            // An expression contains no statements.
        } else if is("HANDLER") {
            self.handler = true;
        } else if is("LOOP") || is("WHILE") || (is("BEGIN") && (at_start || self.handler || self.open.is_empty())) {
            self.begin();
        } else if at_start && (is("IF") || is("REPEAT") || is("FOR")) {
            self.begin();
            if !is("REPEAT") {
                self.before = Before::Other;
            }
        } else if STATEMENT_FOLLOWS.into_iter().any(is) {
            self.before = Before::StatementStart;
        }
    }

    /// Opens a block whose first statement follows.
    fn begin(&mut self) {
        self.open.push(Block::Statements);
        self.handler = false;
        self.before = Before::StatementStart;
    }

    fn start_plain(&mut self) {
        if matches!(self.phase, Phase::Start | Phase::BeginFirst) {
            self.phase = Phase::Plain;
        }
    }
}
