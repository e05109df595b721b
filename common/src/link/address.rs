//! How Redis is run and where it is, as one URL says it: one server, a set that Sentinel watches,
//! a cluster.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates,
};
use url::Url;

/// A host that is gone without a word is noticed by the kernel within this time, which then ends
/// the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Where a sentinel listens when nothing else is said.
const SENTINEL_PORT: u16 = 26379;
/// Servers that a list may name.
const MOST_HOSTS: usize = 64;

/// How Redis is run and where it is. Its `Debug` shows no more than how it is run: an address may
/// hold a password.
#[derive(Clone)]
pub struct Address {
    pub(super) place: Place,
    pub(super) certificates: Option<TlsCertificates>,
}

#[derive(Clone)]
pub(super) enum Place {
    /// One server, or one name behind which a server always stands.
    Server(ConnectionInfo),
    /// The master of this name, as the sentinels know it.
    Sentinel { sentinels: Vec<ConnectionInfo>, master: String, node: RedisConnectionInfo },
    /// The nodes of a cluster, or some of them.
    Cluster(Vec<ConnectionInfo>),
}

/// What is wrong with an address. Says nothing of what stands in it: that may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not one of the forms.
    #[error(
        "is no address of Redis: write redis://host:port, rediss://host:port, \
         unix:///path/to/socket, redis+sentinel://host:port,host:port/<master> or \
         redis+cluster://host:port,host:port"
    )]
    Form,
    /// A host that cannot be read.
    #[error(
        "is no address of Redis: number {0} of its hosts is not one; write host:port, and \
         percent-encode what is special in a user or a password"
    )]
    Host(usize),
    /// More hosts than anybody needs.
    #[error("names more than {MOST_HOSTS} hosts: some of them are enough, the others are found")]
    TooManyHosts,
    /// The sentinels watch several masters.
    #[error(
        "does not say which master is meant: write redis+sentinel://host:port,host:port/<master>"
    )]
    NoMaster,
    /// Not a number.
    #[error("names a database that is no number: write /0, or leave it out")]
    Database,
    /// A cluster has no others.
    #[error("names a database, and a cluster has only one: leave it out")]
    ClusterDatabase,
    /// Nothing of this form takes it.
    #[error(
        "ends in ?something that is not known here: only sentinel_user and sentinel_password are, \
         with redis+sentinel://"
    )]
    Query,
    /// TLS without checks.
    #[error(
        "ends in #something: write # in a password as %23; certificates are always checked, \
         redis.ca_file names the authority that signed them"
    )]
    Fragment,
}

impl Address {
    /// Whether it asks for TLS.
    pub fn is_secure(&self) -> bool {
        let first = match &self.place {
            Place::Server(server) => Some(server),
            Place::Sentinel { sentinels: nodes, .. } | Place::Cluster(nodes) => nodes.first(),
        };
        first.is_some_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
    }

    /// Whether its shards may lie on different servers.
    pub fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// The same place, reached with these certificates.
    ///
    /// # Errors
    ///
    /// When it does not ask for TLS, or a certificate or key is not PEM.
    pub fn with_certificates(self, certificates: &TlsCertificates) -> Result<Self, RedisError> {
        let dress = |info: ConnectionInfo| {
            let client = Client::build_with_tls(info, certificates.clone())?;
            Ok::<_, RedisError>(client.get_connection_info().clone())
        };
        let all = |nodes: Vec<ConnectionInfo>| -> Result<Vec<_>, RedisError> {
            nodes.into_iter().map(dress).collect()
        };
        let place = match self.place {
            Place::Server(server) => Place::Server(dress(server)?),
            Place::Sentinel { sentinels, master, node } => {
                Place::Sentinel { sentinels: all(sentinels)?, master, node }
            }
            Place::Cluster(nodes) => Place::Cluster(all(nodes)?),
        };
        Ok(Self { place, certificates: Some(certificates.clone()) })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.place {
            Place::Server(_) => "Address(server)",
            Place::Sentinel { .. } => "Address(sentinel)",
            Place::Cluster(_) => "Address(cluster)",
        })
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(url: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = url.split_once("://").ok_or(BadAddress::Form)?;
        let scheme = scheme.replacen("valkey", "redis", 1);
        let scheme = scheme.replacen("rediss+", "redis+", 1) + tls_mark(&scheme);
        if rest.contains('#') {
            return Err(BadAddress::Fragment);
        }
        let place = match scheme.as_str() {
            "redis" | "rediss" | "unix" | "redis+unix" => {
                let info = url.into_connection_info().map_err(|_| one_server(rest))?;
                Place::Server(settled(info))
            }
            "redis+sentinel" => sentinel("redis", rest)?,
            "redis+sentinel+tls" => sentinel("rediss", rest)?,
            "redis+cluster" => cluster("redis", rest)?,
            "redis+cluster+tls" => cluster("rediss", rest)?,
            _ => return Err(BadAddress::Form),
        };
        Ok(Self { place, certificates: None })
    }
}

/// The schemes of lists tell TLS by the same letter as `rediss`.
fn tls_mark(scheme: &str) -> &'static str {
    if scheme.starts_with("rediss+") { "+tls" } else { "" }
}

/// What keeps `rest` from being the address of one server.
fn one_server(rest: &str) -> BadAddress {
    let path = rest.split(['?', '#']).next().unwrap_or_default().split_once('/');
    match path {
        Some((host, database)) if !host.is_empty() && database.parse::<u16>().is_err() => {
            if database.is_empty() {
                BadAddress::Host(1)
            } else {
                BadAddress::Database
            }
        }
        _ => BadAddress::Host(1),
    }
}

fn sentinel(scheme: &str, rest: &str) -> Result<Place, BadAddress> {
    let List { mut hosts, node, path, query } = list(scheme, rest, SENTINEL_PORT)?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if master.is_empty() || !master.bytes().all(named) {
        return Err(BadAddress::NoMaster);
    }
    let node = match database {
        "" => node,
        number => node.set_db(i64::from(number.parse::<u16>().map_err(|_| BadAddress::Database)?)),
    };
    let mut own = RedisConnectionInfo::default().set_skip_set_lib_name();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        own = match name.as_ref() {
            "sentinel_user" => own.set_username(value),
            "sentinel_password" => own.set_password(value),
            _ => return Err(BadAddress::Query),
        };
    }
    for host in &mut hosts {
        *host = host.clone().set_redis_settings(own.clone());
    }
    Ok(Place::Sentinel { sentinels: hosts, master: master.to_owned(), node })
}

fn cluster(scheme: &str, rest: &str) -> Result<Place, BadAddress> {
    let List { hosts, path, query, .. } = list(scheme, rest, 6379)?;
    if !query.is_empty() {
        return Err(BadAddress::Query);
    }
    if path.is_empty() { Ok(Place::Cluster(hosts)) } else { Err(BadAddress::ClusterDatabase) }
}

/// `[user:password@]host[:port],host[:port]/path?query`
struct List<'a> {
    /// Each with the user and the password of all.
    hosts: Vec<ConnectionInfo>,
    /// User and password alone.
    node: RedisConnectionInfo,
    path: &'a str,
    query: &'a str,
}

fn list<'a>(scheme: &str, rest: &'a str, usual_port: u16) -> Result<List<'a>, BadAddress> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    if hosts.split(',').count() > MOST_HOSTS {
        return Err(BadAddress::TooManyHosts);
    }
    let parse = |(at, host): (usize, &str)| {
        let bad = BadAddress::Host(at + 1);
        let mut url = Url::parse(&format!("{scheme}://{user}{host}")).map_err(|_| bad)?;
        if url.port().is_none() {
            url.set_port(Some(usual_port)).map_err(|()| bad)?;
        }
        url.into_connection_info().map(settled).map_err(|_| bad)
    };
    let hosts: Vec<ConnectionInfo> =
        hosts.split(',').enumerate().map(parse).collect::<Result<_, _>>()?;
    let node = hosts.first().ok_or(BadAddress::Host(1))?.redis_settings().clone();
    Ok(List { hosts, node, path: path.trim_end_matches('/'), query })
}

/// What holds for every connection. The library's name is not told: that would be one more right
/// for its user to have.
fn settled(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    info.set_redis_settings(settings).set_tcp_settings(tcp())
}

pub(super) fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        url.parse::<Address>().unwrap().place
    }

    fn at(info: &ConnectionInfo) -> String {
        let settings = info.redis_settings();
        let user = settings.username().unwrap_or_default();
        let password = settings.password().unwrap_or_default();
        format!("{user}:{password}@{}/{}", info.addr(), settings.db())
    }

    #[test]
    fn one_url_says_how_redis_is_run() {
        let Place::Server(server) = place("redis://u:p%40ss@h:7/3") else { panic!() };
        assert_eq!(at(&server), "u:p@ss@h:7/3");
        let Place::Server(server) = place("valkey://h") else { panic!() };
        assert_eq!(at(&server), ":@h:6379/0");
        let Place::Server(server) = place("unix:///run/redis.sock?db=2") else { panic!() };
        assert_eq!(at(&server), ":@/run/redis.sock/2");

        let Place::Sentinel { sentinels, master, node } = place(
            "redis+sentinel://u:p@a,b:7,[::1]:8/main/2?sentinel_user=s&sentinel_password=%23",
        ) else {
            panic!()
        };
        let sentinels: Vec<_> = sentinels.iter().map(at).collect();
        assert_eq!(sentinels, ["s:#@a:26379/0", "s:#@b:7/0", "s:#@::1:8/0"]);
        assert_eq!(master, "main");
        assert_eq!((node.username(), node.password(), node.db()), (Some("u"), Some("p"), 2));

        let Place::Cluster(nodes) = place("redis+cluster://:p@a:1,b/") else { panic!() };
        assert_eq!(nodes.iter().map(at).collect::<Vec<_>>(), [":p@a:1/0", ":p@b:6379/0"]);
    }

    #[test]
    fn tls_is_asked_for_by_one_letter() {
        for url in ["redis://h", "unix:///s", "redis+sentinel://h/m", "redis+cluster://h"] {
            assert!(!url.parse::<Address>().unwrap().is_secure(), "{url}");
            let secure = url.replacen("redis", "rediss", 1);
            assert_eq!(secure.parse::<Address>().unwrap().is_secure(), url != "unix:///s");
        }
        let valkey: Address = "valkeys+cluster://h".parse().unwrap();
        assert!(valkey.is_secure());
        let valkey: Address = "valkeys://h".parse().unwrap();
        assert!(valkey.is_secure());
    }

    #[test]
    fn what_is_no_address_is_explained_without_being_quoted() {
        let refused = |url: &str| url.parse::<Address>().unwrap_err();
        for (url, error) in [
            ("", BadAddress::Form),
            ("127.0.0.1:6379", BadAddress::Form),
            ("http://h", BadAddress::Form),
            ("redis+unix+sentinel://h", BadAddress::Form),
            ("redis://", BadAddress::Host(1)),
            ("redis://:hunter2@h:port", BadAddress::Host(1)),
            ("redis://a:1,b:2", BadAddress::Host(1)),
            ("redis://h/zero", BadAddress::Database),
            ("rediss://h/#insecure", BadAddress::Fragment),
            ("redis+sentinel://a:1,b:2", BadAddress::NoMaster),
            ("redis+sentinel://a:1,:2/main", BadAddress::Host(2)),
            ("redis+sentinel://a:1,b:hunter2/main", BadAddress::Host(2)),
            ("redis+sentinel://a/main/x", BadAddress::Database),
            ("redis+sentinel://a/main?password=hunter2", BadAddress::Query),
            ("redis+cluster://a:1,b:2/1", BadAddress::ClusterDatabase),
            ("redis+cluster://a?x=1", BadAddress::Query),
            ("redis+cluster://:hun#ter2@a", BadAddress::Fragment),
            ("redis+cluster://a,,b", BadAddress::Host(2)),
        ] {
            assert_eq!(refused(url), error, "{url}");
        }
        let many = vec!["h"; 65].join(",");
        assert_eq!(refused(&format!("redis+cluster://{many}")), BadAddress::TooManyHosts);
    }

    #[test]
    fn an_address_does_not_show_its_password() {
        for url in
            ["redis://:hunter2@h", "redis+cluster://:hunter2@h", "redis+sentinel://:hunter2@h/m"]
        {
            let shown = format!("{:?}", url.parse::<Address>().unwrap());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
