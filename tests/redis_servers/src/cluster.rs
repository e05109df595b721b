//! A real cluster: three masters, and replicas.

use super::rights::{Rights, as_user};
use super::server::Server;
use super::tls::{Tls, words};
use super::until;

const SLOTS: u16 = 16_384;

/// A cluster of three masters.
#[derive(Debug)]
pub struct Cluster {
    /// Three, as they are at the start.
    pub masters: Vec<Server>,
    /// None, or one for each.
    pub replicas: Vec<Server>,
}

impl Cluster {
    /// - `with_replicas`: one for each master, that takes its place when it is gone.
    pub async fn start(with_replicas: bool) -> Self {
        Self::start_with(with_replicas, None).await
    }

    /// Its nodes speak TLS, also to each other.
    pub async fn over_tls(tls: &Tls) -> Self {
        Self::start_with(false, Some(tls)).await
    }

    async fn start_with(with_replicas: bool, tls: Option<&Tls>) -> Self {
        let usual = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let node = async || {
            let mut settings = tls.map(Tls::settings).unwrap_or_default();
            if tls.is_some() {
                settings.extend(["--tls-cluster", "yes"].map(str::to_owned));
            }
            Server::start(&[&words(&settings), &usual[..]].concat()).await
        };
        let mut masters = Vec::new();
        for _ in 0..3 {
            masters.push(node().await);
        }
        for (at, node) in (0_u16..).zip(&masters) {
            node.tell(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).await;
            let (first, end) = (SLOTS / 3 * at, if at == 2 { SLOTS } else { SLOTS / 3 * (at + 1) });
            let slots: Vec<String> = (first..end).map(|slot| slot.to_string()).collect();
            node.tell(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
        }
        let mut replicas = Vec::new();
        if with_replicas {
            for _ in &masters {
                replicas.push(node().await);
            }
        }
        for node in masters.iter().chain(&replicas).skip(1) {
            masters[0].tell(&format!("CLUSTER MEET 127.0.0.1 {}", port(node))).await;
        }
        let cluster = Self { masters, replicas };
        let all = (cluster.masters.len() + cluster.replicas.len()).to_string();
        for node in cluster.nodes() {
            until("the nodes know each other", async || {
                let info: String = node.ask("CLUSTER INFO").await.unwrap();
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{all}\r"))
            })
            .await;
        }
        for (master, replica) in cluster.masters.iter().zip(&cluster.replicas) {
            let id: String = master.ask("CLUSTER MYID").await.unwrap();
            until("the replica takes its master", async || {
                replica.ask::<String>(&format!("CLUSTER REPLICATE {id}")).await.is_ok()
            })
            .await;
            until("the replica follows", async || replica.info("master_link_status").await == "up")
                .await;
        }
        cluster
    }

    /// All its nodes.
    pub fn url(&self) -> String {
        let nodes: Vec<String> =
            self.nodes().map(|node| format!("127.0.0.1:{}", port(node))).collect();
        let scheme = if self.masters[0].tls_port().is_some() { "rediss" } else { "redis" };
        format!("{scheme}+cluster://{}", nodes.join(","))
    }

    /// Makes the user on all nodes. Returns the address for it.
    pub async fn url_for_users(&self) -> String {
        Rights::Cluster.give(self.nodes()).await;
        as_user(&self.url())
    }

    /// Masters, and replicas behind them.
    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.masters.iter().chain(&self.replicas)
    }
}

/// Where clients and other nodes find it.
fn port(node: &Server) -> u16 {
    node.tls_port().unwrap_or(node.port)
}
