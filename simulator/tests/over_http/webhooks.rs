//! Webhooks as an endpoint meets them: signed or pointing, lost, doubled, tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use simulator::{ChangeKind, ChangeRequest, Config, Platform, RecordId, RecordType, Simulator};

use crate::client::with;
use crate::receiver::Receiver;

const LIMIT: Duration = Duration::from_secs(20);

async fn sending_to(receiver: &Receiver, alter: impl FnOnce(&mut Config)) -> Simulator {
    let target = receiver.url.clone();
    let (simulator, _) = with(|config| {
        config.klaviyo.account.webhooks.target = Some(target.clone());
        config.klaviyo.account.webhooks.backoff_ms = 1;
        config.eventbrite.account.webhooks.target = Some(target);
        config.eventbrite.account.webhooks.backoff_ms = 1;
        alter(config);
    })
    .await;
    simulator
}

fn some_id(simulator: &Simulator, record_type: RecordType) -> RecordId {
    let mut records = simulator.truth().records.into_iter();
    let record = records.find(|record| record.record_type == record_type).unwrap();
    RecordId::new(record_type, record.external_id)
}

fn change(platform: Platform, kind: ChangeKind, id: &RecordId) -> ChangeRequest {
    ChangeRequest {
        platform,
        record_type: Some(id.record_type),
        external_id: Some(id.external_id.clone()),
        kind,
        notify: true,
    }
}

/// HMAC-SHA256 as RFC 2104 spells it out, for keys of at most 64 bytes.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let mut padded = [0_u8; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(message);
    let outer = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x5c));
    hex::encode(outer.chain_update(inner.finalize()).finalize())
}

#[tokio::test]
async fn klaviyo_signs_the_body_followed_by_the_timestamp_header() {
    let receiver = Receiver::answering(&[]).await;
    let simulator = sending_to(&receiver, |_| {}).await;
    let id = some_id(&simulator, RecordType::Profile);
    simulator.change(&change(Platform::Klaviyo, ChangeKind::Edit, &id)).unwrap();

    let webhook = receiver.first(1).await.remove(0);
    let timestamp = webhook.header("klaviyo-timestamp");
    assert!(timestamp.ends_with(" GMT") && timestamp.len() == 29, "an HTTP date: {timestamp}");
    let message = format!("{}{timestamp}", webhook.body);
    let expected = hmac_sha256(b"simulated-webhook-secret", message.as_bytes());
    assert_eq!(webhook.header("klaviyo-signature"), expected);
    let body = webhook.json();
    assert_eq!(body["meta"]["klaviyo_webhook_id"], webhook.header("klaviyo-webhook-id"));
    let event = &body["data"][0];
    assert_eq!(event["payload"]["data"]["relationships"]["profile"]["data"]["id"], id.external_id);
    assert_eq!(event["external_id"], event["payload"]["data"]["id"]);
}

#[tokio::test]
async fn klaviyo_sends_many_events_in_one_delivery_but_never_more_than_a_thousand() {
    let receiver = Receiver::answering(&[]).await;
    let simulator = sending_to(&receiver, |_| {}).await;
    let id = some_id(&simulator, RecordType::Profile);
    simulator.announce(Platform::Klaviyo, &id, 2_500);
    assert_eq!(simulator.freeze(LIMIT).await.pending_notices, 0);
    let sizes: Vec<usize> = receiver
        .all()
        .iter()
        .map(|webhook| webhook.json()["data"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 2_500);
    assert!(sizes.len() < 100, "in batches");
    assert!(sizes.iter().all(|size| *size <= 1_000));
}

#[tokio::test]
async fn eventbrite_points_at_the_record_and_names_no_delivery() {
    let receiver = Receiver::answering(&[]).await;
    let simulator = sending_to(&receiver, |_| {}).await;
    let id = some_id(&simulator, RecordType::Order);
    simulator.announce(Platform::Eventbrite, &id, 2);
    let webhooks = receiver.first(2).await;
    let body = webhooks[0].json();
    let api_url = format!("https://www.eventbriteapi.com/v3/orders/{}/", id.external_id);
    assert_eq!(body["api_url"], api_url);
    assert_eq!(body["config"]["action"], "order.updated");
    assert_eq!(webhooks[0].header("x-eventbrite-event"), "order.updated");
    assert_eq!(body["config"]["webhook_id"], webhooks[0].header("x-eventbrite-delivery"));
    assert_eq!(webhooks[0].body, webhooks[1].body, "two notices, byte for byte the same");

    let gone = simulator.change(&change(Platform::Eventbrite, ChangeKind::Delete, &id)).unwrap();
    assert!(!gone.notified);
    assert_eq!(simulator.stats().eventbrite.webhooks.notices, 2, "no webhook tells of a deletion");
}

#[tokio::test]
async fn what_gets_lost_is_counted_and_the_same_for_the_same_seed() {
    let mut lost = Vec::new();
    for _ in 0..2 {
        let receiver = Receiver::answering(&[]).await;
        let simulator = sending_to(&receiver, |config| {
            config.eventbrite.account.webhooks.lost_share = 0.4;
        })
        .await;
        let id = some_id(&simulator, RecordType::Attendee);
        simulator.announce(Platform::Eventbrite, &id, 200);
        assert_eq!(simulator.freeze(LIMIT).await.pending_notices, 0);
        let stats = simulator.stats().eventbrite.webhooks;
        assert_eq!((stats.notices, stats.arrived), (200, 200 - stats.lost));
        assert_eq!(u64::try_from(receiver.all().len()).unwrap(), stats.arrived);
        assert!((40..120).contains(&stats.lost), "{}", stats.lost);
        lost.push(stats.lost);
    }
    assert_eq!(lost[0], lost[1]);
}

#[tokio::test]
async fn a_doubled_event_comes_twice_under_one_id() {
    let receiver = Receiver::answering(&[]).await;
    let simulator = sending_to(&receiver, |config| {
        config.klaviyo.account.webhooks.duplicated_share = 1.0;
    })
    .await;
    let id = some_id(&simulator, RecordType::Profile);
    simulator.announce(Platform::Klaviyo, &id, 10);
    simulator.freeze(LIMIT).await;
    let mut times = BTreeMap::new();
    for webhook in receiver.all() {
        for event in webhook.json()["data"].as_array().unwrap() {
            *times.entry(event["external_id"].to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(times.len(), 10);
    assert!(times.values().all(|count| *count == 2));
    assert_eq!(simulator.stats().klaviyo.webhooks.duplicated, 10);
}

#[tokio::test]
async fn a_refused_delivery_is_tried_again_until_it_is_accepted_or_given_up() {
    let receiver = Receiver::answering(&[503, 302, 200, 500, 500, 500]).await;
    let simulator =
        sending_to(&receiver, |config| config.klaviyo.account.webhooks.attempts = 3).await;
    let id = some_id(&simulator, RecordType::Profile);
    simulator.announce(Platform::Klaviyo, &id, 1);
    simulator.freeze(LIMIT).await;
    let stats = simulator.stats().klaviyo.webhooks;
    assert_eq!((stats.attempts, stats.retries, stats.arrived), (3, 2, 1));
    assert_eq!((stats.answered_2xx, stats.answered_3xx, stats.answered_5xx), (1, 1, 1));

    simulator.announce(Platform::Klaviyo, &id, 1);
    simulator.freeze(LIMIT).await;
    let stats = simulator.stats().klaviyo.webhooks;
    assert_eq!((stats.attempts, stats.arrived, stats.abandoned), (6, 1, 1));
}

#[tokio::test]
async fn an_endpoint_that_answers_gone_is_unsubscribed() {
    let receiver = Receiver::answering(&[410]).await;
    let simulator = sending_to(&receiver, |_| {}).await;
    let id = some_id(&simulator, RecordType::Attendee);
    simulator.announce(Platform::Eventbrite, &id, 1);
    simulator.freeze(LIMIT).await;
    simulator.announce(Platform::Eventbrite, &id, 1);
    simulator.freeze(LIMIT).await;
    assert_eq!(receiver.all().len(), 1);
    let stats = simulator.stats().eventbrite.webhooks;
    assert_eq!((stats.enabled, stats.dropped), (false, 2));
}
