//! A database user of a test's own.

use mysql::prelude::Queryable;

use super::Database;

/// Exists until it is dropped.
pub struct User<'a> {
    db: &'a Database,
    pub name: String,
}

impl<'a> User<'a> {
    /// May do `privileges` in the test's database.
    pub fn new(db: &'a Database, password: &str, privileges: &str) -> Self {
        let user = Self { db, name: db.name.replace("airun_", "u") };
        let password = password.replace('\\', r"\\").replace('\'', "''");
        let mut conn = db.conn();
        for account in user.accounts() {
            conn.query_drop(format!("CREATE USER {account} IDENTIFIED BY '{password}'")).expect("a new user");
            conn.query_drop(format!("GRANT {privileges} ON `{}`.* TO {account}", db.name)).expect("its rights");
        }
        user
    }

    /// By either name of the host: where the server has an anonymous user for one, that would go before.
    fn accounts(&self) -> [String; 2] {
        [format!("'{}'@'%'", self.name), format!("'{}'@'localhost'", self.name)]
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        for account in self.accounts() {
            // A failing test must say why it failed, not this.
            drop(self.db.conn().query_drop(format!("DROP USER {account}")));
        }
    }
}
