//! What can be wrong with a Redis, in words that say what to do.

use std::io;

use redis::{ErrorKind, RedisError};

/// What is wrong with Redis, and the remedy.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// No connection, or it broke.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// No answer in time.
    #[error("it does not answer in time: it is overloaded, stopped or cut off")]
    Silent,
    /// It starts.
    #[error("it is still loading its data: wait")]
    Loading,
    /// `maxmemory` is reached.
    #[error(
        "it is full: give it more memory (maxmemory), or find what else fills it; never another \
         maxmemory-policy than noeviction"
    )]
    Full,
    /// It cannot be written to.
    #[error(
        "it is a replica, which cannot be written to: name its master, or the sentinels that know \
         it (redis+sentinel://)"
    )]
    Replica,
    /// `min-replicas-to-write`.
    #[error(
        "it takes no writes, since fewer replicas follow it than min-replicas-to-write demands: \
         bring them back"
    )]
    TooFewReplicas,
    /// A snapshot failed.
    #[error(
        "it takes no writes, since it cannot save to its disk: mend that, or turn saving off \
         (save \"\"), nothing that lies here has to be kept"
    )]
    CannotSave,
    /// An access rule.
    #[error("its access rules forbid {0}: give the user the rights in docs/OPERATING.md")]
    Forbidden(String),
    /// Unknown user or wrong password.
    #[error(
        "it refuses user or password: compare redis.url with the user on the server (ACL LIST)"
    )]
    WrongPassword,
    /// A password is wanted.
    #[error("it asks for a password, and redis.url has none")]
    NoPassword,
    /// Scripts need commands that it lacks.
    #[error("Redis {0} is too old: 6.2 or newer is needed")]
    TooOld(String),
    /// It may throw waiting jobs away.
    #[error(
        "its maxmemory-policy is {0}, which throws waiting jobs away when memory is short: set \
         maxmemory-policy noeviction"
    )]
    Evicts(String),
    /// Its answer to INFO lacks something.
    #[error("it does not say its {0}: is it Redis or Valkey?")]
    Unknown(&'static str),
    /// One server was named.
    #[error("it is a node of a cluster: write redis+cluster://host:port,host:port")]
    IsCluster,
    /// A cluster was named.
    #[error("it is no node of a cluster: write redis://host:port")]
    NoCluster,
    /// Nobody serves the shard's slot.
    #[error("the part of the cluster that holds this shard is down")]
    ClusterDown,
    /// The slot is on its way to another node.
    #[error("the shard is moving to another node of the cluster")]
    Moving,
    /// The sentinels know none of that name that is up.
    #[error(
        "the sentinels name no such master that is up: compare the name in redis.url with \
         SENTINEL MASTERS"
    )]
    NoMaster,
    /// A script of somebody else runs.
    #[error("a script runs for too long there, none of ours does: find out whose it is")]
    Busy,
    /// Anything else.
    #[error("it refused: {0}")]
    Refused(String),
}

impl Fault {
    /// Whether the same attempt may succeed in a moment without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Away(_)
            | Self::Silent
            | Self::Loading
            | Self::Full
            | Self::TooFewReplicas
            | Self::CannotSave
            | Self::ClusterDown
            | Self::Moving
            | Self::NoMaster
            | Self::Busy => true,
            Self::Replica
            | Self::Forbidden(_)
            | Self::WrongPassword
            | Self::NoPassword
            | Self::TooOld(_)
            | Self::Evicts(_)
            | Self::Unknown(_)
            | Self::IsCluster
            | Self::NoCluster
            | Self::Refused(_) => false,
        }
    }

    /// Whether the server is no longer the one to talk to.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(
            self,
            Self::Away(_) | Self::Silent | Self::Replica | Self::Moving | Self::ClusterDown
        )
    }

    /// Whether the server refused before it did anything, and another may not.
    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self, Self::Replica | Self::Moving)
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Silent;
        }
        let text =
            format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
        if let Some(fault) = answered(&text) {
            return fault;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::WrongPassword,
            ErrorKind::MasterNameNotFoundBySentinel => Self::NoMaster,
            ErrorKind::Io => Self::Away(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::from(RedisError::from(error))
    }
}

/// The fault that an answer names. Older servers hide the code of an error that a script ran into
/// inside the text of another.
fn answered(text: &str) -> Option<Fault> {
    let words = || text.split(|c: char| !c.is_ascii_uppercase());
    let has = |code: &str| words().any(|word| word == code);
    let codes = [
        ("OOM", Fault::Full),
        ("READONLY", Fault::Replica),
        ("LOADING", Fault::Loading),
        ("MASTERDOWN", Fault::Loading),
        ("NOREPLICAS", Fault::TooFewReplicas),
        ("MISCONF", Fault::CannotSave),
        ("WRONGPASS", Fault::WrongPassword),
        ("NOAUTH", Fault::NoPassword),
        ("CLUSTERDOWN", Fault::ClusterDown),
        ("MOVED", Fault::Moving),
        ("ASK", Fault::Moving),
        ("TRYAGAIN", Fault::Moving),
        ("BUSY", Fault::Busy),
    ];
    if has("NOPERM") || text.contains("can't run this command") || text.contains("can't access") {
        return Some(Fault::Forbidden(forbidden(text)));
    }
    codes.into_iter().find(|(code, _)| has(code)).map(|(_, fault)| fault)
}

/// What an access rule forbids. The servers write a command between quotes, and name no key.
fn forbidden(text: &str) -> String {
    match text.split('\'').nth(1) {
        Some(command) if text.contains("run the") => {
            format!("the command {}", command.to_uppercase())
        }
        _ if text.contains("key") => "a key, so its pattern of keys is not ours".to_owned(),
        _ => "a command that a script of ours uses".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_old_and_new_servers_are_understood() {
        let told = |text| answered(text).map(|fault| fault.to_string()).unwrap_or_default();
        for full in [
            "OOM command not allowed when used memory > 'maxmemory'. script: f3, on @user_script:9.",
            "ERR Error running script (call to f_a): @user_script:9: -OOM command not allowed",
        ] {
            assert!(told(full).starts_with("it is full"), "{full}");
        }
        assert!(told("READONLY You can't write against a read only replica.").contains("replica"));
        for (text, named) in [
            ("NOPERM User queue has no permissions to run the 'evalsha' command", "EVALSHA"),
            ("NOPERM this user has no permissions to run the 'info' command or its sub", "INFO"),
            ("NOPERM No permissions to access a key", "pattern of keys"),
            (
                "ERR The user executing the script can't run this command or subcommand script: a",
                "a script of ours",
            ),
        ] {
            assert!(told(text).contains(named), "{text}");
        }
        assert_eq!(told("ERR wrong number of arguments"), "");
    }
}
