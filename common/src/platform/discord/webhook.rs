//! Webhook events: about the application and its entitlements, signed with Ed25519.
//!
//! Discord tries an endpoint with a PING when it is set, and later with signatures that are wrong
//! on purpose; an endpoint that takes one of these is removed. Events come late, repeated and out
//! of order, are tried again for ten minutes and are lost then: they are a reason to look.

use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::ids::ExternalId;
use crate::platform::answer::instant;
use crate::platform::discord::records::{ENTITLEMENT, GUILD};
use crate::platform::discord::snowflake::Snowflake;
use crate::platform::{Account, Notice, Refused, SignedAt, WebhookRequest};

/// Discord tries again for ten minutes.
const SENT_FOR: Duration = Duration::from_mins(15);

const PING: u8 = 0;
const EVENT: u8 = 1;
/// Installed in a guild, and not for a user.
const IN_A_GUILD: u8 = 0;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(borrow)]
    event: Option<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Entitlement {
    id: Snowflake,
}

#[derive(Deserialize)]
struct Authorized {
    integration_type: Option<u8>,
    guild: Option<Guild>,
}

#[derive(Deserialize)]
struct Guild {
    id: Snowflake,
}

/// The entitlement that an event is about, or the guild that a bot was just added to. A bot that
/// was removed does not learn from which guild.
pub(super) fn receive(
    account: &Account,
    request: &WebhookRequest<'_>,
) -> Result<Vec<Notice>, Refused> {
    verify(account, request).map_err(|forged| match forged {
        Refused::Forged(_) if is_trial(request) => Refused::Probe,
        other => other,
    })?;
    let body: Body<'_> = parse(request.body)?;
    let event = match (body.kind, body.event) {
        (EVENT, Some(event)) => event,
        (EVENT, None) => return Err(Refused::NotUnderstood("an event without one".to_owned())),
        // A PING, or what we do not know.
        _ => return Ok(Vec::new()),
    };
    let data = event.data.map_or("null", serde_json::value::RawValue::get).as_bytes();
    let notice = |kind: &str, id: Snowflake| Notice {
        record_type: kind.into(),
        external_id: ExternalId::new(id.to_string()),
    };
    Ok(match event.kind {
        "ENTITLEMENT_CREATE" | "ENTITLEMENT_UPDATE" | "ENTITLEMENT_DELETE" => {
            let Entitlement { id } = parse(data)?;
            vec![notice(ENTITLEMENT, id)]
        }
        "APPLICATION_AUTHORIZED" => match parse(data)? {
            Authorized { integration_type: Some(IN_A_GUILD), guild: Some(guild) } => {
                vec![notice(GUILD, guild.id)]
            }
            _ => Vec::new(),
        },
        // APPLICATION_DEAUTHORIZED names a user and no guild; the others concern no record.
        _ => Vec::new(),
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refused::NotUnderstood(format!("not an event, at line {line} column {column}"))
    })
}

/// Ed25519 over the time as the header has it and right behind it the raw body. The secret of the
/// connection is the application's public key in hex.
fn verify(account: &Account, request: &WebhookRequest<'_>) -> Result<(), Refused> {
    let key = account
        .webhook_secret
        .as_ref()
        .map(|key| key.expose_secret().trim())
        .filter(|key| !key.is_empty())
        .ok_or(Refused::Forged("this connection has no public key to check it with"))?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(key, &mut bytes)
        .map_err(|_| Refused::Forged("the public key is not 64 hexadecimal digits"))?;
    let key = VerifyingKey::from_bytes(&bytes)
        .map_err(|_| Refused::Forged("the public key is no key"))?;
    let (signature, time) = signed(request).ok_or(Refused::Forged(
        "a header of the signature is missing, doubled or of another form",
    ))?;
    let message = [time, request.body].concat();
    key.verify_strict(&message, &Signature::from_bytes(&signature))
        .map_err(|_| Refused::Forged("not made with the key of this application"))
}

/// The signature and the time, as the headers have them.
fn signed<'a>(request: &WebhookRequest<'a>) -> Option<([u8; 64], &'a [u8])> {
    let mut signature = [0; 64];
    hex::decode_to_slice(request.only("x-signature-ed25519")?, &mut signature).ok()?;
    Some((signature, request.only("x-signature-timestamp")?))
}

/// The time in the header, in seconds.
pub(super) fn signed_at(request: &WebhookRequest<'_>) -> Option<SignedAt> {
    let at = instant(request.only("x-signature-timestamp")?)?;
    Some(SignedAt { at, sent_for: SENT_FOR })
}

/// Whether a request that is not signed by Discord is what Discord itself sends to see whether we
/// check: a PING, with all headers. Nobody else gains anything by sending one.
fn is_trial(request: &WebhookRequest<'_>) -> bool {
    signed(request).is_some()
        && serde_json::from_slice::<Body<'_>>(request.body)
            .is_ok_and(|body| body.kind == PING && body.event.is_none())
}
