//! Which server holds a shard now: the only one, the one that the sentinels name, or the one that
//! the cluster names for the shard's slot.

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{ConnectionAddr, ConnectionInfo, RedisError, TlsMode, Value};

use super::address::{Address, Place, tcp};
use super::fault::Fault;
use super::server::{Server, connect};

/// Finds the server of one shard.
pub(super) enum Finder {
    Server(ConnectionInfo),
    Sentinel(Box<SentinelClient>),
    Cluster {
        nodes: Vec<ConnectionInfo>,
        /// Any key of the shard; its hash tag decides the slot.
        key: String,
    },
}

impl Finder {
    pub(super) fn new(address: &Address, key: String) -> Result<Self, RedisError> {
        Ok(match &address.place {
            Place::Server(info) => Self::Server(info.clone()),
            Place::Cluster(nodes) => Self::Cluster { nodes: nodes.clone(), key },
            Place::Sentinel { sentinels, master, node } => {
                let own = sentinels.first().map(ConnectionInfo::redis_settings);
                let addresses = sentinels.iter().map(|info| info.addr().clone());
                let kind = SentinelServerType::Master;
                let mut builder = SentinelClientBuilder::new(addresses, master, kind)?
                    .set_client_to_sentinel_tcp_settings(tcp())
                    .set_client_to_redis_tcp_settings(tcp())
                    .set_client_to_redis_db(node.db());
                if let Some(user) = own.and_then(|own| own.username()) {
                    builder = builder.set_client_to_sentinel_username(user);
                }
                if let Some(password) = own.and_then(|own| own.password()) {
                    builder = builder.set_client_to_sentinel_password(password);
                }
                if let Some(user) = node.username() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = node.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if address.is_secure() {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                }
                if let Some(certificates) = &address.certificates {
                    builder = builder.set_client_to_redis_certificates(certificates.clone());
                }
                Self::Sentinel(Box::new(builder.build()?))
            }
        })
    }

    /// The server, asked for anew, connected to and found fit.
    pub(super) async fn server(&mut self) -> Result<Server, Fault> {
        let found = self.find().await?;
        Server::meet(&found, matches!(self, Self::Cluster { .. })).await
    }

    async fn find(&mut self) -> Result<ConnectionInfo, Fault> {
        match self {
            Self::Server(info) => Ok(info.clone()),
            Self::Sentinel(client) => {
                let found = client.async_get_client().await?;
                let info = found.get_connection_info().clone();
                let settings = info.redis_settings().clone().set_skip_set_lib_name();
                Ok(info.set_redis_settings(settings))
            }
            Self::Cluster { nodes, key } => {
                let mut fault = Fault::ClusterDown;
                for at in 0..nodes.len() {
                    let Some(node) = nodes.get(at) else { break };
                    match ask(node, key).await {
                        Ok(found) => {
                            // It knew: the next time it is asked first.
                            nodes.swap(0, at);
                            return Ok(found);
                        }
                        Err(said) => fault = said,
                    }
                }
                Err(fault)
            }
        }
    }
}

/// The server of the slot of `key`, as `node` knows it.
async fn ask(node: &ConnectionInfo, key: &str) -> Result<ConnectionInfo, Fault> {
    let mut connection: MultiplexedConnection = connect(node).await?;
    let mut command = redis::cmd("CLUSTER");
    let slot: Result<u16, RedisError> =
        command.arg("KEYSLOT").arg(key).query_async(&mut connection).await;
    let slot = slot.map_err(|error| match error.detail() {
        Some(text) if text.contains("cluster support disabled") => Fault::NoCluster,
        _ => Fault::from(error),
    })?;
    let slots: Vec<Vec<Value>> =
        redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
    let (told, port) =
        slots.iter().find_map(|range| master_of(range, slot)).ok_or(Fault::ClusterDown)?;
    // A node that does not know its own name means: where you asked.
    let or_asked = |asked: &String| if told.is_empty() { asked.clone() } else { told.clone() };
    let found = match node.addr() {
        ConnectionAddr::Tcp(asked, _) => ConnectionAddr::Tcp(or_asked(asked), port),
        ConnectionAddr::TcpTls { host: asked, insecure, tls_params, .. } => {
            let (insecure, tls_params) = (*insecure, tls_params.clone());
            ConnectionAddr::TcpTls { host: or_asked(asked), port, insecure, tls_params }
        }
        _ => return Err(Fault::NoCluster),
    };
    Ok(node.clone().set_addr(found))
}

/// Host and port of the master in a line of `CLUSTER SLOTS`, `[first, last, [host, port, ...],
/// replicas...]`, when the line is about `slot`.
fn master_of(range: &[Value], slot: u16) -> Option<(String, u16)> {
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range else {
        return None;
    };
    if !(*first..=*last).contains(&i64::from(slot)) {
        return None;
    }
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    };
    // "?" is what a node says of another whose name it does not know.
    let host = if host == "?" { String::new() } else { host };
    Some((host, u16::try_from(*port).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_of_a_slot_is_read_from_its_range() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port)]);
        let text = |host: &str| Value::BulkString(host.as_bytes().to_vec());
        let range = [
            Value::Int(100),
            Value::Int(200),
            node(text("10.0.0.1"), 7000),
            node(text("10.0.0.2"), 7001),
        ];
        for slot in [100, 200] {
            assert_eq!(master_of(&range, slot), Some(("10.0.0.1".to_owned(), 7000)));
        }
        assert_eq!(master_of(&range, 99), None);
        assert_eq!(master_of(&range, 201), None);
        for unknown in [Value::Nil, text(""), text("?")] {
            let range = [Value::Int(0), Value::Int(1), node(unknown, 7)];
            assert_eq!(master_of(&range, 1), Some((String::new(), 7)));
        }
        assert_eq!(master_of(&[Value::Nil], 0), None);
    }
}
