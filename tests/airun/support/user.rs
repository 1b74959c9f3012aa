//! A database user that only one test uses.

use mysql::prelude::Queryable;

use super::Database;

/// A user, which is dropped together with this value.
pub struct User<'a> {
    db: &'a Database,
    pub name: String,
}

impl<'a> User<'a> {
    /// Creates a user with `privileges` on the test's database.
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

    /// One account for each host name: an anonymous user for `localhost` would take precedence over `'user'@'%'`.
    fn accounts(&self) -> [String; 2] {
        [format!("'{}'@'%'", self.name), format!("'{}'@'localhost'", self.name)]
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        for account in self.accounts() {
            // A failing test should report its own message and not an error of this cleanup.
            drop(self.db.conn().query_drop(format!("DROP USER {account}")));
        }
    }
}
