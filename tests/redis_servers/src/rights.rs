//! The least rights that suffice, as docs/OPERATING.md describes them.

use super::server::Server;

const OPERATING: &str = include_str!("../../../docs/OPERATING.md");
/// Of every user that is made here.
pub const PASSWORD: &str = "an-example-password";

/// The documented line, with what stands beside it for other ways to run Redis.
#[derive(Clone, Copy, Debug)]
pub enum Rights {
    /// For one server.
    Server,
    /// For the nodes of a cluster.
    Cluster,
    /// For servers behind sentinels.
    Sentinel,
}

impl Rights {
    /// As documented, for the namespaces of tests.
    pub fn line(&self) -> String {
        let line = lines("ACL SETUSER syncline ").next().expect("the line is in OPERATING.md");
        let more = match self {
            Self::Server => "",
            Self::Cluster => " +cluster|keyslot +cluster|slots",
            Self::Sentinel => " +role",
        };
        assert!(OPERATING.contains(more.trim()), "OPERATING.md has {more}");
        line.replace("PASSWORD", PASSWORD).replace("~{s", "~{*s") + more
    }

    /// Makes the user on these servers.
    pub async fn give(&self, servers: impl IntoIterator<Item = &Server>) {
        for server in servers {
            server.tell(&self.line()).await;
        }
    }
}

/// The same address for the user.
pub fn as_user(url: &str) -> String {
    match url.strip_prefix("unix://") {
        Some(path) => format!("unix://{path}?user=syncline&pass={PASSWORD}"),
        None => url.replacen("://", &format!("://syncline:{PASSWORD}@"), 1),
    }
}

/// The line for the sentinels, as documented.
pub(crate) fn sentinels_user() -> String {
    let line = lines("ACL SETUSER syncline-sentinel ").next().expect("it is in OPERATING.md");
    line.replace("PASSWORD", PASSWORD)
}

/// The same address for that user.
pub(crate) fn as_sentinels_user(url: &str) -> String {
    format!("{url}?sentinel_user=syncline-sentinel&sentinel_password={PASSWORD}")
}

/// The lines of OPERATING.md that begin so.
pub fn lines(beginning: &str) -> impl Iterator<Item = &str> {
    OPERATING.lines().map(str::trim).filter(move |line| line.starts_with(beginning))
}
