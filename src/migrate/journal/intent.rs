//! The intent: what the journal records before a statement that commits implicitly.
//!
//! It holds the statement's number and digest, and a fingerprint of each object that the statement changes. After a
//! crash, [`crate::migrate::recover`] compares the fingerprints with the schema.

use mysql::Conn;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::migrate::catalog;
use crate::migrate::classify::{Ddl, DdlKind, Object};
use crate::migrate::names::hex;
use crate::migrate::sql::statement_digest;
use crate::migrate::version::Version;

/// A statement that is about to run, and the state of the schema before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Number of the statement in the script, from 1.
    pub k: u64,
    /// SHA-256 of its tokens, hexadecimal.
    pub statement: String,
    pub kind: DdlKind,
    /// The objects that it changes.
    pub objects: Vec<Observed>,
    /// The DDL statements after it that share this record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<BatchedDdl>,
    /// The whole schema, if the statement doesn't name what it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<ObservedSchema>,
}

/// A DDL statement that shares the record of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchedDdl {
    /// SHA-256 of its tokens, hexadecimal.
    pub statement: String,
    /// Did not exist when the record was written.
    pub witness: Witness,
}

/// An object or index that exists once a DDL statement was applied, and did not exist before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The object that the statement creates.
    Object(Object),
    /// The index that the statement adds to a table.
    Index { table: Object, index: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    #[serde(flatten)]
    pub object: Object,
    /// `None` if the object did not exist.
    pub was: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSchema {
    pub name: String,
    pub was: String,
    /// True if the statement can do several things one after the other.
    pub compound: bool,
}

impl Intent {
    /// Reads the fingerprint of each object that `ddl` changes. Names without a database are in `schema`.
    pub fn of_ddl(conn: &mut Conn, k: u64, text: &str, ddl: &Ddl, schema: &str) -> Result<Self> {
        let mut objects = Vec::with_capacity(ddl.objects.len());
        for object in &ddl.objects {
            let object = object.in_schema(schema);
            let was = catalog::fingerprint(conn, &object, ddl.kind == DdlKind::Move)?;
            objects.push(Observed { object, was });
        }
        Ok(Self { k, statement: digest(text), kind: ddl.kind, objects, then: Vec::new(), schema: None })
    }

    /// Reads the fingerprint of the whole schema, for a statement that doesn't name what it changes.
    pub fn of_unclassified(conn: &mut Conn, k: u64, text: &str, compound: bool, schema: &str) -> Result<Self> {
        let was = catalog::schema_fingerprint(conn, schema)?;
        let schema = ObservedSchema { name: schema.to_owned(), was, compound };
        let (objects, then) = (Vec::new(), Vec::new());
        Ok(Self { k, statement: digest(text), kind: DdlKind::Unknown, objects, then, schema: Some(schema) })
    }

    /// Returns the JSON in the journal. It is ASCII, because a script may choose any character set for its session.
    pub fn to_json(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::failure(format!("failed to write the intent as JSON: {error}")))?;
        let escape = |unit| match char::from_u32(u32::from(unit)).filter(char::is_ascii) {
            Some(ascii) => ascii.to_string(),
            None => format!("\\u{unit:04x}"),
        };
        Ok(json.encode_utf16().map(escape).collect())
    }

    /// Parses [`Intent::to_json`].
    pub fn from_json(version: Version, json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::failure(format!("failed to parse the journal's intent of {version}: {error}")))
    }
}

impl BatchedDdl {
    pub fn new(text: &str, witness: Witness) -> Self {
        Self { statement: digest(text), witness }
    }
}

impl Witness {
    /// True if it exists now.
    pub fn exists(&self, conn: &mut Conn) -> Result<bool> {
        match self {
            Witness::Object(object) => Ok(catalog::definition(conn, object)?.is_some()),
            Witness::Index { table, index } => catalog::index_exists(conn, &table.name, index),
        }
    }
}

fn digest(text: &str) -> String {
    hex(&statement_digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::{ObjectKind, ObjectName};

    #[test]
    fn an_intent_survives_every_character_set() {
        let object = |name: &str| {
            let name = ObjectName { schema: Some("d".to_owned()), name: name.to_owned() };
            Object { kind: ObjectKind::Table, name }
        };
        let intent = Intent {
            k: 3,
            statement: "ab".to_owned(),
            kind: DdlKind::Unknown,
            objects: vec![Observed { object: object("ü"), was: None }],
            then: vec![BatchedDdl::new("x", Witness::Object(object("ß")))],
            schema: Some(ObservedSchema { name: "dé😀".to_owned(), was: "x".to_owned(), compound: true }),
        };
        let json = intent.to_json().unwrap();
        assert!(json.is_ascii());
        assert_eq!(Intent::from_json(Version::from_number(20260101000000).unwrap(), &json).unwrap(), intent);
    }
}
