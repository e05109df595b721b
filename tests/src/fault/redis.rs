//! A Redis of one story's own, which it may flush, freeze and kill.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use redis::AsyncConnectionConfig;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use url::Url;

/// How long it may take to answer after its start.
const START: Duration = Duration::from_secs(20);

/// A server without data on disk: killed, it comes back empty. Killed when dropped.
#[derive(Debug)]
pub struct OwnRedis {
    child: Child,
    url: Url,
    folder: TempDir,
}

impl OwnRedis {
    /// Starts one whose user and password are those of `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let mut url = Url::parse(&std::env::var("REDIS_URL").context("run cargo xtask test")?)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        url.set_port(Some(port)).map_err(|()| anyhow!("the address has a port"))?;
        let folder = tempfile::tempdir()?;
        let child = run(&url, &folder)?;
        let redis = Self { child, url, folder };
        redis.answers().await?;
        Ok(redis)
    }

    /// Where it is, with its password.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// SIGKILL.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// After a kill: the same again, empty.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = run(&self.url, &self.folder)?;
        self.answers().await
    }

    /// Everything in it is gone at one stroke.
    ///
    /// # Errors
    ///
    /// When it is away.
    pub async fn flush_all(&self) -> anyhow::Result<()> {
        self.tell("FLUSHALL").await
    }

    async fn tell(&self, command: &str) -> anyhow::Result<()> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(START));
        let client = redis::Client::open(self.url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd(command).exec_async(&mut connection).await?;
        Ok(())
    }

    async fn answers(&self) -> anyhow::Result<()> {
        let give_up = Instant::now() + START;
        while let Err(error) = self.tell("PING").await {
            if Instant::now() > give_up {
                bail!("redis-server does not answer: {error}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn run(url: &Url, folder: &TempDir) -> anyhow::Result<Child> {
    let program = std::env::var_os("SYNCLINE_REDIS_SERVER")
        .map_or_else(|| "redis-server".into(), PathBuf::from);
    let port = url.port().context("the address has a port")?.to_string();
    Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
        .args(["--loglevel", "warning", "--requirepass", url.password().unwrap_or_default()])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("redis-server is on PATH, or SYNCLINE_REDIS_SERVER names it")
}
