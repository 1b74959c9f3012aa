//! A database that only one test uses, with a folder of migrations.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Row};
use tempfile::TempDir;

use super::{Finished, Kind, Running, airun, wait_until};

/// A database and its migrations. It exists on the server only after [`Database::create`] or `airun migrate up`.
/// Dropping this value drops it.
pub struct Database {
    pub kind: Kind,
    pub name: String,
    /// The file with the URL of the test's own server, which may have another port after a restart.
    own_server: Option<PathBuf>,
    folder: TempDir,
    /// Replaces `folder` if several databases share one set of migrations.
    migrations: Option<PathBuf>,
}

/// A connection to the server, as `SHOW PROCESSLIST` shows it.
pub struct Session {
    pub id: u64,
    pub state: String,
    /// The running statement; empty if the session is idle.
    pub statement: String,
}

impl Database {
    pub fn new(kind: Kind) -> Self {
        Self::on(kind, None)
    }

    /// Creates a database on the server whose URL is in `own_server`, or else on the server that all tests share.
    pub fn on(kind: Kind, own_server: Option<PathBuf>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let random =
            folder.path().file_name().expect("its name").to_string_lossy().replace(['.', '-'], "").to_lowercase();
        let unique = format!("airun_{random}_{}", std::process::id());
        Self { kind, name: unique, own_server, folder, migrations: None }
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server(), self.name)
    }

    /// Takes the name and the migrations of `other`, for the same database on another server.
    pub fn named_as(mut self, other: &Self) -> Self {
        self.name.clone_from(&other.name);
        self.migrations = Some(other.folder().to_owned());
        self
    }

    fn server(&self) -> String {
        match &self.own_server {
            Some(file) => fs::read_to_string(file).expect("the server's URL").trim().to_owned(),
            None => self.kind.url(),
        }
    }

    /// Returns the folder of its migrations.
    pub fn folder(&self) -> &Path {
        self.migrations.as_deref().unwrap_or_else(|| self.folder.path())
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        fs::write(&path, text).expect("a file in the temporary folder");
        path
    }

    /// Writes a pair of migration files. Version 1 is the first second of 2026.
    pub fn migration(&self, version: u32, name: &str, up: &str, down: &str) {
        self.write(&format!("{}_{name}_UP.sql", stamp(version)), up);
        self.write(&format!("{}_{name}_DOWN.sql", stamp(version)), down);
    }

    /// Runs airun on this database and its folder.
    pub fn airun(&self, args: &str) -> Finished {
        self.start(args).finish()
    }

    /// Starts airun on this database and its folder.
    pub fn start(&self, args: &str) -> Running {
        self.start_with(args, &[])
    }

    pub fn start_with(&self, args: &str, environment: &[(&str, &str)]) -> Running {
        let mut command = airun(args);
        command.env("DATABASE_URL", self.url()).env("AIRUN_MIGRATIONS_DIR", self.folder());
        command.envs(environment.iter().copied());
        Running::start(command)
    }

    /// Returns a connection to the server, which uses the database if it exists.
    pub fn conn(&self) -> Conn {
        let options = OptsBuilder::from_opts(Opts::from_url(&self.server()).expect("the server's URL"));
        let mut conn = Conn::new(options.prefer_socket(false)).expect("the test's server");
        if conn.select_db(&self.name).is_err() {
            // If the database does not exist, `USE` fails and the connection stays usable.
            conn.query_drop("DO 0").expect("the test's server");
        }
        conn
    }

    /// Creates the database.
    pub fn create(&self) {
        self.conn()
            .query_drop(format!("CREATE DATABASE `{}` CHARACTER SET utf8mb4", self.name))
            .expect("a new database");
    }

    /// Runs statements, all on one connection.
    pub fn execute(&self, statements: &[&str]) {
        let mut conn = self.conn();
        for statement in statements {
            conn.query_drop(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Returns the rows of a query, each as its values joined by `|`.
    pub fn rows(&self, query: &str) -> Vec<String> {
        rows(&mut self.conn(), query)
    }

    /// Returns the names of the tables except airun's own.
    pub fn tables(&self) -> Vec<String> {
        self.rows("SHOW TABLES").into_iter().filter(|name| !name.starts_with("ai_migrations")).collect()
    }

    /// Returns the other sessions that use this database.
    pub fn sessions(&self) -> Vec<Session> {
        let mut conn = self.conn();
        // MySQL's information_schema.PROCESSLIST fails while any session runs a statement with a character of 4 bytes.
        let rows: Vec<Row> = conn.query("SHOW FULL PROCESSLIST").expect("the sessions");
        let text = |row: &Row, column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
        let own = u64::from(conn.connection_id());
        let others = rows.iter().filter(|row| text(row, "db") == self.name).map(|row| Session {
            id: row.get("Id").expect("a session's id"),
            state: text(row, "State"),
            statement: text(row, "Info"),
        });
        others.filter(|session| session.id != own).collect()
    }

    fn sleeping(&self) -> Vec<Session> {
        self.sessions().into_iter().filter(|session| session.state == "User sleep").collect()
    }

    /// True if a session runs a statement that starts with `start`.
    pub fn runs(&self, start: &str) -> bool {
        self.sessions().iter().any(|session| session.statement.starts_with(start))
    }

    /// Starts airun, and waits until a statement of a migration sleeps.
    pub fn start_sleeping(&self, args: &str, environment: &[(&str, &str)]) -> Running {
        let running = self.start_with(args, environment);
        self.wait_for_sleep();
        running
    }

    /// Waits until a statement sleeps.
    pub fn wait_for_sleep(&self) {
        wait_until(|| !self.sleeping().is_empty());
    }

    /// Sends `KILL` or `KILL QUERY` to the sessions that sleep in a statement.
    pub fn end_sleep(&self, kill: &str) {
        for session in self.sleeping() {
            self.execute(&[&format!("{kill} {}", session.id)]);
        }
    }

    /// Returns the whole contents: the schema and the rows of every table.
    pub fn contents(&self) -> String {
        let dump = self.airun("migrate dump");
        assert_eq!(dump.code, 0, "{}", dump.stderr);
        let mut contents = dump.stdout;
        for table in self.tables() {
            let rows = self.rows(&format!("SELECT * FROM `{table}`"));
            contents.push_str(&format!("{table}:\n{}\n", rows.join("\n")));
        }
        contents
    }

    /// Runs a script with the server's own client. Returns true if it succeeded, and its standard error.
    pub fn client(&self, script: &[u8]) -> (bool, String) {
        let mut command = self.kind.client(&self.name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn().expect("the server's client");
        // The client may end before it has read everything.
        drop(client.stdin.take().expect("its input").write_all(script));
        let output = client.wait_with_output().expect("the client's end");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // If the server died, the test should fail with its own message and not with an error of this cleanup.
        let options = OptsBuilder::from_opts(Opts::from_url(&self.server()).expect("the server's URL"));
        if let Ok(mut conn) = Conn::new(options.prefer_socket(false)) {
            drop(conn.query_drop(format!("DROP DATABASE IF EXISTS `{}`", self.name)));
        }
    }
}

pub fn stamp(version: u32) -> String {
    format!("202601010000{version:02}")
}

pub fn rows(conn: &mut Conn, query: &str) -> Vec<String> {
    let rows: Vec<Row> = conn.query(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let text = |value: mysql::Value| match value {
        mysql::Value::NULL => "NULL".to_owned(),
        mysql::Value::Bytes(bytes) => {
            String::from_utf8(bytes).unwrap_or_else(|error| format!("{:?}", error.as_bytes()))
        }
        other => other.as_sql(true),
    };
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect::<Vec<_>>().join("|")).collect()
}
