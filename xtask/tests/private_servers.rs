//! Private servers answer while their guard lives and are gone with it.

#![expect(clippy::unwrap_used, reason = "the verbs of these tests fail with the test")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use xtask::{
    servers::{Places, Servers},
    signals::Signals,
};

/// A folder that the servers' user can enter: root's servers run as another user.
fn target_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

fn start(target: &Path) -> Servers {
    // Programs come from where `cargo xtask` put them, if it had to.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".syncline");
    Servers::start(&Places { target: target.to_owned(), own }, &Signals::ignore()).unwrap()
}

/// `scheme://role:password@host:port/…` taken apart: password and `host:port`.
fn parts(url: &str) -> (&str, &str) {
    let (_, rest) = url.split_once("://").unwrap();
    let (role, rest) = rest.split_once('@').unwrap();
    (role.split_once(':').unwrap().1, rest.split_once('/').unwrap().0)
}

fn ask_redis(url: &str, commands: &str) -> String {
    let (password, address) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "AUTH {password}\r\n{commands}\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ask_postgres(servers: &Servers, query: &str) -> String {
    let psql = servers.programs().postgres.join("psql");
    let output = Command::new(psql)
        .args(["--no-psqlrc", "-At", "-c", query, servers.database_url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn private_servers_answer_and_are_gone_with_their_guard() {
    let target = target_folder();
    let servers = start(target.path());
    let (redis, postgres) = (servers.redis_url().to_owned(), servers.database_url().to_owned());

    assert_eq!(ask_redis(&redis, "PING"), "+OK\r\n+PONG\r\n+OK\r\n");
    assert!(ask_redis(&redis, "CONFIG GET maxmemory-policy").contains("noeviction"));
    let query = "select current_database(), rolsuper from pg_roles where rolname = current_user";
    assert_eq!(ask_postgres(&servers, query), "syncline|t");
    assert_eq!(ask_postgres(&servers, "create database another"), "CREATE DATABASE");

    drop(servers);
    for url in [&redis, &postgres] {
        assert!(TcpStream::connect(parts(url).1).is_err(), "{url} still answers");
    }
    let left = fs::read_dir(target.path().join("syncline")).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).filter(|name| name != "lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_stranger_on_the_same_machine_is_refused() {
    let target = target_folder();
    let servers = start(target.path());
    let mut stream = TcpStream::connect(parts(servers.redis_url()).1).unwrap();
    stream.write_all(b"PING\r\nQUIT\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("-NOAUTH"), "{answer}");

    let (password, _) = parts(servers.database_url());
    let url = servers.database_url().replace(password, "guess");
    let psql = servers.programs().postgres.join("psql");
    let output = Command::new(psql).args(["-c", "select 1", &url]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("password authentication failed"), "{errors}");
}

#[test]
fn two_runs_side_by_side_do_not_meet() {
    let target = target_folder();
    let (one, two) = (start(target.path()), start(target.path()));
    ask_redis(one.redis_url(), "SET mine 1");
    assert!(ask_redis(two.redis_url(), "DBSIZE").contains(":0\r\n"));
    ask_postgres(&one, "create table mine ()");
    assert_eq!(ask_postgres(&two, "select to_regclass('mine') is null"), "t");
    drop(one);
    assert!(ask_redis(two.redis_url(), "PING").contains("PONG"));
    assert_eq!(ask_postgres(&two, "select 1"), "1");
}
