//! A way to Redis on which commands are counted: what clients send, not what scripts call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

/// Counts the commands of whoever comes this way. Closed when dropped.
#[derive(Debug)]
pub struct Toll {
    url: String,
    seen: Arc<AtomicU64>,
    _keeper: JoinSet<()>,
}

impl Toll {
    /// A way to the server at `url`.
    ///
    /// # Errors
    ///
    /// When there is no such address, or no free port.
    pub async fn to(url: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(url)?;
        let server = *url.socket_addrs(|| None)?.first().context("no address")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        url.set_ip_host([127, 0, 0, 1].into()).ok().context("no host")?;
        url.set_port(Some(port)).ok().context("no port")?;
        let seen = Arc::new(AtomicU64::new(0));
        let mut keeper = JoinSet::new();
        keeper.spawn(let_through(listener, server, Arc::clone(&seen)));
        Ok(Self { url: url.into(), seen, _keeper: keeper })
    }

    /// What to connect to instead of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Commands so far.
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

async fn let_through(listener: TcpListener, server: SocketAddr, seen: Arc<AtomicU64>) {
    let mut ways = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        // A connection that breaks is noticed by those at its ends.
        ways.spawn(async move { pass(client, server, &seen).await.ok() });
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, seen: &AtomicU64) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let answers = copy(&mut from_server, &mut to_client);
    let questions = async {
        let (mut commands, mut bytes) = (Commands::default(), vec![0; 1 << 16]);
        loop {
            let length = from_client.read(&mut bytes).await?;
            let read = bytes.get(..length).unwrap_or_default();
            if read.is_empty() {
                return to_server.shutdown().await;
            }
            seen.fetch_add(commands.begun_in(read), Ordering::Relaxed);
            to_server.write_all(read).await?;
        }
    };
    tokio::try_join!(answers, questions)?;
    Ok(())
}

/// Finds the beginnings of commands in a stream of bytes.
///
/// Source: the Redis serialization protocol: a command is an array (`*n`) of bulk strings (`$n`).
#[derive(Debug, Default)]
struct Commands {
    line: Vec<u8>,
    /// Bytes of a string, and the line end after it, that are still to come.
    skipped: usize,
}

impl Commands {
    fn begun_in(&mut self, mut bytes: &[u8]) -> u64 {
        let mut begun = 0;
        while let Some(&first) = bytes.first() {
            if self.skipped > 0 {
                let skipped = self.skipped.min(bytes.len());
                self.skipped -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            bytes = bytes.get(1..).unwrap_or_default();
            if first != b'\n' {
                self.line.push(first);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match line.first() {
                Some(b'$') => self.skipped = length(&line) + 2,
                Some(b'*') => begun += 1,
                _ => {}
            }
        }
        begun
    }
}

fn length(line: &[u8]) -> usize {
    let text = line.get(1..).and_then(|digits| std::str::from_utf8(digits).ok());
    text.and_then(|digits| digits.trim_end().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An argument that looks like a command must not count as one.
    const STREAM: &[u8] =
        b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n\r\n*1\r\n$1\n\r\n\
        *2\r\n$3\r\nGET\r\n$0\r\n\r\n";

    #[test]
    fn commands_are_counted_and_arguments_are_not() {
        assert_eq!(Commands::default().begun_in(STREAM), 3);
    }

    #[test]
    fn commands_are_counted_however_the_stream_is_cut() {
        for cut in 1..STREAM.len() {
            let mut commands = Commands::default();
            let begun: u64 = STREAM.chunks(cut).map(|bytes| commands.begun_in(bytes)).sum();
            assert_eq!(begun, 3, "cut every {cut} bytes");
        }
    }
}
