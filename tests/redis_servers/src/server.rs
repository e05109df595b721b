//! One server process of Redis on a free port of the loopback. Killed when dropped.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;

use super::until;

/// The bus of a cluster is this far above the port of a node.
const BUS: u16 = 10_000;

/// The program that `cargo xtask test` found, else the one on PATH.
pub fn program() -> PathBuf {
    env::var_os("SYNCLINE_REDIS_SERVER").map_or_else(|| "redis-server".into(), PathBuf::from)
}

/// A program that the variable names; without it a word that what needs it is skipped.
pub fn program_in(variable: &str) -> Option<PathBuf> {
    let program = env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        eprintln!("skipped: {variable} names no server program; `cargo xtask test` does");
    }
    program
}

/// A running server, or one that was stopped and can be started again over its data.
#[derive(Debug)]
pub struct Server {
    child: Child,
    program: PathBuf,
    arguments: Vec<String>,
    /// Where it listens without TLS.
    pub port: u16,
    /// Where it runs.
    pub folder: TempDir,
}

impl Server {
    /// Starts it with settings as on its command line, and waits until it answers.
    pub async fn start(settings: &[&str]) -> Self {
        Self::of(&program(), settings).await
    }

    /// The same of another program.
    pub async fn of(program: &Path, settings: &[&str]) -> Self {
        let server = Self::spawn(program, settings);
        server.answers().await;
        server
    }

    /// Starts it without waiting: it may be loading, or not speak to strangers.
    pub fn spawn(program: &Path, settings: &[&str]) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let usual = format!(
            "--bind 127.0.0.1 --port {port} --save --appendonly no --loglevel warning \
             --repl-diskless-sync-delay 0"
        );
        let mut arguments: Vec<String> = Vec::new();
        for word in usual.split(' ') {
            arguments.push(word.to_owned());
            if word == "--save" {
                arguments.push(String::new());
            }
        }
        arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
        let child = run(program, &arguments, folder.path());
        Self { child, program: program.to_owned(), arguments, port, folder }
    }

    /// Started as a sentinel, from a file that it writes to.
    pub async fn sentinel(settings: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("sentinel.conf");
        let usual = format!("bind 127.0.0.1\nport {port}\nloglevel warning\n");
        std::fs::write(&file, usual + settings).unwrap();
        let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
        let child = run(&program(), &arguments, folder.path());
        let server = Self { child, program: program(), arguments, port, folder };
        server.answers().await;
        server
    }

    /// Where it is, without a user.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same again on the same port, over the same data, with some settings changed.
    pub fn start_again(&mut self, settings: &[&str]) {
        self.arguments.extend(settings.iter().map(|&setting| setting.to_owned()));
        self.child = run(&self.program, &self.arguments, self.folder.path());
    }

    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Where it speaks TLS.
    pub fn tls_port(&self) -> Option<u16> {
        let at = self.arguments.iter().position(|word| word == "--tls-port")?;
        self.arguments[at + 1].parse().ok()
    }

    /// The same over TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port().unwrap())
    }

    /// Asks as whoever the server takes a stranger for.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().unwrap());
        for word in words {
            asked.arg(word);
        }
        asked.query_async(&mut self.connect().await?).await
    }

    /// The same for what has no answer of interest.
    pub async fn tell(&self, command: &str) {
        let _answer: redis::Value = self.ask(command).await.unwrap();
    }

    /// One line of INFO.
    pub async fn info(&self, field: &str) -> String {
        let info: String = self.ask("INFO").await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap_or_default().trim().to_owned()
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Waits until it answers.
    async fn answers(&self) {
        until("a server answers", async || self.ask::<String>("PING").await.is_ok()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(program: &Path, arguments: &[String], folder: &Path) -> Child {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is on PATH, or SYNCLINE_REDIS_SERVER names it")
}

/// A port whose neighbour for the bus of a cluster exists and is free too.
pub(crate) fn free_port() -> u16 {
    loop {
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let port = listen(0).unwrap().local_addr().unwrap().port();
        if port.checked_add(BUS).is_some_and(|bus| listen(bus).is_ok()) {
            return port;
        }
    }
}
