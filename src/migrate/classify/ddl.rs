//! Classifies DDL: which objects a statement changes, and how its effect can be verified.

use super::cursor::TokenCursor;
use super::statement::{Ddl, DdlKind, Object, ObjectKind, StatementKind};

/// The number of tokens among which the keyword for the kind of object is searched. `OR REPLACE`, a definer and the
/// like may precede it.
const HEAD_MAX: usize = 40;

pub fn create(mut cursor: TokenCursor<'_>) -> StatementKind {
    for _ in 0..HEAD_MAX {
        let word = cursor.next().map(|token| token.upper()).unwrap_or_default();
        match word.as_str() {
            "TEMPORARY" => {
                cursor.skip_words(&["TABLE", "SEQUENCE", "IF", "NOT", "EXISTS"]);
                return cursor.object_name().map_or(StatementKind::Unclassified, |name| {
                    StatementKind::TemporaryTable { dropped: false, names: vec![name] }
                });
            }
            "INDEX" => {
                cursor.skip_words(&["IF", "NOT", "EXISTS"]);
                let index = cursor.name();
                return on_table(cursor, index);
            }
            "SERVER" | "TABLESPACE" | "LOGFILE" | "RESOURCE" | "REFERENCE" => break,
            _ => {}
        }
        if let Some(kind) = cursor.object_kind(&word) {
            cursor.skip_words(&["IF", "NOT", "EXISTS"]);
            return ddl(DdlKind::Create, cursor.object(kind));
        }
    }
    StatementKind::Unclassified
}

pub fn alter(mut cursor: TokenCursor<'_>) -> StatementKind {
    for _ in 0..HEAD_MAX {
        let word = cursor.next().map(|token| token.upper()).unwrap_or_default();
        if matches!(word.as_str(), "SERVER" | "TABLESPACE" | "INSTANCE" | "LOGFILE" | "RESOURCE") {
            return StatementKind::Idempotent;
        }
        let Some(kind) = cursor.object_kind(&word) else { continue };
        cursor.skip_words(&["IF", "EXISTS"]);
        if kind == ObjectKind::Account {
            return StatementKind::Idempotent;
        }
        if matches!(word.as_str(), "TABLE" | "SEQUENCE") {
            return alter_table(cursor);
        }
        let mut objects: Vec<Object> = cursor.object(kind).into_iter().collect();
        if kind == ObjectKind::Event && cursor.find_word("RENAME") {
            cursor.skip_words(&["TO"]);
            objects.extend(cursor.object(kind));
        }
        return ddl(DdlKind::Alter, objects);
    }
    StatementKind::Unclassified
}

fn alter_table(mut cursor: TokenCursor<'_>) -> StatementKind {
    let Some(table) = cursor.object(ObjectKind::Table) else { return StatementKind::Unclassified };
    let mut objects = vec![table];
    let mut ddl_kind = DdlKind::Alter;
    while let Some(token) = cursor.next() {
        match token.upper().as_str() {
            // `RENAME COLUMN`, `RENAME INDEX` and `RENAME KEY` don't rename the table.
            "RENAME" if !matches!(cursor.peek_upper().as_deref(), Some("COLUMN" | "INDEX" | "KEY")) => {
                cursor.skip_words(&["TO", "AS"]);
                cursor.take("=");
                objects.extend(cursor.object(ObjectKind::Table));
                ddl_kind = DdlKind::Move;
            }
            "EXCHANGE" if cursor.find_word("WITH") => {
                cursor.skip_words(&["TABLE"]);
                // The partitioned table keeps its definition and identity; only the other table's identity changes.
                objects = cursor.object(ObjectKind::Table).into_iter().collect();
                ddl_kind = DdlKind::Move;
            }
            _ => {}
        }
    }
    ddl(ddl_kind, objects)
}

pub fn drop_objects(mut cursor: TokenCursor<'_>) -> StatementKind {
    let temporary = cursor.take("TEMPORARY");
    let word = cursor.word().unwrap_or_default();
    let Some(kind) = cursor.object_kind(&word) else {
        return match word.as_str() {
            "PREPARE" => StatementKind::Session,
            "INDEX" => on_table(cursor, None),
            _ => StatementKind::Unclassified,
        };
    };
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(object) = cursor.object(kind) {
        objects.push(object);
        if !cursor.take(",") {
            break;
        }
    }
    if temporary && !objects.is_empty() {
        let names = objects.into_iter().map(|object| object.name).collect();
        return StatementKind::TemporaryTable { dropped: true, names };
    }
    ddl(DdlKind::Drop, objects)
}

pub fn rename(mut cursor: TokenCursor<'_>) -> StatementKind {
    if !matches!(cursor.word().as_deref(), Some("TABLE" | "TABLES")) {
        return StatementKind::Unclassified;
    }
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(object) = cursor.object(ObjectKind::Table) {
        if !objects.contains(&object) {
            objects.push(object);
        }
        while !matches!(cursor.peek_upper().as_deref(), None | Some("TO" | ",")) {
            cursor.next();
        }
        if !(cursor.take(",") || cursor.take("TO")) {
            break;
        }
    }
    ddl(DdlKind::Move, objects)
}

/// `CREATE INDEX index ON table`, `DROP INDEX … ON table`
fn on_table(mut cursor: TokenCursor<'_>, index: Option<String>) -> StatementKind {
    let table = if cursor.find_word("ON") { cursor.object(ObjectKind::Table) } else { None };
    table.map_or(StatementKind::Unclassified, |table| {
        StatementKind::Ddl(Ddl { kind: DdlKind::Alter, objects: vec![table], index })
    })
}

fn ddl(kind: DdlKind, objects: impl IntoIterator<Item = Object>) -> StatementKind {
    let objects: Vec<Object> = objects.into_iter().collect();
    if objects.is_empty() {
        StatementKind::Unclassified
    } else {
        StatementKind::Ddl(Ddl { kind, objects, index: None })
    }
}
