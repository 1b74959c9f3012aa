//! The objects of a schema and their definitions, as the server tells them.

use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use sha2::{Digest, Sha256};

use super::classify::{Object, ObjectKind, ObjectName};
use super::journal;
use super::lock;
use crate::db::{quote_name, quote_text};
use crate::error::{Error, Result};

/// The server's codes for "there is no such object".
const ABSENT: [u16; 9] = [
    1049, // ER_BAD_DB_ERROR
    1051, // ER_BAD_TABLE_ERROR
    1141, // ER_NONEXISTING_GRANT
    1146, // ER_NO_SUCH_TABLE
    1305, // ER_SP_DOES_NOT_EXIST
    1360, // ER_TRG_DOES_NOT_EXIST
    1396, // ER_CANNOT_USER
    1539, // ER_EVENT_DOES_NOT_EXIST
    3162, // ER_USER_DOES_NOT_EXIST
];

/// The statement that makes `object`, as the server writes it; `None` where there is no such object.
///
/// # Errors
/// Fails where the server doesn't answer, or may not tell.
pub fn definition(conn: &mut Conn, object: &Object) -> Result<Option<String>> {
    let column = match object.kind {
        ObjectKind::Table | ObjectKind::Database => 1,
        ObjectKind::Procedure | ObjectKind::Function | ObjectKind::Trigger | ObjectKind::Package => 2,
        ObjectKind::Event => 3,
        ObjectKind::Account => 0,
    };
    let row: Option<Row> = match conn.query_first(show(object)) {
        Err(mysql::Error::MySqlError(error)) if ABSENT.contains(&error.code) => return Ok(None),
        row => row.map_err(|error| Error::from(error).context(format!("failed to look at {}", describe(object))))?,
    };
    let Some(row) = row else { return Ok(None) };
    match row.as_ref(column) {
        Some(Value::Bytes(text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        _ => Err(Error::failure(format!(
            "this user may not see the definition of {}; grant it SHOW_ROUTINE (MySQL) or SELECT on mysql.*",
            describe(object)
        ))),
    }
}

/// The `sql_mode` that a routine, trigger or event was made with, and runs with.
///
/// # Errors
/// Fails where the server doesn't answer.
pub fn sql_mode(conn: &mut Conn, object: &Object) -> Result<String> {
    let row: Option<Row> = conn.query_first(show(object))?;
    match row.as_ref().and_then(|row| row.as_ref(1)) {
        Some(Value::Bytes(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(Error::failure(format!("the server doesn't tell the sql_mode of {}", describe(object)))),
    }
}

/// MariaDB's statement that makes the sequence which [`definition`] shows as a table.
///
/// # Errors
/// Fails where the server doesn't answer.
pub fn sequence(conn: &mut Conn, name: &ObjectName) -> Result<Option<String>> {
    let schema = name.schema.as_deref().unwrap_or_default();
    let row: Option<(String, String)> =
        conn.query_first(format!("SHOW CREATE SEQUENCE {}.{}", quote_name(schema), quote_name(&name.name)))?;
    Ok(row.map(|(_, sql)| sql))
}

/// The definition without what changes by itself: a table's next `AUTO_INCREMENT`.
pub fn stable(definition: &str) -> String {
    const MARK: &str = " AUTO_INCREMENT=";
    // Only the options behind the columns: a comment may say the same. Partitions stand behind the options.
    let options = definition.find("\n) ").map_or(0, |at| at + 2);
    let Some(start) = definition[options..].find(MARK).map(|at| at + options) else { return definition.to_owned() };
    let digits = definition[start + MARK.len()..].bytes().take_while(u8::is_ascii_digit).count();
    format!("{}{}", &definition[..start], &definition[start + MARK.len() + digits..])
}

/// A hash of [`definition`], and with `identity` of which object it is, not just how it looks.
pub fn fingerprint(conn: &mut Conn, object: &Object, identity: bool) -> Result<Option<String>> {
    let Some(text) = definition(conn, object)? else { return Ok(None) };
    let mut hash = Sha256::new();
    hash.update(stable(&text));
    if identity {
        hash.update(self::identity(conn, &object.name)?);
    }
    Ok(Some(hex(&hash.finalize()[..16])))
}

/// Every object of `schema` but airun's own tables, in the order in which they can be made: sequences, tables, routines,
/// views, triggers (those of one event in the order in which they run), events, each by name.
pub fn objects(conn: &mut Conn, schema: &str) -> Result<Vec<Object>> {
    const OBJECTS: &str = "
        SELECT TABLE_TYPE AS kind, 0 AS place, TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema}
        UNION ALL SELECT ROUTINE_TYPE, 0, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema}
        UNION ALL SELECT 'TRIGGER', ACTION_ORDER, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema}
        UNION ALL SELECT 'EVENT', 0, EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema}";
    let rows: Vec<(String, u64, String)> = conn.query(OBJECTS.replace("{schema}", &quote_text(schema)))?;
    let mut objects: Vec<((u8, u64), Object)> = rows
        .into_iter()
        .filter_map(|(kind, place, name)| {
            // A column's default can read a sequence, a view a function; a body's names are looked up when it runs.
            let (sort, kind) = match kind.as_str() {
                "SEQUENCE" => (0, ObjectKind::Table),
                "BASE TABLE" | "SYSTEM VERSIONED" => (1, ObjectKind::Table),
                "FUNCTION" => (2, ObjectKind::Function),
                "PROCEDURE" => (3, ObjectKind::Procedure),
                "VIEW" => (4, ObjectKind::Table),
                "TRIGGER" => (5, ObjectKind::Trigger),
                "EVENT" => (6, ObjectKind::Event),
                _ => return None,
            };
            let own = [journal::TABLE, lock::TABLE].contains(&name.as_str());
            (!own).then(|| ((sort, place), Object { kind, name: ObjectName { schema: Some(schema.to_owned()), name } }))
        })
        .collect();
    objects.sort_by(|(a_sort, a), (b_sort, b)| (a_sort, &a.name.name).cmp(&(b_sort, &b.name.name)));
    Ok(objects.into_iter().map(|(_, object)| object).collect())
}

/// A hash of every definition in `schema`.
pub fn schema_fingerprint(conn: &mut Conn, schema: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for object in objects(conn, schema)? {
        hash.update(format!("{:?} {}\0", object.kind, object.name.name));
        hash.update(definition(conn, &object)?.map(|text| stable(&text)).unwrap_or_default());
        hash.update(b"\0");
    }
    Ok(hex(&hash.finalize()[..16]))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// InnoDB's number of a table, which moves with it from name to name; where that may not be seen, when it was made.
fn identity(conn: &mut Conn, name: &ObjectName) -> Result<String> {
    const NUMBER: [&str; 2] = [
        "SELECT CAST(TABLE_ID AS CHAR) FROM information_schema.INNODB_TABLES WHERE NAME = {path}",
        "SELECT CAST(TABLE_ID AS CHAR) FROM information_schema.INNODB_SYS_TABLES WHERE NAME = {path}",
    ];
    const MADE: &str = "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}";
    let schema = name.schema.as_deref().unwrap_or_default();
    let path = quote_text(&format!("{schema}/{}", name.name));
    for query in NUMBER {
        // Another server's table, or no PROCESS privilege: the next one may do.
        if let Ok(Some(number)) = conn.query_first::<String, _>(query.replace("{path}", &path)) {
            return Ok(number);
        }
    }
    let made = MADE.replace("{schema}", &quote_text(schema)).replace("{name}", &quote_text(&name.name));
    let made: Option<Option<String>> = conn.query_first(made)?;
    Ok(made.flatten().unwrap_or_default())
}

fn show(object: &Object) -> String {
    let name = match &object.name.schema {
        Some(schema) => format!("{}.{}", quote_name(schema), quote_name(&object.name.name)),
        None => quote_name(&object.name.name),
    };
    match object.kind {
        ObjectKind::Table => format!("SHOW CREATE TABLE {name}"),
        ObjectKind::Procedure => format!("SHOW CREATE PROCEDURE {name}"),
        ObjectKind::Function => format!("SHOW CREATE FUNCTION {name}"),
        ObjectKind::Trigger => format!("SHOW CREATE TRIGGER {name}"),
        ObjectKind::Event => format!("SHOW CREATE EVENT {name}"),
        ObjectKind::Package => format!("SHOW CREATE PACKAGE {name}"),
        ObjectKind::Database => format!("SHOW CREATE DATABASE {}", quote_name(&object.name.name)),
        // An account's name is kept as it was written, quotes and host included.
        ObjectKind::Account => format!("SHOW GRANTS FOR {}", object.name.name),
    }
}

/// "table `shop`.`orders`"
pub fn describe(object: &Object) -> String {
    let kind = match object.kind {
        ObjectKind::Table => "table",
        ObjectKind::Procedure => "procedure",
        ObjectKind::Function => "function",
        ObjectKind::Trigger => "trigger",
        ObjectKind::Event => "event",
        ObjectKind::Database => "database",
        ObjectKind::Package => "package",
        ObjectKind::Account => return format!("account {}", object.name.name),
    };
    match &object.name.schema {
        Some(schema) => format!("{kind} `{schema}`.`{}`", object.name.name),
        None => format!("{kind} `{}`", object.name.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_auto_increment_is_not_part_of_a_definition() {
        let a = "CREATE TABLE `t` (\n  `id` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4";
        let b = a.replace(" AUTO_INCREMENT=42", "");
        assert_eq!(stable(a), b);
        assert_eq!(stable(&b), b);
        let partitioned = |next| {
            format!(
                "CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB{next}\n PARTITION BY HASH (`id`)\n(PARTITION `p` ENGINE = InnoDB)"
            )
        };
        assert_eq!(stable(&partitioned(" AUTO_INCREMENT=42")), partitioned(""));
    }
}
