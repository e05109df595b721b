//! Discord's webhook events, signed with Ed25519; and what a gateway bridge posts about the rest.

use std::sync::Arc;

use jiff::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::config::DiscordConfig;
use crate::hook::Hook;
use crate::notice::{Delivery, Dispatch};
use crate::record::{RecordId, RecordType, Version};
use crate::sign::hmac_sha256;

/// The public half of the signing key, in hex.
pub(crate) fn public_key(config: &DiscordConfig) -> Option<String> {
    Some(hex::encode(key(config)?.public_key().as_ref()))
}

/// What an event shows of a record: an entitlement whole; of a guild, who let the bot in.
pub(crate) fn data(id: &RecordId, version: &Version) -> Arc<str> {
    let data = match id.record_type {
        RecordType::Entitlement => Value::Object(version.fields.clone()),
        RecordType::Guild => json!({
            "integration_type": 0,
            "scopes": ["applications.commands", "bot"],
            "user": { "id": version.text("owner_id"), "username": "owner", "global_name": null },
            "guild": { "id": id.external_id, "name": version.text("name") },
        }),
        _ => return Arc::from(""),
    };
    Arc::from(data.to_string())
}

/// An event, signed at `at`; `None` when the seed of the key is no seed.
pub(crate) fn event(
    config: &DiscordConfig,
    dispatch: &Dispatch,
    at: Timestamp,
) -> Option<Delivery> {
    let data: Value = serde_json::from_str(&dispatch.notice.payload).unwrap_or_default();
    let body = json!({
        "version": 1,
        "application_id": config.application_id,
        "type": 1,
        "event": {
            "type": dispatch.notice.action,
            // Microseconds, and no zone.
            "timestamp": dispatch.at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            "data": data,
        },
    });
    signed(config, body.to_string(), at)
}

/// A PING, signed at `at`.
pub(super) fn ping(config: &DiscordConfig, at: Timestamp) -> Option<Delivery> {
    let body = json!({ "version": 1, "application_id": config.application_id, "type": 0 });
    signed(config, body.to_string(), at)
}

/// What a bridge tells of members, roles or guilds: which ones have changed.
pub(crate) fn bridge(hook: &Hook, batch: &[Dispatch], at: Timestamp) -> Delivery {
    let ids: Vec<&str> =
        batch.iter().map(|dispatch| dispatch.notice.id.external_id.as_str()).collect();
    let record_type = batch.first().map(|dispatch| dispatch.notice.action);
    let body = json!({ "record_type": record_type, "ids": ids }).to_string();
    let seconds = at.as_second().to_string();
    let signature = hmac_sha256(hook.secret.0.as_bytes(), &[&seconds, ".", &body]);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("syncline-signature", format!("t={seconds},v1={signature}")),
    ];
    Delivery { headers, body }
}

fn signed(config: &DiscordConfig, body: String, at: Timestamp) -> Option<Delivery> {
    let timestamp = at.as_second().to_string();
    let message = format!("{timestamp}{body}");
    let signature = hex::encode(key(config)?.sign(message.as_bytes()).as_ref());
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", "Discord-Webhook/1.0 (+https://discord.com)".to_owned()),
        ("x-signature-ed25519", signature),
        ("x-signature-timestamp", timestamp),
    ];
    Some(Delivery { headers, body })
}

fn key(config: &DiscordConfig) -> Option<Ed25519KeyPair> {
    let seed = hex::decode(&config.signing_seed.0).ok()?;
    Ed25519KeyPair::from_seed_unchecked(&seed).ok()
}
