//! Finds out, after a crash, whether a statement that commits implicitly was applied.
//!
//! The statement's intent holds fingerprints of the objects that it changes. A DDL statement is atomic on the server,
//! so afterwards its objects are either as before or as the statement wants them. If they are as before although it ran
//! (a rebuild, `ALTER TABLE … FORCE`, `CREATE TABLE IF NOT EXISTS` of a table that exists), running it again changes
//! nothing either. So "unchanged" can always be read as "not applied".

use mysql::Conn;

use crate::error::Result;
use crate::migrate::catalog;
use crate::migrate::classify::{DdlKind, Object};
use crate::migrate::journal::{Intent, Observed};

/// Whether a statement was applied that was about to run when the client lost contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Applied,
    /// Not applied, or it can run again with the same result.
    NotApplied,
    /// A `DROP` of several objects was interrupted. These still exist.
    PartlyDropped(Vec<Object>),
    Unknown,
}

/// Compares the intent with the schema.
pub fn verdict(conn: &mut Conn, intent: &Intent) -> Result<Verdict> {
    if let Some(schema) = &intent.schema {
        // The statement committed something, because its intent, written in the same transaction, exists. It did not
        // reach its end, because the record that follows it in its packet doesn't exist.
        let changed = catalog::schema_fingerprint(conn, &schema.name)? != schema.was;
        return Ok(match (schema.compound, changed) {
            (true, _) => Verdict::Unknown,
            // A single atomic DDL statement. If it left no trace, it can run again.
            (false, true) => Verdict::Applied,
            (false, false) => Verdict::NotApplied,
        });
    }
    let mut now = Vec::with_capacity(intent.objects.len());
    for observed in &intent.objects {
        now.push(catalog::fingerprint(conn, &observed.object, intent.kind == DdlKind::Move)?);
    }
    Ok(judge_ddl(intent.kind, &intent.objects, &now))
}

/// Counts the batched statements that were applied, given that the first one was. They run in order.
pub fn count_batched_applied(conn: &mut Conn, intent: &Intent) -> Result<usize> {
    for (i, batched) in intent.then.iter().enumerate() {
        if !batched.witness.exists(conn)? {
            return Ok(i);
        }
    }
    Ok(intent.then.len())
}

fn judge_ddl(kind: DdlKind, before: &[Observed], now: &[Option<String>]) -> Verdict {
    let pairs = || before.iter().zip(now);
    let changed = pairs().filter(|(before, now)| before.was != **now).count();
    match kind {
        // `CREATE OR REPLACE` may be interrupted after its drop. Then the object doesn't exist.
        DdlKind::Create if changed > 0 && now.iter().all(Option::is_some) => Verdict::Applied,
        DdlKind::Create => Verdict::NotApplied,
        DdlKind::Drop => {
            let left: Vec<Object> =
                pairs().filter(|(_, now)| now.is_some()).map(|(before, _)| before.object.clone()).collect();
            let existed = before.iter().filter(|before| before.was.is_some()).count();
            match left.len() {
                n if n == existed => Verdict::NotApplied,
                0 => Verdict::Applied,
                _ => Verdict::PartlyDropped(left),
            }
        }
        DdlKind::Alter if changed > 0 => Verdict::Applied,
        DdlKind::Alter => Verdict::NotApplied,
        DdlKind::Move => judge_move(before, now, changed),
        DdlKind::Unknown => Verdict::Unknown,
    }
}

fn judge_move(before: &[Observed], now: &[Option<String>], changed: usize) -> Verdict {
    let two_alike =
        before.iter().enumerate().any(|(i, a)| a.was.is_some() && before[..i].iter().any(|b| b.was == a.was));
    // `RENAME TABLE a TO tmp, b TO a, tmp TO b` leaves `tmp` as it was: it doesn't exist.
    let all_moved = before.iter().zip(now).all(|(before, now)| before.was != *now || now.is_none());
    match changed {
        0 if two_alike => Verdict::Unknown,
        0 => Verdict::NotApplied,
        _ if all_moved => Verdict::Applied,
        _ => Verdict::Unknown,
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

    fn verdict(kind: DdlKind, fingerprints: &[(Option<&str>, Option<&str>)]) -> Verdict {
        let names = ["a", "b", "c"];
        let before: Vec<_> = fingerprints.iter().zip(names).map(|((was, _), name)| observed(name, *was)).collect();
        let now: Vec<_> = fingerprints.iter().map(|(_, now)| now.map(str::to_owned)).collect();
        judge_ddl(kind, &before, &now)
    }

    #[test]
    fn ddl_is_judged_by_its_objects() {
        use DdlKind::*;
        for (kind, fingerprints, expected) in [
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
            assert_eq!(verdict(kind, fingerprints), expected, "{kind:?} {fingerprints:?}");
        }
    }

    #[test]
    fn an_interrupted_drop_names_what_is_left() {
        let left = verdict(DdlKind::Drop, &[(Some("1"), None), (Some("2"), Some("2"))]);
        assert_eq!(left, Verdict::PartlyDropped(vec![observed("b", None).object]));
    }
}
