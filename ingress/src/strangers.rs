//! Who comes to an address that there is not is answered as who comes to one of ours with a wrong
//! signature, and after as much work: an address cannot be told by its answer.

use axum::body::Body;
use axum::http::HeaderMap;
use common::config::IngressConfig;
use common::platform::{WebhookRequest, read_bridged};

use crate::Ingress;
use crate::receive::{Rejection, Sender, read};

/// How many of them may be at work at once: a quarter of all, with half of the memory at most. They
/// must not take the places of those who have an address.
pub(crate) fn at_once(config: &IngressConfig) -> usize {
    let by_memory = config.body_memory_bytes / 2 / config.body_limit_bytes.max(1);
    (config.max_in_flight / 4).min(by_memory).max(1)
}

/// Reads what was sent and checks it against a secret that is not its own. More than a few at once
/// are not read.
pub(crate) async fn turn_away(
    from: Sender,
    ingress: &Ingress,
    platform: &str,
    headers: &HeaderMap,
    body: Body,
) -> Rejection {
    let Ok(_place) = ingress.strangers.try_acquire() else { return Rejection::Unknown };
    let read = match read(ingress, headers, body).await {
        Ok(read) => read,
        Err(rejection) => return rejection,
    };
    let request = WebhookRequest { headers, body: &read.body };
    let mut connections = ingress.fleet.connections.iter();
    let like = connections.find(|connection| {
        connection.platform.name() == platform
            && (from == Sender::Platform || connection.notice_secret.is_some())
    });
    // Whatever comes of it: it is the address that is wrong.
    if let Some(connection) = like {
        match (from, &connection.notice_secret) {
            (Sender::Platform, _) => {
                drop(connection.platform.receive(&connection.account, &request));
            }
            (Sender::Bridge, Some(secret)) => {
                drop(read_bridged(secret, connection.platform.records(), &request));
            }
            (Sender::Bridge, None) => {}
        }
    }
    Rejection::Unknown
}
