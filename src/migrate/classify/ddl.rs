//! Classifies DDL: which objects a statement changes, and how its effect can be verified.

use super::cursor::TokenCursor;
use super::statement::{Ddl, DdlKind, Object, ObjectKind, SessionStatement, StatementKind};

pub fn create(mut cursor: TokenCursor<'_>) -> StatementKind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return StatementKind::Unclassified };
        let kind = match token.upper().as_str() {
            "TEMPORARY" => {
                cursor.skip_words(&["TABLE", "SEQUENCE", "IF", "NOT", "EXISTS"]);
                return cursor.object_name().map_or(StatementKind::Unclassified, |name| {
                    StatementKind::TemporaryTable { dropped: false, names: vec![name] }
                });
            }
            "TABLE" | "VIEW" | "SEQUENCE" => ObjectKind::Table,
            "PROCEDURE" => ObjectKind::Procedure,
            "FUNCTION" => ObjectKind::Function,
            "TRIGGER" => ObjectKind::Trigger,
            "EVENT" => ObjectKind::Event,
            "DATABASE" | "SCHEMA" => ObjectKind::Database,
            "USER" | "ROLE" => ObjectKind::Account,
            "PACKAGE" => {
                cursor.skip_words(&["BODY"]);
                ObjectKind::Package
            }
            "INDEX" => return create_index(cursor),
            "SERVER" | "TABLESPACE" | "LOGFILE" | "RESOURCE" | "REFERENCE" => return StatementKind::Unclassified,
            _ => continue,
        };
        cursor.skip_words(&["IF", "NOT", "EXISTS"]);
        return ddl_on_one(DdlKind::Create, kind, &mut cursor);
    }
    StatementKind::Unclassified
}

fn create_index(mut cursor: TokenCursor<'_>) -> StatementKind {
    cursor.skip_words(&["IF", "NOT", "EXISTS"]);
    let index = cursor.name();
    if !cursor.find_word("ON") {
        return StatementKind::Unclassified;
    }
    match ddl_on_one(DdlKind::Alter, ObjectKind::Table, &mut cursor) {
        StatementKind::Ddl(ddl) => StatementKind::Ddl(Ddl { index, ..ddl }),
        other => other,
    }
}

pub fn alter(mut cursor: TokenCursor<'_>) -> StatementKind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return StatementKind::Unclassified };
        let kind = match token.upper().as_str() {
            "TABLE" | "SEQUENCE" => {
                cursor.skip_words(&["IF", "EXISTS"]);
                return alter_table(cursor);
            }
            "VIEW" => ObjectKind::Table,
            "PROCEDURE" => ObjectKind::Procedure,
            "FUNCTION" => ObjectKind::Function,
            "EVENT" => ObjectKind::Event,
            "DATABASE" | "SCHEMA" => ObjectKind::Database,
            "USER" | "ROLE" => return StatementKind::Idempotent,
            "SERVER" | "TABLESPACE" | "INSTANCE" | "LOGFILE" | "RESOURCE" => return StatementKind::Idempotent,
            _ => continue,
        };
        cursor.skip_words(&["IF", "EXISTS"]);
        let name = cursor.object_name();
        let mut objects: Vec<Object> = name.map(|name| Object { kind, name }).into_iter().collect();
        if kind == ObjectKind::Event && cursor.find_word("RENAME") {
            cursor.skip_words(&["TO"]);
            objects.extend(cursor.object_name().map(|name| Object { kind, name }));
        }
        return ddl(DdlKind::Alter, objects);
    }
    StatementKind::Unclassified
}

fn alter_table(mut cursor: TokenCursor<'_>) -> StatementKind {
    let table = |name| Object { kind: ObjectKind::Table, name };
    let Some(name) = cursor.object_name() else { return StatementKind::Unclassified };
    let mut objects = vec![table(name)];
    let mut ddl_kind = DdlKind::Alter;
    while let Some(token) = cursor.next() {
        match token.upper().as_str() {
            // Not `RENAME COLUMN`, `RENAME INDEX` and `RENAME KEY`.
            "RENAME" if !matches!(cursor.peek_upper().as_deref(), Some("COLUMN" | "INDEX" | "KEY")) => {
                cursor.skip_words(&["TO", "AS"]);
                cursor.take("=");
                objects.extend(cursor.object_name().map(table));
                ddl_kind = DdlKind::Move;
            }
            "EXCHANGE" if cursor.find_word("WITH") => {
                cursor.skip_words(&["TABLE"]);
                // The partitioned table keeps its definition and identity; only the other table's identity changes.
                objects = cursor.object_name().map(table).into_iter().collect();
                ddl_kind = DdlKind::Move;
            }
            _ => {}
        }
    }
    ddl(ddl_kind, objects)
}

pub fn drop_objects(mut cursor: TokenCursor<'_>) -> StatementKind {
    let mut temporary = false;
    let kind = loop {
        break match cursor.word().as_deref() {
            Some("TEMPORARY") => {
                temporary = true;
                continue;
            }
            Some("TABLE" | "TABLES" | "VIEW" | "SEQUENCE") => ObjectKind::Table,
            Some("PROCEDURE") => ObjectKind::Procedure,
            Some("FUNCTION") => ObjectKind::Function,
            Some("TRIGGER") => ObjectKind::Trigger,
            Some("EVENT") => ObjectKind::Event,
            Some("DATABASE" | "SCHEMA") => ObjectKind::Database,
            Some("USER" | "ROLE") => ObjectKind::Account,
            Some("PACKAGE") => {
                cursor.skip_words(&["BODY"]);
                ObjectKind::Package
            }
            Some("PREPARE") => return StatementKind::Session(SessionStatement::Other),
            Some("INDEX") => {
                return if cursor.find_word("ON") {
                    ddl_on_one(DdlKind::Alter, ObjectKind::Table, &mut cursor)
                } else {
                    StatementKind::Unclassified
                };
            }
            _ => return StatementKind::Unclassified,
        };
    };
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(name) = cursor.account_or_name(kind) {
        objects.push(Object { kind, name });
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
    match cursor.word().as_deref() {
        Some("TABLE" | "TABLES") => {}
        _ => return StatementKind::Unclassified,
    }
    cursor.skip_words(&["IF", "EXISTS"]);
    let mut objects = Vec::new();
    while let Some(name) = cursor.object_name() {
        let object = Object { kind: ObjectKind::Table, name };
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

fn ddl_on_one(ddl_kind: DdlKind, kind: ObjectKind, cursor: &mut TokenCursor<'_>) -> StatementKind {
    ddl(ddl_kind, cursor.account_or_name(kind).map(|name| Object { kind, name }).into_iter().collect())
}

fn ddl(ddl_kind: DdlKind, objects: Vec<Object>) -> StatementKind {
    if objects.is_empty() {
        StatementKind::Unclassified
    } else {
        StatementKind::Ddl(Ddl { kind: ddl_kind, objects, index: None })
    }
}
