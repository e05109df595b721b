//! A real Sentinel set: a master, its replica, three sentinels.

use super::rights::{Rights, as_sentinels_user, as_user, sentinels_user};
use super::server::Server;
use super::tls::{Tls, words};
use super::until;

/// What the sentinels call the master.
const NAME: &str = "main";

/// A master, its replica, and three sentinels that watch them.
#[derive(Debug)]
pub struct Sentinels {
    /// As they are at the start.
    pub master: Server,
    /// As they are at the start.
    pub replica: Server,
    /// With the port for clients.
    watching: Vec<(Server, u16)>,
    scheme: &'static str,
}

impl Sentinels {
    /// Waits until they know each other.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// All of them speak TLS, also to each other.
    pub async fn over_tls(tls: &Tls) -> Self {
        Self::start_with(Some(tls)).await
    }

    async fn start_with(tls: Option<&Tls>) -> Self {
        let own = || tls.map(Tls::settings).unwrap_or_default();
        // The replica has a user of its own at the master, so that a test can shut it out.
        let user = "--user follower on >follows +psync +replconf +ping \
                    --masteruser follower --masterauth follows";
        let user: Vec<&str> = user.split(' ').collect();
        let master = Server::start(&[&words(&own()), &user[..]].concat()).await;
        let port = master.tls_port().unwrap_or(master.port).to_string();
        let follows = ["--replicaof", "127.0.0.1", &port];
        let replica = Server::start(&[&words(&own()), &user[..], &follows].concat()).await;
        until("the replica follows", async || replica.info("master_link_status").await == "up")
            .await;
        let watch = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {NAME} 400\n\
             sentinel failover-timeout {NAME} 5000\n"
        );
        let mut watching = Vec::new();
        for _ in 0..3 {
            let own = own();
            // Name, value, name, value; in a file without the dashes, and first of all.
            let line = |pair: &[String]| pair.join(" ").trim_start_matches('-').to_owned() + "\n";
            let lines: Vec<String> = own.chunks(2).map(line).collect();
            let sentinel = Server::sentinel(&(lines.concat() + &watch)).await;
            let port = own.get(1).map_or(sentinel.port, |port| port.parse().unwrap());
            watching.push((sentinel, port));
        }
        for (sentinel, _) in &watching {
            until("the sentinels know each other", async || {
                let info: String = sentinel.ask("INFO").await.unwrap();
                info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
            })
            .await;
        }
        let scheme = if tls.is_some() { "rediss" } else { "redis" };
        Self { master, replica, watching, scheme }
    }

    /// Of the master, as the sentinels know it.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// Of a master of another name.
    pub fn url_of(&self, name: &str) -> String {
        let all: Vec<String> =
            self.watching.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("{}+sentinel://{}/{name}", self.scheme, all.join(","))
    }

    /// Of one sentinel, for a user that it has.
    pub fn url_of_one(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}", self.watching[0].1)
    }

    /// Makes both users, that of the servers and that of the sentinels. Returns the address for them.
    pub async fn url_for_users(&self) -> String {
        Rights::Sentinel.give([&self.master, &self.replica]).await;
        for (sentinel, _) in &self.watching {
            sentinel.tell(&sentinels_user()).await;
        }
        as_sentinels_user(&as_user(&self.url()))
    }

    /// From now on nothing reaches the replica, which the sentinels would promote all the same.
    pub async fn cut_replica_off(&self) {
        self.master.tell("ACL SETUSER follower off").await;
        self.master.tell("CLIENT KILL TYPE replica").await;
        until("the replica notices", async || {
            self.replica.info("master_link_status").await == "down"
        })
        .await;
    }
}
