//! Statements that define objects: which, and how it shows that they have happened.

use super::cursor::Cursor;
use super::{Definition, Kind, Object, ObjectKind, Session, Shape};

pub fn create(mut cursor: Cursor<'_>) -> Kind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return Kind::Opaque };
        let kind = match token.upper().as_str() {
            "TEMPORARY" => {
                cursor.skip_words(&["TABLE", "SEQUENCE", "IF", "NOT", "EXISTS"]);
                return cursor
                    .object_name()
                    .map_or(Kind::Opaque, |name| Kind::TemporaryTable { dropped: false, names: vec![name] });
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
            "SERVER" | "TABLESPACE" | "LOGFILE" | "RESOURCE" | "REFERENCE" => return Kind::Opaque,
            _ => continue,
        };
        cursor.skip_words(&["IF", "NOT", "EXISTS"]);
        return one(Shape::Create, kind, &mut cursor);
    }
    Kind::Opaque
}

fn create_index(mut cursor: Cursor<'_>) -> Kind {
    cursor.skip_words(&["IF", "NOT", "EXISTS"]);
    let index = cursor.name();
    if !cursor.find_word("ON") {
        return Kind::Opaque;
    }
    match one(Shape::Alter, ObjectKind::Table, &mut cursor) {
        Kind::Definition(definition) => Kind::Definition(Definition { index, ..definition }),
        other => other,
    }
}

pub fn alter(mut cursor: Cursor<'_>) -> Kind {
    let mut words_left = 40;
    while words_left > 0 {
        words_left -= 1;
        let Some(token) = cursor.next() else { return Kind::Opaque };
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
            "USER" | "ROLE" => return Kind::Repeatable,
            "SERVER" | "TABLESPACE" | "INSTANCE" | "LOGFILE" | "RESOURCE" => return Kind::Repeatable,
            _ => continue,
        };
        cursor.skip_words(&["IF", "EXISTS"]);
        let name = cursor.object_name();
        let mut objects: Vec<Object> = name.map(|name| Object { kind, name }).into_iter().collect();
        if kind == ObjectKind::Event && cursor.find_word("RENAME") {
            cursor.skip_words(&["TO"]);
            objects.extend(cursor.object_name().map(|name| Object { kind, name }));
        }
        return definition(Shape::Alter, objects);
    }
    Kind::Opaque
}

fn alter_table(mut cursor: Cursor<'_>) -> Kind {
    let table = |name| Object { kind: ObjectKind::Table, name };
    let Some(name) = cursor.object_name() else { return Kind::Opaque };
    let mut objects = vec![table(name)];
    let mut shape = Shape::Alter;
    while let Some(token) = cursor.next() {
        match token.upper().as_str() {
            // Not `RENAME COLUMN`, `RENAME INDEX` and `RENAME KEY`.
            "RENAME" if !matches!(cursor.peek_upper().as_deref(), Some("COLUMN" | "INDEX" | "KEY")) => {
                cursor.skip_words(&["TO", "AS"]);
                cursor.take("=");
                objects.extend(cursor.object_name().map(table));
                shape = Shape::Move;
            }
            "EXCHANGE" if cursor.find_word("WITH") => {
                cursor.skip_words(&["TABLE"]);
                // The partitioned table keeps its looks and its identity; the other one's identity tells.
                objects = cursor.object_name().map(table).into_iter().collect();
                shape = Shape::Move;
            }
            _ => {}
        }
    }
    definition(shape, objects)
}

pub fn drop_objects(mut cursor: Cursor<'_>) -> Kind {
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
            Some("PREPARE") => return Kind::Session(Session::Other),
            Some("INDEX") => {
                return if cursor.find_word("ON") {
                    one(Shape::Alter, ObjectKind::Table, &mut cursor)
                } else {
                    Kind::Opaque
                };
            }
            _ => return Kind::Opaque,
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
        return Kind::TemporaryTable { dropped: true, names };
    }
    definition(Shape::Drop, objects)
}

pub fn rename(mut cursor: Cursor<'_>) -> Kind {
    match cursor.word().as_deref() {
        Some("TABLE" | "TABLES") => {}
        _ => return Kind::Opaque,
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
    definition(Shape::Move, objects)
}

fn one(shape: Shape, kind: ObjectKind, cursor: &mut Cursor<'_>) -> Kind {
    definition(shape, cursor.account_or_name(kind).map(|name| Object { kind, name }).into_iter().collect())
}

fn definition(shape: Shape, objects: Vec<Object>) -> Kind {
    if objects.is_empty() { Kind::Opaque } else { Kind::Definition(Definition { shape, objects, index: None }) }
}
