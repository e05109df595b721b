//! Discord's webhook events and the bridge to its gateway: what is told where, and signed how.

use std::time::Duration;

use reqwest::Method;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use simulator::{ChangeKind, ChangeRequest, Config, Platform, RecordId, RecordType, Simulator};

use crate::client::{Client, records, with};
use crate::receiver::{Received, Receiver};

const LIMIT: Duration = Duration::from_secs(20);
const ENTITLEMENTS: RecordType = RecordType::Entitlement;

async fn sending_to(
    events: &Receiver,
    bridge: &Receiver,
    alter: impl FnOnce(&mut Config),
) -> (Simulator, Client) {
    let (events, bridge) = (events.url.clone(), bridge.url.clone());
    with(|config| {
        config.discord.account.webhooks.target = Some(events);
        config.discord.bridge_target = Some(bridge);
        config.discord.account.webhooks.backoff_ms = 1;
        alter(config);
    })
    .await
}

fn told(kind: ChangeKind, record_type: RecordType, id: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        platform: Platform::Discord,
        record_type: Some(record_type),
        external_id: id.map(str::to_owned),
        kind,
        notify: true,
    }
}

/// Whether the signature is right, by the key that the default seed has.
fn signed(webhook: &Received) -> bool {
    let key = public_key();
    let message = format!("{}{}", webhook.header("x-signature-timestamp"), webhook.body);
    let signature = hex::decode(webhook.header("x-signature-ed25519")).unwrap();
    UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &signature).is_ok()
}

/// The public half of the default signing seed.
fn public_key() -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[0x77; 32]).unwrap();
    pair.public_key().as_ref().to_vec()
}

/// What an honest endpoint answers.
fn honest(webhook: &Received) -> u16 {
    if signed(webhook) { 204 } else { 401 }
}

#[tokio::test]
async fn entitlements_are_told_as_events_and_all_else_by_the_bridge() {
    let (events, bridge) = (Receiver::judging(honest).await, Receiver::answering(&[]).await);
    let (simulator, _) = sending_to(&events, &bridge, |_| {}).await;
    assert_eq!(simulator.discord_public_key(), Some(hex::encode(public_key())));
    let bought = records(&simulator, Platform::Discord, ENTITLEMENTS).remove(0).external_id;
    for kind in [ChangeKind::Edit, ChangeKind::Edit, ChangeKind::Delete] {
        simulator.change(&told(kind, ENTITLEMENTS, Some(&bought))).unwrap();
    }
    simulator.change(&told(ChangeKind::Create, ENTITLEMENTS, None)).unwrap();
    let member = simulator.change(&told(ChangeKind::Edit, RecordType::Member, None)).unwrap();
    assert_eq!(simulator.freeze(LIMIT).await.pending_notices, 0);

    let mut types: Vec<String> = Vec::new();
    for webhook in events.all() {
        let body = webhook.json();
        assert!(signed(&webhook));
        assert_eq!((&body["version"], &body["type"]), (&json!(1), &json!(1)));
        let at = body["event"]["timestamp"].as_str().unwrap();
        assert_eq!((at.len(), at.ends_with('Z')), (26, false), "microseconds, no zone");
        assert!(body["event"]["data"]["sku_id"].is_string());
        types.push(body["event"]["type"].as_str().unwrap().to_owned());
    }
    types.sort();
    let expected = ["ENTITLEMENT_CREATE", "ENTITLEMENT_DELETE", "ENTITLEMENT_UPDATE"];
    assert_eq!(types, expected, "the end of a subscription is told, that it is used up is not");
    let notice = bridge.all().remove(0).json();
    assert_eq!(notice["record_type"], "member");
    assert!(notice["ids"].as_array().unwrap().contains(&json!(member.external_id)));
}

#[tokio::test]
async fn the_bridge_signs_time_and_body_and_tells_of_one_kind_at_a_time() {
    let (events, bridge) = (Receiver::judging(honest).await, Receiver::answering(&[]).await);
    let (simulator, _) =
        sending_to(&events, &bridge, |config| config.discord.account.webhooks.batch = 2_000).await;
    let id = |record_type| {
        let record = records(&simulator, Platform::Discord, record_type).remove(0);
        RecordId::new(record_type, record.external_id)
    };
    simulator.announce(Platform::Discord, &id(RecordType::Member), 1_500);
    simulator.announce(Platform::Discord, &id(RecordType::Role), 3);
    simulator.freeze(LIMIT).await;
    let mut ids = 0;
    for webhook in bridge.all() {
        let body: Value = webhook.json();
        let count = body["ids"].as_array().unwrap().len();
        ids += count;
        assert!(count <= 1_000);
        let kind = body["record_type"].as_str().unwrap();
        assert!(["member", "role"].contains(&kind));
        let header = webhook.header("syncline-signature").to_owned();
        let (time, signature) = header.split_once(",v1=").unwrap();
        let time = time.strip_prefix("t=").unwrap();
        let message = format!("{time}.{}", webhook.body);
        let expected = crate::webhooks::hmac_sha256(b"simulated-bridge-secret", message.as_bytes());
        assert_eq!(signature, expected);
    }
    assert_eq!(ids, 1_503);
}

#[tokio::test]
async fn an_address_is_taken_only_if_it_answers_a_ping_and_refuses_a_forged_one() {
    let bridge = Receiver::answering(&[]).await;
    let (honest, gullible, silent) = (
        Receiver::judging(honest).await,
        Receiver::judging(|_| 204).await,
        Receiver::judging(|_| 401).await,
    );
    let (simulator, client) = sending_to(&bridge, &bridge, |config| {
        config.discord.account.webhooks.target = None;
    })
    .await;
    let path = "/applications/@me";
    for (receiver, status) in [(&gullible, 400), (&silent, 400), (&honest, 200)] {
        let body = json!({ "event_webhooks_url": receiver.url, "event_webhooks_status": 2 });
        let reply = client.discord_send(&simulator, Method::PATCH, path, Some(&body)).await;
        assert_eq!(reply.status, status);
    }
    let pings = honest.all();
    assert_eq!(pings.len(), 2);
    assert_eq!(pings[0].json()["type"], 0);
    let shown = client.discord(&simulator, path).await.json;
    assert_eq!(shown["event_webhooks_url"], json!(honest.url));
    assert_eq!(shown["event_webhooks_status"], 2);
    assert_eq!(shown["verify_key"], json!(simulator.discord_public_key()));
    for body in [json!({ "name": "x" }), json!({ "event_webhooks_types": ["GUILD_MEMBER_ADD"] })] {
        let reply = client.discord_send(&simulator, Method::PATCH, path, Some(&body)).await;
        assert_eq!(reply.json["code"], 50_035);
    }
}

#[tokio::test]
async fn who_lets_a_forged_event_pass_loses_the_address() {
    let bridge = Receiver::answering(&[]).await;
    let (honest, gullible) = (Receiver::judging(honest).await, Receiver::judging(|_| 204).await);
    for (receiver, kept) in [(&honest, true), (&gullible, false)] {
        let (simulator, client) = sending_to(receiver, &bridge, |config| {
            config.discord.account.webhooks.probe_share = 1.0;
        })
        .await;
        let create = told(ChangeKind::Create, ENTITLEMENTS, None);
        simulator.change(&create).unwrap();
        simulator.freeze(LIMIT).await;
        let stats = simulator.stats().discord.webhooks;
        assert_eq!((stats.probes, stats.probes_passed), (1, u64::from(!kept)));
        let shown = client.discord(&simulator, "/applications/@me").await.json;
        assert_eq!(shown["event_webhooks_url"].is_string(), kept);
        assert_eq!(shown["event_webhooks_status"], if kept { 2 } else { 3 });
    }
}

#[tokio::test]
async fn after_too_many_failures_discord_stops_sending() {
    let (events, bridge) = (Receiver::judging(|_| 200).await, Receiver::answering(&[]).await);
    let (simulator, client) = sending_to(&events, &bridge, |config| {
        let webhooks = &mut config.discord.account.webhooks;
        (webhooks.attempts, webhooks.pause_after) = (3, 3);
    })
    .await;
    simulator.change(&told(ChangeKind::Create, ENTITLEMENTS, None)).unwrap();
    simulator.freeze(LIMIT).await;
    let stats = simulator.stats().discord.webhooks;
    assert_eq!((stats.arrived, stats.abandoned), (0, 1), "200 is not 204");
    let shown = client.discord(&simulator, "/applications/@me").await.json;
    assert_eq!(shown["event_webhooks_status"], 3);
}

#[tokio::test]
async fn a_new_guild_is_told_as_an_authorization_and_has_everyone() {
    let (events, bridge) = (Receiver::judging(honest).await, Receiver::answering(&[]).await);
    let (simulator, client) = sending_to(&events, &bridge, |_| {}).await;
    let made = simulator.change(&told(ChangeKind::Create, RecordType::Guild, None)).unwrap();
    let event = events.first(1).await.remove(0).json();
    assert_eq!(event["event"]["type"], "APPLICATION_AUTHORIZED");
    assert_eq!(event["event"]["data"]["integration_type"], 0);
    assert_eq!(event["event"]["data"]["guild"]["id"], json!(made.external_id));
    assert_eq!(bridge.first(1).await.remove(0).json()["record_type"], "guild");
    let everyone = format!("/guilds/{0}/roles/{0}", made.external_id);
    assert_eq!(client.discord(&simulator, &everyone).await.json["name"], "@everyone");
}
