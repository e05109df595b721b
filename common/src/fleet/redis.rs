//! Reaching Redis, and whether it can be trusted with the queue.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use backon::Retryable;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::retry::connect_backoff;

/// Longer than any script takes; a Redis that is silent for this long is as good as away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The oldest release that the scripts are run against.
const OLDEST: (u32, u32) = (6, 2);

/// A Redis that must not be trusted with a queue.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnfitRedis {
    /// Scripts need commands that it lacks.
    #[error("Redis {0} is too old: 6.2 or newer is needed")]
    TooOld(String),
    /// It may throw waiting jobs away.
    #[error(
        "its maxmemory-policy is {0}, which throws waiting jobs away when memory is short: \
         set maxmemory-policy noeviction"
    )]
    Evicts(String),
    /// It cannot be written to.
    #[error("it is a replica, which cannot be written to: name its master")]
    Replica,
    /// Its answer to INFO lacks something.
    #[error("it does not say its {0}: is it Redis or Valkey?")]
    Unknown(&'static str),
}

/// One connection for everything that does not block; it reconnects by itself.
///
/// Waits up to `wait` for a server that is away or still loading its data.
///
/// # Errors
///
/// When it cannot be reached in time, or is unfit ([`UnfitRedis`]).
pub(super) async fn connect(
    url: &SecretString,
    wait: Duration,
) -> anyhow::Result<ConnectionManager> {
    let info = url.expose_secret().into_connection_info()?;
    // A host that is gone without a word is noticed by the kernel, which ends the connection.
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(ANSWERS_WITHIN * 2);
    let client = redis::Client::open(info.set_tcp_settings(tcp))?;
    let settings = ConnectionManagerConfig::new()
        .set_response_timeout(Some(ANSWERS_WITHIN))
        .set_connection_timeout(Some(ANSWERS_WITHIN))
        .set_max_delay(Duration::from_secs(1));
    let reach = async || {
        let mut manager =
            ConnectionManager::new_with_config(client.clone(), settings.clone()).await?;
        let info: String = redis::cmd("INFO").query_async(&mut manager).await?;
        Ok::<_, RedisError>((manager, info))
    };
    let reaching = reach
        .retry(connect_backoff(wait))
        .when(may_pass)
        .notify(|error, delay| tracing::warn!(%error, ?delay, "waiting for Redis"));
    // The manager has retries of its own, which would make the wait many times as long.
    let (manager, info) = timeout(wait, reaching)
        .await
        .with_context(|| format!("the server cannot be reached within {wait:?}"))?
        .context("the server cannot be reached")?;
    fit(&info)?;
    Ok(manager)
}

/// Whether the same attempt may succeed in a moment.
fn may_pass(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => {
            matches!(kind, ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain)
        }
        kind => !matches!(kind, ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig),
    }
}

/// Reads the answer to `INFO`.
fn fit(info: &str) -> Result<(), UnfitRedis> {
    let fields: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.split_once(':')).collect();
    let field = |name: &'static str| {
        fields.get(name).map(|value| value.trim()).ok_or(UnfitRedis::Unknown(name))
    };
    let version = field("redis_version")?;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(UnfitRedis::TooOld(version.to_owned()));
    }
    if field("role")? != "master" {
        return Err(UnfitRedis::Replica);
    }
    let policy = field("maxmemory_policy")?;
    if field("maxmemory")? != "0" && policy != "noeviction" {
        return Err(UnfitRedis::Evicts(policy.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, role: &str, maxmemory: &str, policy: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\n# Memory\r\nmaxmemory:{maxmemory}\r\n\
             maxmemory_policy:{policy}\r\n# Replication\r\nrole:{role}\r\n"
        )
    }

    #[test]
    fn a_redis_that_could_lose_jobs_is_refused_at_the_start() {
        let judged = |v, r, m, p| fit(&info(v, r, m, p));
        assert_eq!(judged("7.0.15", "master", "0", "noeviction"), Ok(()));
        assert_eq!(judged("6.2.0", "master", "100", "noeviction"), Ok(()));
        assert_eq!(judged("10.1", "master", "0", "allkeys-lru"), Ok(()), "it has no limit");
        let evicts = UnfitRedis::Evicts("allkeys-lru".to_owned());
        assert_eq!(judged("7.2.4", "master", "100", "allkeys-lru"), Err(evicts));
        let old = UnfitRedis::TooOld("6.0.16".to_owned());
        assert_eq!(judged("6.0.16", "master", "0", "noeviction"), Err(old));
        assert_eq!(judged("7.2.4", "slave", "0", "noeviction"), Err(UnfitRedis::Replica));
        assert_eq!(fit("garbage"), Err(UnfitRedis::Unknown("redis_version")));
    }
}
