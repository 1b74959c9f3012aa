//! What tells, after a crash, whether a statement that commits by itself has happened.
//!
//! Before the statement runs, the intent records what it touches and how that looked. A definition is atomic on the
//! server, so afterwards its objects look either as before or as it wants them. Where they look as before and it ran
//! all the same (a rebuild, `ALTER TABLE … FORCE`, `CREATE TABLE IF NOT EXISTS` of one that exists), running it again
//! changes nothing either: that is why "unchanged" may always be taken for "didn't happen".

use mysql::Conn;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::migrate::catalog;
use crate::migrate::classify::{Ddl, DdlKind, Object};
use crate::migrate::execute::ddl_batch::Witness;
use crate::migrate::version::Version;

/// The statement that is about to run, and how what it touches looked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its number in the script, from 1.
    pub k: u64,
    /// SHA-256 over its tokens, hexadecimal.
    pub statement: String,
    pub kind: DdlKind,
    /// Each object that it touches, and its fingerprint.
    pub objects: Vec<Observed>,
    /// The definitions behind it that run on the same record, each with what it leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<BatchedDdl>,
    /// The whole schema's fingerprint, where the statement doesn't show what it touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaObserved>,
}

/// A definition that runs on the record of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchedDdl {
    /// SHA-256 over its tokens, hexadecimal.
    pub statement: String,
    /// Not there when the record was written.
    pub mark: Witness,
}

/// An object and how it looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    #[serde(flatten)]
    pub object: Object,
    /// `None`: there was none.
    pub was: Option<String>,
}

/// A schema and how it looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaObserved {
    pub name: String,
    pub was: String,
    /// Whether the statement is one that can do several things one after the other.
    pub compound: bool,
}

/// What the evidence says of a statement that was about to run when nothing more was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect.
    Applied,
    /// It did not, or it can be repeated without harm.
    NotApplied,
    /// A `DROP` of several has come this far: these are left.
    PartlyDropped(Vec<Object>),
    /// Nothing tells.
    Unknown,
}

impl Intent {
    /// As the journal holds it: ASCII, whatever character set the script gives its session.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut ascii = String::with_capacity(json.len());
        for character in json.chars() {
            if character.is_ascii() {
                ascii.push(character);
            } else {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    ascii.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        ascii
    }

    /// Reads [`Intent::to_json`].
    pub fn from_json(version: Version, json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|error| Error::failure(format!("the journal's intent of {version} can't be read: {error}")))
    }

    /// Looks at what `definition` touches.
    pub fn of_definition(conn: &mut Conn, k: u64, statement: String, definition: &Ddl, schema: &str) -> Result<Self> {
        let mut objects = Vec::with_capacity(definition.objects.len());
        for object in &definition.objects {
            let mut object = object.clone();
            object.name.schema.get_or_insert_with(|| schema.to_owned());
            let was = catalog::fingerprint(conn, &object, definition.kind == DdlKind::Move)?;
            objects.push(Observed { object, was });
        }
        Ok(Self { k, statement, kind: definition.kind, objects, then: Vec::new(), schema: None })
    }

    /// Looks at the whole schema, for a statement that doesn't show what it touches.
    pub fn of_opaque(conn: &mut Conn, k: u64, statement: String, compound: bool, schema: &str) -> Result<Self> {
        let schema =
            SchemaObserved { name: schema.to_owned(), was: catalog::schema_fingerprint(conn, schema)?, compound };
        Ok(Self { k, statement, kind: DdlKind::Unknown, objects: Vec::new(), then: Vec::new(), schema: Some(schema) })
    }

    /// How many of the definitions behind the first one have happened, once that has: they run in order.
    pub fn batched_applied(&self, conn: &mut Conn) -> Result<usize> {
        for (i, follower) in self.then.iter().enumerate() {
            if !follower.mark.is_there(conn)? {
                return Ok(i);
            }
        }
        Ok(self.then.len())
    }

    /// Looks again, and decides.
    pub fn verdict(&self, conn: &mut Conn) -> Result<Verdict> {
        if let Some(schema) = &self.schema {
            let now = catalog::schema_fingerprint(conn, &schema.name)?;
            return Ok(judge_opaque(schema.compound, now != schema.was));
        }
        let mut now = Vec::with_capacity(self.objects.len());
        for observed in &self.objects {
            now.push(catalog::fingerprint(conn, &observed.object, self.kind == DdlKind::Move)?);
        }
        Ok(judge(self.kind, &self.objects, &now))
    }
}

/// Whether a definition has happened, from how its objects look `now`.
fn judge(kind: DdlKind, before: &[Observed], now: &[Option<String>]) -> Verdict {
    let changed = before.iter().zip(now).filter(|(before, now)| before.was != **now).count();
    match kind {
        DdlKind::Create => {
            // `CREATE OR REPLACE` may have been cut between the two: then there is none.
            if changed > 0 && now.iter().all(Option::is_some) { Verdict::Applied } else { Verdict::NotApplied }
        }
        DdlKind::Drop => {
            let there = |looks: &Option<String>| looks.is_some();
            match (
                before.iter().filter(|object| there(&object.was)).count(),
                now.iter().filter(|now| there(now)).count(),
            ) {
                (were, left) if were == left => Verdict::NotApplied,
                (_, 0) => Verdict::Applied,
                _ => {
                    let left = before.iter().zip(now).filter(|(_, now)| there(now));
                    Verdict::PartlyDropped(left.map(|(before, _)| before.object.clone()).collect())
                }
            }
        }
        DdlKind::Alter if changed > 0 => Verdict::Applied,
        DdlKind::Alter => Verdict::NotApplied,
        DdlKind::Move => {
            let alike =
                before.iter().enumerate().any(|(i, a)| a.was.is_some() && before[..i].iter().any(|b| b.was == a.was));
            match changed {
                0 if alike => Verdict::Unknown,
                0 => Verdict::NotApplied,
                _ if changed == before.len() => Verdict::Applied,
                // `RENAME TABLE a TO tmp, b TO a, tmp TO b` leaves `tmp` as it was: absent.
                _ if before.iter().zip(now).all(|(before, now)| before.was != *now || now.is_none()) => {
                    Verdict::Applied
                }
                _ => Verdict::Unknown,
            }
        }
        DdlKind::Unknown => Verdict::Unknown,
    }
}

/// Whether a statement has happened of which only this is known: it has committed something by itself (its intent, which
/// was written in the same transaction, is there), and it did not come to its end (the record of that, which follows it
/// in the same packet, is not there).
fn judge_opaque(compound: bool, schema_changed: bool) -> Verdict {
    match (compound, schema_changed) {
        // One definition, atomic by itself: what leaves no trace can be repeated.
        (false, true) => Verdict::Applied,
        (false, false) => Verdict::NotApplied,
        // It was cut somewhere behind a commit of its own: by the server's end, or because nobody took its rows.
        (true, _) => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::classify::{ObjectKind, ObjectName};

    fn observed(name: &str, was: Option<&str>) -> Observed {
        let name = ObjectName { schema: Some("d".to_owned()), name: name.to_owned() };
        Observed { object: Object { kind: ObjectKind::Table, name }, was: was.map(str::to_owned) }
    }

    fn verdict(kind: DdlKind, looks: &[(Option<&str>, Option<&str>)]) -> Verdict {
        let names = ["a", "b", "c"];
        let before: Vec<_> = looks.iter().zip(names).map(|((was, _), name)| observed(name, *was)).collect();
        let now: Vec<_> = looks.iter().map(|(_, now)| now.map(str::to_owned)).collect();
        judge(kind, &before, &now)
    }

    #[test]
    fn a_definition_is_known_by_its_objects() {
        use DdlKind::*;
        for (kind, looks, expected) in [
            (Create, &[(None, Some("1"))][..], Verdict::Applied),
            (Create, &[(None, None)], Verdict::NotApplied),
            (Create, &[(Some("1"), Some("2"))], Verdict::Applied),
            (Create, &[(Some("1"), None)], Verdict::NotApplied),
            (Create, &[(Some("1"), Some("1"))], Verdict::NotApplied),
            (Drop, &[(Some("1"), None), (Some("2"), None)], Verdict::Applied),
            (Drop, &[(Some("1"), Some("1")), (Some("2"), Some("2"))], Verdict::NotApplied),
            (Drop, &[(None, None)], Verdict::NotApplied),
            (Alter, &[(Some("1"), Some("2"))], Verdict::Applied),
            (Alter, &[(Some("1"), Some("1"))], Verdict::NotApplied),
            (Move, &[(Some("1"), None), (None, Some("1"))], Verdict::Applied),
            (Move, &[(Some("1"), Some("1")), (None, None)], Verdict::NotApplied),
            (Move, &[(Some("1"), Some("2")), (None, None), (Some("2"), Some("1"))], Verdict::Applied),
            (Move, &[(Some("1"), Some("1")), (Some("1"), Some("1"))], Verdict::Unknown),
            (Move, &[(Some("1"), None), (Some("2"), Some("2"))], Verdict::Unknown),
            (Unknown, &[], Verdict::Unknown),
        ] {
            assert_eq!(verdict(kind, looks), expected, "{kind:?} {looks:?}");
        }
    }

    #[test]
    fn a_drop_that_was_cut_goes_on_with_what_is_left() {
        let left = verdict(DdlKind::Drop, &[(Some("1"), None), (Some("2"), Some("2"))]);
        assert_eq!(left, Verdict::PartlyDropped(vec![observed("b", None).object]));
    }

    #[test]
    fn an_intent_survives_every_character_set() {
        let schema = SchemaObserved { name: "dé😀".to_owned(), was: "x".to_owned(), compound: true };
        let intent = Intent {
            k: 3,
            statement: "ab".to_owned(),
            kind: DdlKind::Unknown,
            objects: vec![observed("ü", None)],
            then: vec![BatchedDdl { statement: "cd".to_owned(), mark: Witness::Object(observed("ß", None).object) }],
            schema: Some(schema),
        };
        let json = intent.to_json();
        assert!(json.is_ascii());
        assert_eq!(Intent::from_json(Version::from_number(20260101000000).unwrap(), &json).unwrap(), intent);
    }
}
