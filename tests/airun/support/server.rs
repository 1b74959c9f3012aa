//! The two servers that all tests share.

use std::env;
use std::process::Command;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MySql,
    MariaDb,
}

impl Kind {
    /// Returns the name that `scripts/dev-db` uses.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        }
    }

    /// Returns the value of the variable `AIRUN_TEST_<server>_<what>`.
    fn setting(self, what: &str) -> String {
        let server = match self {
            Kind::MySql => "MYSQL",
            Kind::MariaDb => "MARIADB",
        };
        let name = format!("AIRUN_TEST_{server}_{what}");
        env::var(&name)
            .unwrap_or_else(|_| panic!("{name} is not set; run `scripts/test`, which starts both servers and sets it"))
    }

    /// Returns the URL of an administrator, without a database.
    pub fn url(self) -> String {
        let url = self.setting("URL");
        let (server, _database) = url.split_at(url.rfind('/').filter(|at| *at > 8).unwrap_or(url.len()));
        server.to_owned()
    }

    /// Returns the path of the CA that signed the server's certificate.
    pub fn ca(self) -> String {
        self.setting("CA")
    }

    /// Returns the command of the server's own client, connected to `database`.
    pub fn client(self, database: &str) -> Command {
        let mut command = self.client_program();
        let options = mysql::Opts::from_url(&self.url()).expect("the server's URL");
        command
            .arg(format!("--host={}", options.get_ip_or_hostname()))
            .arg(format!("--port={}", options.get_tcp_port()))
            .arg(format!("--user={}", options.get_user().unwrap_or_default()))
            .arg("--default-character-set=utf8mb4")
            // Without it, MariaDB's client removes comments, even inside bodies. Recent clients of MySQL keep them.
            .arg("--comments")
            .arg(database)
            .env("MYSQL_PWD", options.get_pass().unwrap_or_default());
        command
    }

    /// Returns the command of the server's own client, with the environment that it needs.
    pub fn client_program(self) -> Command {
        let line = self.setting("CLIENT");
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("the client's program"));
        command.args(words);
        command
    }
}
