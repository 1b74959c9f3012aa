//! Tests the connection settings: URLs, variables, `.env`, TLS, and waiting for the server.

use std::net::TcpListener;

use crate::on_both;
use crate::support::{Database, Running, User, airun};

const EVERY_MARK: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;

fn host(db: &Database) -> String {
    let url = db.url();
    let rest = url.rsplit_once('@').map_or(url.as_str(), |(_, rest)| rest);
    rest.trim_start_matches("mysql://").split('/').next().unwrap().to_owned()
}

on_both! {
    fn every_punctuation_character_works_in_a_password_and_is_never_shown(db) {
        let user = User::new(db, EVERY_MARK, "ALL");
        let host = host(db);
        let (ip, port) = host.split_once(':').unwrap();
        let raw = format!("mysql://{}:{EVERY_MARK}@{host}/{}", user.name, db.name);
        let encoded: String = EVERY_MARK.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let encoded = format!("mysql://{}:{encoded}@{host}/{}", user.name, db.name);
        let folder = db.folder().to_str().unwrap().to_owned();
        let file = db.write("password", format!("{EVERY_MARK}\n"));
        let parts = [("DB_HOST", ip), ("DB_PORT", port), ("DB_USER", user.name.as_str()), ("DB_NAME", db.name.as_str())];
        for environment in [
            vec![("DATABASE_URL", raw.as_str())],
            vec![("DATABASE_URL", encoded.as_str())],
            [&parts[..], &[("DB_PASSWORD", EVERY_MARK)]].concat(),
            [&parts[..], &[("DB_PASSWORD_FILE", file.to_str().unwrap())]].concat(),
        ] {
            let mut command = airun("migrate up");
            command.envs(environment.clone()).env("AIRUN_MIGRATIONS_DIR", &folder);
            let finished = Running::start(command).finish();
            assert_eq!(finished.code, 0, "{environment:?}: {finished:?}");
        }
        let wrong = db.start_with("migrate up", &[("DATABASE_URL", &raw.replace(&user.name, "nobody"))]).finish();
        assert_eq!(wrong.code, 1);
        assert!(wrong.stderr.contains("check user and password") && !wrong.stderr.contains("#$%"), "{wrong:?}");
    }

    fn environment_overrides_the_dot_env_file(db) {
        let folder = db.folder().to_owned();
        db.write(".env", format!("# the test's\nDATABASE_URL='{}'\n", db.url()));
        let run = |environment: &[(&str, &str)]| {
            let mut command = airun("migrate up --dir .");
            command.current_dir(&folder).envs(environment.iter().copied());
            Running::start(command).finish()
        };
        let found = run(&[]);
        assert_eq!(found.code, 0, "{found:?}");
        let other = run(&[("DATABASE_URL", "mysql://u@127.0.0.1:1/d")]);
        assert_eq!(other.code, 1);
        assert!(other.stderr.contains("`u@127.0.0.1:1/d`: Connection refused"), "{other:?}");
        db.write(".env", "DATABASE_URL=mysql://u@h\n");
        assert!(run(&[]).stderr.contains("`DATABASE_URL` in `.env` has no database name"));
    }

    fn each_tls_mode_verifies_what_it_promises(db) {
        let ca = db.kind.ca();
        let said = |args: &str| db.airun(&format!("migrate status {args}"));
        let cipher = |mode: &str| {
            // The server reports the cipher of the session.
            db.write("20260101000001_cipher_UP.sql", "CREATE TABLE c AS SELECT VARIABLE_VALUE AS v FROM {status} WHERE VARIABLE_NAME = 'Ssl_cipher';".replace("{status}", status_table(db)));
            let up = db.airun(&format!("migrate up --tls-mode {mode} --tls-ca {ca}"));
            assert_eq!(up.code, 0, "{mode}: {up:?}");
            let cipher = db.rows("SELECT v FROM c").concat();
            db.execute(&["DROP TABLE c", "DROP TABLE ai_migrations"]);
            cipher
        };
        assert_eq!(cipher("disabled"), "");
        for mode in ["preferred", "required", "verify-ca", "verify-identity"] {
            assert_ne!(cipher(mode), "", "{mode}");
        }
        // The CA file belongs to another authority.
        let other = other_authority(db);
        for mode in ["verify-ca", "verify-identity"] {
            let refused = said(&format!("--tls-mode {mode} --tls-ca {other}"));
            assert_eq!(refused.code, 1, "{mode}: {refused:?}");
            assert!(refused.stderr.contains("check `--tls-ca` and the server's certificate"), "{refused:?}");
        }
        // The server's certificate doesn't name this host.
        let elsewhere = free_port("127.0.0.2");
        forward(&elsewhere, host(db));
        let by_name = db.url().replace(&host(db), &elsewhere);
        let refused = said(&format!("--tls-mode verify-identity --tls-ca {ca} --database-url {by_name}"));
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("certificate"), "{refused:?}");
        assert_eq!(said(&format!("--tls-mode verify-ca --tls-ca {ca} --database-url {by_name}")).code, 0);
        let unknown = said("--tls-mode sure");
        assert_eq!((unknown.code, unknown.stderr.as_str()), (2, "airun: error: invalid TLS mode `sure`; use disabled, preferred, required, verify-ca or verify-identity\n"));
    }

    fn unix_socket_is_used_if_one_is_named(db) {
        let socket = db.rows("SELECT @@socket").concat();
        let url = format!("mysql://{}@nowhere.invalid/{}?socket={socket}", user_part(db), db.name);
        let status = db.start_with("migrate status", &[("DATABASE_URL", &url)]).finish();
        assert_eq!(status.code, 0, "{status:?}");
    }

    fn first_host_that_answers_is_used(db) {
        db.migration(1, "t", "CREATE TABLE t (a INT);", "");
        let url = db.url().replace(&host(db), &format!("127.0.0.1:1,{}", host(db)));
        let up = db.start_with("migrate up", &[("DATABASE_URL", &url)]).finish();
        assert_eq!(up.code, 0, "{up:?}");
    }

    fn wait_ends_when_the_server_answers(db) {
        // Nothing listens on this port yet; later it forwards to the real server.
        let address = free_port("127.0.0.1");
        let url = db.url().replace(&host(db), &address);
        let late = db.start_with("migrate up --wait=1", &[("DATABASE_URL", &url)]).finish();
        assert_eq!(late.code, 1, "{late:?}");
        assert!(late.stderr.contains("s for the server: failed to connect to"), "{late:?}");
        let mut waiting = db.start_with("migrate up --wait", &[("DATABASE_URL", &url)]);
        waiting.wait_for("waiting for the server: ");
        forward(&address, host(db));
        let up = waiting.finish();
        assert_eq!(up.code, 0, "{up:?}");
    }

    fn silent_server_times_out(db) {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mysql://u@{}/d?connect-timeout=1", silent.local_addr().unwrap());
        let given_up = db.start_with("migrate status", &[("DATABASE_URL", &url)]).finish();
        assert_eq!(given_up.code, 1);
        assert!(given_up.stderr.contains("the server did not answer in time; check that it is a MySQL server"), "{given_up:?}");
    }
}

fn status_table(db: &Database) -> &'static str {
    match db.kind {
        crate::support::Kind::MySql => "performance_schema.session_status",
        crate::support::Kind::MariaDb => "information_schema.SESSION_STATUS",
    }
}

fn user_part(db: &Database) -> String {
    let url = db.url();
    url.trim_start_matches("mysql://").rsplit_once('@').map_or(String::new(), |(user, _)| user.to_owned())
}

/// Creates a CA certificate that has not signed the server's certificate.
fn other_authority(db: &Database) -> String {
    let (key, certificate) = (db.folder().join("key.pem"), db.folder().join("other-ca.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    certificate.to_str().unwrap().to_owned()
}

/// Returns an address on which nothing listens.
fn free_port(ip: &str) -> String {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// Forwards connections from `address` to `target`.
fn forward(address: &str, target: String) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = std::net::TcpStream::connect(&target).unwrap();
            let (mut a, mut b) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (mut client, mut server) = (client, server);
            std::thread::spawn(move || {
                drop(std::io::copy(&mut a, &mut server));
                drop(server.shutdown(std::net::Shutdown::Both));
            });
            std::thread::spawn(move || {
                drop(std::io::copy(&mut b, &mut client));
                drop(client.shutdown(std::net::Shutdown::Both));
            });
        }
    });
}
