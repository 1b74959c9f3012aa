//! `migrate dump`: prints the schema as SQL. The same schema always gives the same text.
//!
//! The dump leaves out what can differ between servers with the same schema: the next `AUTO_INCREMENT` value, definers,
//! and the name of the database.

use mysql::Conn;
use mysql::prelude::Queryable;

use super::catalog::{definition, objects, sequence, sql_mode, without_auto_increment};
use super::classify::{Object, ObjectKind};
use super::sql::{Token, TokenKind, tokens};
use crate::error::Result;

/// Returns SQL that creates `schema`, without airun's own tables: sequences, tables, routines, views (each after those
/// that it reads), triggers, events. It can run in the `mysql` client or as a migration.
pub fn dump(conn: &mut Conn, schema: &str) -> Result<String> {
    // The server's mode decides how it quotes names, and the dump must not depend on it.
    conn.query_drop("SET sql_mode = ''")?;
    // Old tables may have defaults such as '0000-00-00', which the default mode rejects.
    let mut text = "SET FOREIGN_KEY_CHECKS = 0;\nSET sql_mode = '';\n".to_owned();
    let mut mode = String::new();
    let mut views = Vec::new();
    for object in objects(conn, schema)? {
        let Some(sql) = definition(conn, &object)? else { continue };
        match object.kind {
            ObjectKind::Table if is_view(&sql) => views.push((object.name.name, without_schema(&sql, schema))),
            ObjectKind::Table if is_sequence(&sql) => {
                text.push_str(&format!("\n{};\n", sequence(conn, &object)?.unwrap_or_default()));
            }
            ObjectKind::Table => {
                // MariaDB qualifies a sequence in a default with the schema.
                let sql = without_schema(&without_charset(&without_auto_increment(&sql)), schema);
                text.push_str(&format!("\n{sql};\n"));
            }
            ObjectKind::Function | ObjectKind::Procedure => push_stored(&mut text, conn, &object, &sql, &mut mode)?,
            _ => {
                push_views(&mut text, std::mem::take(&mut views), &mut mode);
                push_stored(&mut text, conn, &object, &sql, &mut mode)?;
            }
        }
    }
    push_views(&mut text, views, &mut mode);
    text.push_str("\nSET FOREIGN_KEY_CHECKS = 1;\n");
    Ok(text)
}

fn push_views(text: &mut String, views: Vec<(String, String)>, mode: &mut String) {
    if !views.is_empty() {
        push_mode(text, "", mode);
    }
    for view in sort_views(views) {
        text.push_str(&format!("\n{};\n", without_definer(&view)));
    }
}

fn push_stored(text: &mut String, conn: &mut Conn, object: &Object, sql: &str, mode: &mut String) -> Result<()> {
    // The mode at creation decides how a body is parsed. Without one, the object was dropped meanwhile.
    let Some(wanted) = sql_mode(conn, object)? else { return Ok(()) };
    push_mode(text, &wanted, mode);
    text.push_str(&format!("\nDELIMITER ;;\n{};;\nDELIMITER ;\n", without_definer(sql)));
    Ok(())
}

fn push_mode(text: &mut String, wanted: &str, mode: &mut String) {
    if mode != wanted {
        text.push_str(&format!("\nSET sql_mode = '{wanted}';\n"));
        wanted.clone_into(mode);
    }
}

fn is_sequence(sql: &str) -> bool {
    sql.rfind("\n) ").is_some_and(|options| sql[options..].contains(" SEQUENCE=1"))
}

/// Removes character sets that a collation implies. Depending on how a column was once declared, MySQL prints both or
/// only the collation, so the same schema would have two texts.
fn without_charset(sql: &str) -> String {
    let all: Vec<Token<'_>> = tokens(sql).collect();
    let cuts = all
        .windows(4)
        .filter(|four| four[0].upper() == "CHARACTER" && four[1].upper() == "SET" && four[3].upper() == "COLLATE");
    without(sql, cuts.map(|four| (start(sql, &four[0]), start(sql, &four[3]))))
}

fn is_view(sql: &str) -> bool {
    // A view is `CREATE ALGORITHM=… DEFINER=… SQL SECURITY … VIEW`; for a table the second word is TABLE, SEQUENCE or
    // TEMPORARY.
    tokens(sql).nth(1).is_some_and(|token| token.upper() == "ALGORITHM")
}

/// Sorts views so that each comes after those whose names it uses.
fn sort_views(mut views: Vec<(String, String)>) -> Vec<String> {
    let mut ordered = Vec::with_capacity(views.len());
    while !views.is_empty() {
        let waiting: Vec<String> = views.iter().map(|(name, _)| name.clone()).collect();
        let ready = views.iter().position(|(name, sql)| {
            !tokens(sql).filter_map(|token| token.name()).any(|used| used != *name && waiting.contains(&used))
        });
        // A column can have a view's name, so two views may seem to use each other.
        ordered.push(views.remove(ready.unwrap_or(0)).1);
    }
    ordered
}

fn without_schema(sql: &str, schema: &str) -> String {
    let all: Vec<Token<'_>> = tokens(sql).collect();
    let cuts = all.windows(2).filter(|pair| {
        pair[0].kind == TokenKind::QuotedName && pair[1].text == "." && pair[0].name().as_deref() == Some(schema)
    });
    without(sql, cuts.map(|pair| (start(sql, &pair[0]), end(sql, &pair[1]))))
}

fn without_definer(sql: &str) -> String {
    let all: Vec<Token<'_>> = tokens(sql).take(12).collect();
    let found = all.windows(5).find(|five| five[0].upper() == "DEFINER" && five[3].text == "@");
    without(sql, found.into_iter().map(|five| (start(sql, &five[0]), end(sql, &five[4]) + 1)))
}

fn start(sql: &str, token: &Token<'_>) -> usize {
    token.text.as_ptr().addr() - sql.as_ptr().addr()
}

fn end(sql: &str, token: &Token<'_>) -> usize {
    start(sql, token) + token.text.len()
}

fn without(sql: &str, cuts: impl Iterator<Item = (usize, usize)>) -> String {
    let mut kept = String::with_capacity(sql.len());
    let mut at = 0;
    for (from, to) in cuts {
        kept.push_str(&sql[at..from]);
        at = to;
    }
    kept.push_str(&sql[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definer_and_schema_are_removed() {
        let view = "CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`%` SQL SECURITY DEFINER VIEW `v` AS select `db`.`t`.`a` AS `a`,'`db`.' AS `b` from `db`.`t`";
        let expected =
            "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select `t`.`a` AS `a`,'`db`.' AS `b` from `t`";
        assert!(is_view(view));
        assert_eq!(without_definer(&without_schema(view, "db")), expected);
        assert_eq!(without_definer("CREATE TRIGGER x"), "CREATE TRIGGER x");
    }

    #[test]
    fn character_set_that_the_collation_implies_is_removed() {
        let table = "CREATE TABLE `t` (\n  `a` text CHARACTER SET latin1 COLLATE latin1_bin COMMENT 'CHARACTER SET x COLLATE',\n  `b` text CHARACTER SET ascii\n)";
        assert_eq!(without_charset(table), table.replacen("CHARACTER SET latin1 ", "", 1));
    }

    #[test]
    fn view_comes_after_those_that_it_reads() {
        let view =
            |name: &str, reads: &str| (name.to_owned(), format!("CREATE VIEW `{name}` AS select 1 from `{reads}`"));
        let ordered = sort_views(vec![view("a", "b"), view("b", "c"), view("c", "t")]);
        let names: Vec<&str> = ordered.iter().map(|sql| &sql[13..14]).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }
}
