//! A way to a server that can be cut, slowed and silenced: to who comes this way, the server is then
//! gone, far away, or fallen silent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use url::Url;

/// Bytes that are passed on at once.
const PIECE: usize = 16 * 1024;

/// How it is to go this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Each piece takes so long.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Silent,
    Shut,
}

/// A way to a server. Shut for good when dropped.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    server: watch::Sender<SocketAddr>,
    state: watch::Sender<State>,
    _keeper: JoinSet<()>,
}

impl Way {
    /// An open way to the server whose address the variable holds.
    ///
    /// # Errors
    ///
    /// When the variable is not set, or there is no port left.
    pub async fn to(variable: &str) -> anyhow::Result<Self> {
        let url = std::env::var(variable).context("run cargo xtask test")?;
        Self::to_server_of(&url).await
    }

    /// An open way to the server of this address.
    ///
    /// # Errors
    ///
    /// When it names more than one server, or there is no port left.
    pub async fn to_server_of(url: &str) -> anyhow::Result<Self> {
        let server = watch::Sender::new(server_of(url)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State::Open);
        let mut keeper = JoinSet::new();
        keeper.spawn(let_in(listener, server.subscribe(), state.subscribe()));
        Ok(Self { address, server, state, _keeper: keeper })
    }

    /// What to connect to instead of the server.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections lead to the server of this address.
    ///
    /// # Errors
    ///
    /// When it names more than one server.
    pub fn lead_to(&self, url: &str) -> anyhow::Result<()> {
        self.server.send_replace(server_of(url)?);
        Ok(())
    }

    /// Connections break, and new ones break at once.
    pub fn shut(&self) {
        self.state.send_replace(State::Shut);
    }

    /// Connections stay and are taken, and nothing is heard on them.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Every piece takes this much longer, in each direction.
    pub fn slow(&self, by: Duration) {
        self.state.send_replace(State::Slow(by));
    }

    /// New connections lead to the server again, and what was held back goes on.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }
}

fn server_of(url: &str) -> anyhow::Result<SocketAddr> {
    let [server] = Url::parse(url)?.socket_addrs(|| None)?[..] else {
        anyhow::bail!("there is more than one address")
    };
    Ok(server)
}

async fn let_in(
    listener: TcpListener,
    server: watch::Receiver<SocketAddr>,
    state: watch::Receiver<State>,
) {
    let mut inside = JoinSet::new();
    while let Ok((visitor, _)) = listener.accept().await {
        while inside.try_join_next().is_some() {}
        if *state.borrow() != State::Shut {
            let server = *server.borrow();
            inside.spawn(lead(visitor, server, state.clone()));
        }
    }
}

async fn lead(visitor: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let nagle = visitor.set_nodelay(true).and(server.set_nodelay(true));
    let ((from_visitor, to_visitor), (from_server, to_server)) =
        (visitor.into_split(), server.into_split());
    let (there, back) = (state.clone(), state.clone());
    tokio::select! {
        // However one of them ends, both sides are closed now.
        _ = pass_on(from_visitor, to_server, there), if nagle.is_ok() => {}
        _ = pass_on(from_server, to_visitor, back), if nagle.is_ok() => {}
        _ = state.wait_for(|state| *state == State::Shut) => {}
    }
}

async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
            return Ok(());
        };
        let state = state.wait_for(|state| *state != State::Silent).await;
        let delay = state.map(|state| match *state {
            State::Slow(by) => by,
            State::Open | State::Silent | State::Shut => Duration::ZERO,
        });
        sleep(delay.unwrap_or_default()).await;
        to.write_all(read).await?;
    }
}
