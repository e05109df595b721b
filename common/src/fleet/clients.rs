//! Limits that a platform counts for an OAuth client, whatever the number of its connections.
//!
//! Our quotas belong to a connection, so connections that share a client can ask for more together
//! than the client has. Nothing enforces that: it is said, and divided by configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::Lane;
use crate::platform::Platform;
use crate::quota::{LaneLimits, Quota};

/// A connection whose client is known: the others have a token that nobody here renews.
pub struct OfClient<'a> {
    /// Its name.
    pub lane: &'a Lane,
    /// Its platform.
    pub platform: &'static dyn Platform,
    /// The OAuth client that its tokens are of.
    pub client_id: &'a str,
    /// Its quotas.
    pub limits: &'a LaneLimits,
}

/// Says of each client whose connections can ask for more together than the platform lets it, which
/// ones they are and what to do: one sentence each.
pub fn overbooked_clients<'a>(connections: impl IntoIterator<Item = OfClient<'a>>) -> Vec<String> {
    let mut by_client: BTreeMap<_, Vec<OfClient<'a>>> = BTreeMap::new();
    for connection in connections {
        let client = (connection.platform.name(), connection.client_id);
        by_client.entry(client).or_default().push(connection);
    }
    by_client.into_values().filter_map(|connections| overbooked(&connections)).collect()
}

fn overbooked(connections: &[OfClient<'_>]) -> Option<String> {
    let [OfClient { platform, client_id, .. }, _, ..] = connections else { return None };
    let (name, usual) = (platform.client_quota()?, platform.limits());
    let of_client = usual.quotas.iter().find(|quota| quota.name == name)?;
    let together: u64 = connections
        .iter()
        .filter_map(|connection| connection.limits.quotas.iter().find(|quota| quota.name == name))
        .map(|quota| most_in(quota, of_client.window))
        .sum();
    if together <= u64::from(of_client.limit) {
        return None;
    }
    let lanes: Vec<&str> = connections.iter().map(|connection| connection.lane.as_str()).collect();
    Some(format!(
        "{} share the OAuth client {client_id}, of which {} takes {} requests in {:?}, and may send \
         {together}: give each its part with connections.\"<name>\".quotas.{name}",
        lanes.join(", "),
        platform.name(),
        of_client.limit,
        of_client.window,
    ))
}

/// The most requests that a quota lets into a window of that length, wherever it starts.
fn most_in(quota: &Quota, window: Duration) -> u64 {
    let windows = window.as_nanos().div_ceil(quota.window.as_nanos().max(1)).max(1);
    u64::from(quota.limit).saturating_mul(u64::try_from(windows).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::named;

    /// What is said of Patreon connections: their clients, and their part of the client's quota.
    fn said(connections: &[(&str, u32, Duration)]) -> Vec<String> {
        let platform = named("patreon").unwrap();
        let known: Vec<(Lane, &str, LaneLimits)> = connections
            .iter()
            .enumerate()
            .map(|(n, &(client, limit, window))| {
                let mut limits = platform.limits();
                let quota = limits.quotas.iter_mut().find(|quota| quota.name == "client").unwrap();
                *quota = Quota::new("client", limit, window);
                (format!("patreon/{n}").parse().unwrap(), client, limits)
            })
            .collect();
        overbooked_clients(known.iter().map(|(lane, client_id, limits)| OfClient {
            lane,
            platform,
            client_id,
            limits,
        }))
    }

    #[test]
    fn connections_of_one_client_that_may_ask_for_too_much_together_are_named() {
        let two = Duration::from_secs(2);
        let said = said(&[("a", 100, two), ("b", 100, two), ("a", 50, two)]);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("patreon/0, patreon/2 share the OAuth client a"), "{said:?}");
        assert!(said[0].contains("takes 100 requests in 2s, and may send 150"), "{said:?}");
    }

    #[test]
    fn what_was_divided_is_enough_and_windows_of_another_length_are_compared() {
        let (one, two) = (Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!(said(&[("a", 50, two), ("a", 50, two)]), [""; 0]);
        assert_eq!(said(&[("a", 100, two)]), [""; 0], "one alone");
        assert_eq!(said(&[("a", 25, one), ("a", 25, one)]), [""; 0]);
        assert_eq!(said(&[("a", 26, one), ("a", 25, one)]).len(), 1);
        // A longer window lets all of it through at once.
        assert_eq!(said(&[("a", 60, Duration::from_mins(1)), ("a", 60, two)]).len(), 1);
    }
}
