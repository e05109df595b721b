//! Webhooks: a whole member, of which only the id is taken.
//!
//! The body has whatever attributes Patreon chose, no time and no number of its own, and nothing
//! that is signed keeps it from being sent again: it is a reason to look, and nothing else. One
//! change comes as several triggers, in no promised order; they name the same member.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::ids::ExternalId;
use crate::platform::patreon::records::{MEMBER, is_id};
use crate::platform::{Account, Notice, Refused, WebhookRequest};

/// What makes a member dirty. `members:delete` only comes for who never paid; whoever did becomes
/// a former patron by an update, and stays a record.
const ABOUT_A_MEMBER: [&str; 6] = [
    "members:create",
    "members:update",
    "members:delete",
    "members:pledge:create",
    "members:pledge:update",
    "members:pledge:delete",
];

#[derive(Deserialize)]
struct Body {
    data: Head,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The member that the body is about. The campaign and the user in it did not change.
pub(super) fn receive(
    account: &Account,
    request: &WebhookRequest<'_>,
) -> Result<Vec<Notice>, Refused> {
    verify(account, request)?;
    let trigger = request
        .only("x-patreon-event")
        .ok_or_else(|| Refused::NotUnderstood("no trigger, or more than one".to_owned()))?;
    // Posts do not concern us, and neither does what we do not know.
    if !ABOUT_A_MEMBER.iter().any(|known| known.as_bytes() == trigger) {
        return Ok(Vec::new());
    }
    let Body { data } = serde_json::from_slice(request.body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not a member, at line {line} column {column}"))
    })?;
    if data.kind != MEMBER || !is_id(&data.id) {
        return Err(Refused::NotUnderstood("not a member".to_owned()));
    }
    Ok(vec![Notice { record_type: MEMBER.into(), external_id: ExternalId::new(data.id) }])
}

/// HMAC-MD5 in hex over the raw body; the secret is taken as text.
fn verify(account: &Account, request: &WebhookRequest<'_>) -> Result<(), Refused> {
    let secret = account
        .webhook_secret
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| !secret.is_empty())
        .ok_or(Refused::Forged("this connection has no webhook secret to check it with"))?;
    let signature = request
        .only("x-patreon-signature")
        .ok_or(Refused::Forged("the header of the signature is missing or doubled"))?;
    let signature = hex::decode(signature).map_err(|_| Refused::Forged("not in hex"))?;
    let mut mac = Hmac::<Md5>::new_from_slice(secret.as_bytes())
        .map_err(|_| Refused::Forged("the webhook secret cannot be a key"))?;
    mac.update(request.body);
    mac.verify_slice(&signature).map_err(|_| Refused::Forged("not made with our secret"))
}
