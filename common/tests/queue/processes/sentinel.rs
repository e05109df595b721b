//! A real Sentinel set: a master, its replica, three sentinels.

use super::server::Server;
use super::until;

/// What the sentinels call the master.
pub(crate) const NAME: &str = "main";

pub(crate) struct Sentinels {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    watching: Vec<Server>,
}

impl Sentinels {
    pub(crate) async fn start() -> Self {
        // The replica has a user of its own at the master, so that a test can shut it out.
        let user = "--user follower on >follows +psync +replconf +ping \
                    --masteruser follower --masterauth follows";
        let mut settings: Vec<&str> = user.split(' ').collect();
        let master = Server::start(&settings).await;
        let (port, of) = (master.port.to_string(), format!("127.0.0.1 {}", master.port));
        settings.extend(["--replicaof", "127.0.0.1", &port]);
        let replica = Server::start(&settings).await;
        until("the replica follows", async || replica.info("master_link_status").await == "up")
            .await;
        let watch = format!(
            "sentinel monitor {NAME} {of} 2\n\
             sentinel down-after-milliseconds {NAME} 400\n\
             sentinel failover-timeout {NAME} 5000\n"
        );
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Server::sentinel(&watch).await);
        }
        for sentinel in &sentinels {
            until("the sentinels know each other", async || {
                let info: String = sentinel.ask("INFO").await.unwrap();
                info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
            })
            .await;
        }
        Self { master, replica, watching: sentinels }
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(NAME)
    }

    pub(crate) fn url_of(&self, name: &str) -> String {
        let all: Vec<String> =
            self.watching.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("redis+sentinel://{}/{name}", all.join(","))
    }

    /// From now on nothing reaches the replica, which the sentinels would promote all the same.
    pub(crate) async fn cut_replica_off(&self) {
        self.master.tell("ACL SETUSER follower off").await;
        self.master.tell("CLIENT KILL TYPE replica").await;
        until("the replica notices", async || {
            self.replica.info("master_link_status").await == "down"
        })
        .await;
    }
}
