//! Finds out what a real client sends, with a fake server that records every packet and answers OK.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Limit for every wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The servers' own clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    MySql,
    MariaDb,
}

/// Statements that the client sends for `script`, without most comments. `None` if the client itself rejects the script.
#[expect(clippy::disallowed_methods, reason = "a test has no shutdown that could wake it")]
pub fn sent(client: Client, script: &[u8]) -> Option<Vec<Vec<u8>>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("script.sql");
    fs::write(&file, script).expect("the script");
    let mut command = program(client, port);
    let mut client = command
        .stdin(fs::File::open(&file).expect("the script"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    listener.set_nonblocking(true).expect("a listener");
    let deadline = Instant::now() + TIMEOUT;
    let socket = loop {
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{command:?} did not connect: {error}"),
        }
    };
    socket.set_nonblocking(false).expect("a socket");
    socket.set_read_timeout(Some(TIMEOUT)).expect("a socket");
    let statements = serve(socket).expect("the client's packets");
    client.wait().expect("the client's end").success().then_some(statements)
}

/// With `--comments`, the clients overlook a `DELIMITER` that follows an indented comment; without, as was their default
/// for a long time, they don't.
fn program(client: Client, port: u16) -> Command {
    let setting = match client {
        Client::MySql => "AIRUN_TEST_MYSQL_CLIENT",
        Client::MariaDb => "AIRUN_TEST_MARIADB_CLIENT",
    };
    let line = std::env::var(setting)
        .unwrap_or_else(|_| panic!("{setting} is not set; run `scripts/test`, which finds both clients and sets it"));
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("the client's program"));
    command.args(words);
    command.args(["--host=127.0.0.1", "--protocol=tcp", "--user=x", "--skip-comments"]);
    command.args([format!("--port={port}"), "--default-character-set=utf8mb4".to_owned()]);
    if client == Client::MySql {
        // Clients before 9 allow these commands in scripts by default.
        command.arg("--commands");
    }
    command.arg("x");
    command
}

/// Answers each packet with OK until the client quits.
fn serve(mut socket: TcpStream) -> io::Result<Vec<Vec<u8>>> {
    const QUIT: u8 = 1;
    const INIT_DB: u8 = 2;
    const QUERY: u8 = 3;
    write(&mut socket, 0, &greeting())?;
    let (number, _login) = read(&mut socket)?;
    write(&mut socket, number + 1, OK)?;
    let mut statements = Vec::new();
    loop {
        let (number, packet) = match read(&mut socket) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(statements),
            packet => packet?,
        };
        match packet.split_first() {
            Some((&QUIT, _)) | None => return Ok(statements),
            Some((&INIT_DB, name)) => statements.push([b"use ", name].concat()),
            Some((&QUERY, text)) if !CLIENT_QUERIES.iter().any(|query| text.starts_with(query)) => {
                statements.push(text.to_vec())
            }
            Some(_) => {}
        }
        write(&mut socket, number + 1, OK)?;
    }
}

/// Queries that clients send on their own.
const CLIENT_QUERIES: [&[u8]; 3] = [b"select @@version_comment", b"select $$", b"SELECT DATABASE()"];

/// No rows, no error; autocommit is on.
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// Returns the server's first packet (protocol 10): a version, no TLS, and a fixed salt.
fn greeting() -> Vec<u8> {
    /// LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS,
    /// PLUGIN_AUTH.
    const CAPABILITIES: u32 = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x8_0000;
    let [low, high] = [CAPABILITIES as u16, (CAPABILITIES >> 16) as u16];
    [
        b"\x0a9.0.0\0\x01\0\0\0saltsalt\0",
        &low.to_le_bytes()[..],
        b"\xff\x02\0",
        &high.to_le_bytes()[..],
        b"\x15\0\0\0\0\0\0\0\0\0saltsaltsalt\0mysql_native_password\0",
    ]
    .concat()
}

fn write(socket: &mut TcpStream, number: u8, packet: &[u8]) -> io::Result<()> {
    let length = (packet.len() as u32).to_le_bytes();
    socket.write_all(&[&length[..3], &[number], packet].concat())
}

fn read(socket: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 4];
    socket.read_exact(&mut header)?;
    let [a, b, c, number] = header;
    let mut packet = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    socket.read_exact(&mut packet)?;
    Ok((number, packet))
}
