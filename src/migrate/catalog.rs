//! The objects of a schema, their definitions and their fingerprints.

use mysql::prelude::Queryable;
use mysql::{Conn, Row, Value};
use sha2::{Digest, Sha256};

use super::classify::{Object, ObjectKind, ObjectName};
use super::names::{JOURNAL_TABLE, LOCK_TABLE, fill, first_answer, hex, qualified};
use crate::db::{quote_name, quote_text};
use crate::error::{Error, Result};

/// The server's error codes for an object that does not exist.
const NOT_FOUND: [u16; 9] = [
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

/// Returns the `CREATE` statement of `object` as the server writes it; `None` if the object does not exist.
///
/// # Errors
/// Fails if the server doesn't answer, or if the user lacks the privilege to see it.
pub fn definition(conn: &mut Conn, object: &Object) -> Result<Option<String>> {
    let column = match object.kind {
        ObjectKind::Table | ObjectKind::Database => 1,
        ObjectKind::Procedure | ObjectKind::Function | ObjectKind::Trigger | ObjectKind::Package => 2,
        ObjectKind::Event => 3,
        ObjectKind::Account => 0,
    };
    show_create(conn, object, column)
}

/// The `sql_mode` that a routine, trigger or event was created with, and runs with; `None` if the object does not exist.
pub fn sql_mode(conn: &mut Conn, object: &Object) -> Result<Option<String>> {
    show_create(conn, object, 1)
}

fn show_create(conn: &mut Conn, object: &Object, column: usize) -> Result<Option<String>> {
    let name = sql_name(object);
    let query = match object.kind {
        ObjectKind::Account => format!("SHOW GRANTS FOR {name}"),
        kind => format!("SHOW CREATE {} {name}", kind.keyword()),
    };
    let described = || format!("{} {name}", object.kind.keyword().to_lowercase());
    let row: Option<Row> = match conn.query_first(query) {
        Err(mysql::Error::MySqlError(error)) if NOT_FOUND.contains(&error.code) => return Ok(None),
        row => row.map_err(|error| Error::from(error).context(format!("failed to read {}", described())))?,
    };
    match row.as_ref().map(|row| row.as_ref(column)) {
        None => Ok(None),
        Some(Some(Value::Bytes(text))) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        Some(_) => Err(Error::failure(format!(
            "this user may not read the definition of {}; grant it SHOW_ROUTINE (MySQL) or SELECT on mysql.*",
            described()
        ))),
    }
}

/// Returns the `CREATE SEQUENCE` statement of a MariaDB sequence, which [`definition`] shows as a table.
pub fn sequence(conn: &mut Conn, object: &Object) -> Result<Option<String>> {
    let row: Option<(String, String)> = conn.query_first(format!("SHOW CREATE SEQUENCE {}", sql_name(object)))?;
    Ok(row.map(|(_, sql)| sql))
}

/// True if `table` has an index of this name.
pub fn index_exists(conn: &mut Conn, table: &ObjectName, index: &str) -> Result<bool> {
    const COLUMNS: &str = "SELECT COUNT(*) FROM information_schema.STATISTICS
        WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} AND INDEX_NAME = {index}";
    let schema = quote_text(table.schema.as_deref().unwrap_or_default());
    let parameters = [("schema", &*schema), ("table", &quote_text(&table.name)), ("index", &quote_text(index))];
    let columns: Option<u64> = conn.query_first(fill(COLUMNS, &parameters))?;
    Ok(columns.is_some_and(|columns| columns > 0))
}

/// Returns the definition of a table without its next `AUTO_INCREMENT`, which changes with each inserted row.
pub fn without_auto_increment(definition: &str) -> String {
    const OPTION: &str = " AUTO_INCREMENT=";
    // Searches only the options after the columns, because a comment may contain the same text. Partitions come last.
    let options = definition.find("\n) ").map_or(0, |at| at + 2);
    let Some(start) = definition[options..].find(OPTION).map(|at| at + options) else { return definition.to_owned() };
    let digits = definition[start + OPTION.len()..].bytes().take_while(u8::is_ascii_digit).count();
    format!("{}{}", &definition[..start], &definition[start + OPTION.len() + digits..])
}

/// A hash of the object's definition; `None` if the object does not exist. With `identity`, two objects with the same
/// definition have different fingerprints.
pub fn fingerprint(conn: &mut Conn, object: &Object, identity: bool) -> Result<Option<String>> {
    let Some(text) = definition(conn, object)? else { return Ok(None) };
    let mut hash = Sha256::new();
    hash.update(without_auto_increment(&text));
    if identity {
        hash.update(self::identity(conn, &object.name)?);
    }
    Ok(Some(hex(&hash.finalize()[..16])))
}

/// Every object of `schema` except airun's own tables, in an order in which they can be created: sequences, tables,
/// functions, procedures, views, triggers (those of one event in the order in which they run), events, each by name.
pub fn objects(conn: &mut Conn, schema: &str) -> Result<Vec<Object>> {
    const OBJECTS: &str = "
SELECT TABLE_TYPE, 0, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema}
UNION ALL SELECT ROUTINE_TYPE, 0, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {schema}
UNION ALL SELECT 'TRIGGER', ACTION_ORDER, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {schema}
UNION ALL SELECT 'EVENT', 0, EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {schema}";
    let rows: Vec<(String, u64, String)> = conn.query(fill(OBJECTS, &[("schema", &quote_text(schema))]))?;
    let mut objects: Vec<((u8, u64), Object)> = rows
        .into_iter()
        .filter(|(_, _, name)| ![JOURNAL_TABLE, LOCK_TABLE].contains(&name.as_str()))
        .filter_map(|(kind, place, name)| {
            // A column's default may read a sequence, and a view may call a function. The names in a body are resolved
            // only when it runs.
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
            Some(((sort, place), Object { kind, name: ObjectName { schema: Some(schema.to_owned()), name } }))
        })
        .collect();
    objects.sort_by(|(a_sort, a), (b_sort, b)| (a_sort, &a.name.name).cmp(&(b_sort, &b.name.name)));
    Ok(objects.into_iter().map(|(_, object)| object).collect())
}

/// Returns a hash of every definition in `schema`.
pub fn schema_fingerprint(conn: &mut Conn, schema: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for object in objects(conn, schema)? {
        hash.update(format!("{:?} {}\0", object.kind, object.name.name));
        if let Some(text) = definition(conn, &object)? {
            hash.update(without_auto_increment(&text));
        }
        hash.update(b"\0");
    }
    Ok(hex(&hash.finalize()[..16]))
}

/// InnoDB's id of a table, which stays the same when the table is renamed. If the user may not read it, the time when
/// the table was created.
fn identity(conn: &mut Conn, name: &ObjectName) -> Result<String> {
    // The first one is for MySQL, the second for MariaDB. Both need the PROCESS privilege.
    const QUERIES: [&str; 3] = [
        "SELECT CAST(TABLE_ID AS CHAR) FROM information_schema.INNODB_TABLES WHERE NAME = {path}",
        "SELECT CAST(TABLE_ID AS CHAR) FROM information_schema.INNODB_SYS_TABLES WHERE NAME = {path}",
        "SELECT CAST(CREATE_TIME AS CHAR) FROM information_schema.TABLES
         WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}",
    ];
    let schema = name.schema.as_deref().unwrap_or_default();
    let path = quote_text(&format!("{schema}/{}", name.name));
    let parameters = [("path", &*path), ("schema", &quote_text(schema)), ("name", &quote_text(&name.name))];
    let identity: Option<Option<String>> = first_answer(conn, &QUERIES.map(|query| fill(query, &parameters)))?;
    Ok(identity.flatten().unwrap_or_default())
}

/// An object's name in SQL.
pub fn sql_name(Object { kind, name: ObjectName { schema, name } }: &Object) -> String {
    match (kind, schema) {
        // Kept as it was written, with quotes and host.
        (ObjectKind::Account, _) => name.clone(),
        (ObjectKind::Database, _) | (_, None) => quote_name(name),
        (_, Some(schema)) => qualified(schema, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_ignores_the_next_auto_increment() {
        let a = "CREATE TABLE `t` (\n  `id` int COMMENT ' AUTO_INCREMENT=5'\n) ENGINE=InnoDB AUTO_INCREMENT=42 DEFAULT CHARSET=utf8mb4";
        let b = a.replace(" AUTO_INCREMENT=42", "");
        assert_eq!(without_auto_increment(a), b);
        assert_eq!(without_auto_increment(&b), b);
        let partitioned = |next| {
            format!(
                "CREATE TABLE `t` (\n  `id` int\n) ENGINE=InnoDB{next}\n PARTITION BY HASH (`id`)\n(PARTITION `p` ENGINE = InnoDB)"
            )
        };
        assert_eq!(without_auto_increment(&partitioned(" AUTO_INCREMENT=42")), partitioned(""));
    }
}
