//! A way to a server that can be closed: to who comes this way, the server is then gone.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// A door in front of a server. Closed for good when dropped.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    open: watch::Sender<bool>,
    _doorman: JoinSet<()>,
}

impl Door {
    /// An open door to the server whose address the variable holds.
    pub(crate) async fn to(variable: &str) -> anyhow::Result<Self> {
        let url = std::env::var(variable).context("run cargo xtask test")?;
        let server = Url::parse(&url)?;
        let [server] = server.socket_addrs(|| None)?[..] else {
            anyhow::bail!("{variable} has more than one address")
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let open = watch::Sender::new(true);
        let mut doorman = JoinSet::new();
        doorman.spawn(let_in(listener, server, open.subscribe()));
        Ok(Self { address, open, _doorman: doorman })
    }

    /// What to connect to instead of the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections break, and new ones break at once.
    pub(crate) fn shut(&self) {
        self.open.send_replace(false);
    }

    /// New connections lead to the server again.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn let_in(listener: TcpListener, server: SocketAddr, open: watch::Receiver<bool>) {
    let mut inside = JoinSet::new();
    while let Ok((visitor, _)) = listener.accept().await {
        while inside.try_join_next().is_some() {}
        if *open.borrow() {
            inside.spawn(pass_on(visitor, server, open.clone()));
        }
    }
}

async fn pass_on(mut visitor: TcpStream, server: SocketAddr, mut open: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // However the two end, both are closed now.
        _ = copy_bidirectional(&mut visitor, &mut server) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}
