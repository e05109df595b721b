//! One server process, met and found fit: the connection to it, and which process it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo};

use super::fault::Fault;

/// Longer than any script takes; a Redis that is silent for this long is as good as away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The oldest release that the scripts are run against.
const OLDEST: (u32, u32) = (6, 2);

/// One server process. The connection ends with the process and is never made anew, so what is
/// sent over it reaches this process or none.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    connection: MultiplexedConnection,
    process: Arc<Process>,
}

#[derive(Debug)]
struct Process {
    run_id: String,
    info: ConnectionInfo,
}

impl Server {
    /// Connects and looks whether it can be trusted with a queue.
    ///
    /// - `cluster`: whether it is to be a node of one.
    pub(super) async fn meet(info: &ConnectionInfo, cluster: bool) -> Result<Self, Fault> {
        let mut connection = connect(info).await?;
        let told: String = redis::cmd("INFO").query_async(&mut connection).await?;
        let run_id = fit(&told, cluster)?;
        Ok(Self { connection, process: Arc::new(Process { run_id, info: info.clone() }) })
    }

    /// For commands that do not block; they share it.
    pub fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// A random name that the process gave itself when it started.
    pub fn run_id(&self) -> &str {
        &self.process.run_id
    }

    /// Where it is: for a connection that blocks.
    pub fn info(&self) -> &ConnectionInfo {
        &self.process.info
    }
}

/// A connection that is not yet known to lead to a fit server.
pub(super) async fn connect(info: &ConnectionInfo) -> Result<MultiplexedConnection, Fault> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWERS_WITHIN))
        .set_response_timeout(Some(ANSWERS_WITHIN));
    let client = Client::open(info.clone())?;
    Ok(client.get_multiplexed_async_connection_with_config(&settings).await?)
}

/// Reads the answer to `INFO`; returns the run id.
fn fit(info: &str, cluster: bool) -> Result<String, Fault> {
    let fields: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.split_once(':')).collect();
    let field =
        |name: &'static str| fields.get(name).map(|value| value.trim()).ok_or(Fault::Unknown(name));
    let version = field("redis_version")?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(Fault::TooOld(version.to_owned()));
    }
    match (field("cluster_enabled")? == "1", cluster) {
        (true, false) => return Err(Fault::IsCluster),
        (false, true) => return Err(Fault::NoCluster),
        _ => {}
    }
    if field("loading")? == "1" {
        return Err(Fault::Loading);
    }
    if field("role")? != "master" {
        return Err(Fault::Replica);
    }
    let policy = field("maxmemory_policy")?;
    if field("maxmemory")? != "0" && policy != "noeviction" {
        return Err(Fault::Evicts(policy.to_owned()));
    }
    Ok(field("run_id")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, role: &str, maxmemory: &str, policy: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\n# Memory\r\n\
             loading:0\r\nmaxmemory:{maxmemory}\r\nmaxmemory_policy:{policy}\r\n# Replication\r\n\
             role:{role}\r\n# Cluster\r\ncluster_enabled:0\r\n"
        )
    }

    #[test]
    fn a_redis_that_could_lose_jobs_is_refused() {
        let judged = |v, r, m, p| fit(&info(v, r, m, p), false);
        assert_eq!(judged("7.0.15", "master", "0", "noeviction").unwrap(), "abc");
        assert!(judged("6.2.0", "master", "100", "noeviction").is_ok());
        assert!(judged("10.1", "master", "0", "allkeys-lru").is_ok(), "it has no limit");
        let evicts = judged("7.2.4", "master", "100", "allkeys-lru");
        assert!(matches!(evicts, Err(Fault::Evicts(policy)) if policy == "allkeys-lru"));
        let old = judged("6.0.16", "master", "0", "noeviction");
        assert!(matches!(old, Err(Fault::TooOld(version)) if version == "6.0.16"));
        assert!(matches!(judged("7.2.4", "slave", "0", "noeviction"), Err(Fault::Replica)));
        assert!(matches!(fit("garbage", false), Err(Fault::Unknown("redis_version"))));
    }

    #[test]
    fn one_server_and_a_cluster_are_not_mistaken_for_each_other() {
        let alone = info("7.0.15", "master", "0", "noeviction");
        assert!(matches!(fit(&alone, true), Err(Fault::NoCluster)));
        let node = alone.replace("cluster_enabled:0", "cluster_enabled:1");
        assert!(matches!(fit(&node, false), Err(Fault::IsCluster)));
    }
}
