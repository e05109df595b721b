//! Patreon's webhooks: several triggers for one change, kept while paused, sent when resumed.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use simulator::{ChangeKind, ChangeRequest, Config, Platform, RecordType, Simulator};

use crate::client::{Client, records, with};
use crate::receiver::{Received, Receiver};

const LIMIT: Duration = Duration::from_secs(20);

async fn sending_to(receiver: &Receiver, alter: impl FnOnce(&mut Config)) -> (Simulator, Client) {
    let target = receiver.url.clone();
    with(|config| {
        config.patreon.account.webhooks.target = Some(target);
        config.patreon.account.webhooks.backoff_ms = 1;
        alter(config);
    })
    .await
}

fn told(kind: ChangeKind, id: Option<String>) -> ChangeRequest {
    ChangeRequest {
        platform: Platform::Patreon,
        record_type: Some(RecordType::Member),
        external_id: id,
        kind,
        notify: true,
    }
}

fn paid(simulator: &Simulator, paid: bool) -> String {
    let members = records(simulator, Platform::Patreon, RecordType::Member);
    let cents = "/attributes/campaign_lifetime_support_cents";
    let has = |cents: u64| (cents > 0) == paid;
    let found =
        members.into_iter().find(|one| has(one.payload.pointer(cents).unwrap().as_u64().unwrap()));
    found.unwrap().external_id
}

fn triggers(received: &[Received]) -> Vec<&str> {
    let mut triggers: Vec<&str> =
        received.iter().map(|webhook| webhook.header("x-patreon-event")).collect();
    triggers.sort_unstable();
    triggers
}

#[tokio::test]
async fn one_change_fires_several_triggers_each_with_the_whole_member() {
    let receiver = Receiver::answering(&[]).await;
    let (simulator, _) = sending_to(&receiver, |_| {}).await;
    let id = paid(&simulator, true);
    simulator.change(&told(ChangeKind::Delete, Some(id.clone()))).unwrap();
    let both = receiver.first(2).await;
    assert_eq!(triggers(&both), ["members:pledge:delete", "members:update"]);
    for webhook in &both {
        let signature = webhook.header("x-patreon-signature");
        assert_eq!((signature.len(), signature.to_lowercase()), (32, signature.to_owned()));
        let body = webhook.json();
        assert_eq!(body["data"]["id"], json!(id));
        assert_eq!(body["data"]["attributes"]["patron_status"], "former_patron");
        assert!(body["links"]["self"].as_str().unwrap().ends_with(&id));
        assert!(body["included"].as_array().unwrap().iter().any(|one| one["type"] == "user"));
    }
    let free = paid(&simulator, false);
    simulator.change(&told(ChangeKind::Delete, Some(free.clone()))).unwrap();
    let last = receiver.first(3).await.remove(2);
    assert_eq!(last.header("x-patreon-event"), "members:delete");
    assert_eq!(last.json()["data"]["id"], json!(free));
}

#[tokio::test]
async fn after_failures_it_is_paused_keeps_what_comes_and_sends_all_when_resumed() {
    let receiver = Receiver::answering(&[500, 500, 500]).await;
    let (simulator, client) = sending_to(&receiver, |config| {
        let webhooks = &mut config.patreon.account.webhooks;
        (webhooks.attempts, webhooks.pause_after, webhooks.concurrency) = (3, 3, 1);
    })
    .await;
    let id = paid(&simulator, false);
    for _ in 0..3 {
        simulator.change(&told(ChangeKind::Edit, Some(id.clone()))).unwrap();
    }
    assert_eq!(simulator.freeze(LIMIT).await.pending_notices, 0);
    let stats = simulator.stats().patreon.webhooks;
    assert_eq!((stats.attempts, stats.arrived, stats.held, stats.enabled), (3, 0, 3, false));

    let list = "/v2/webhooks?fields[webhook]=paused,num_consecutive_times_failed,uri";
    let shown = client.patreon(&simulator, list).await.json;
    let attributes = &shown["data"][0]["attributes"];
    assert_eq!(
        attributes,
        &json!({ "paused": true, "num_consecutive_times_failed": 3, "uri": receiver.url })
    );
    let body = json!({ "data": { "type": "webhook", "attributes": { "paused": false } } });
    let path = format!("/v2/webhooks/{}", shown["data"][0]["id"].as_str().unwrap());
    let resumed = client.patreon_send(&simulator, Method::PATCH, &path, Some(&body)).await;
    assert_eq!(resumed.json["data"]["attributes"]["paused"], false);
    assert_eq!(simulator.freeze(LIMIT).await.pending_notices, 0);
    let stats = simulator.stats().patreon.webhooks;
    assert_eq!((stats.arrived, stats.held, stats.enabled), (3, 0, true));
}

#[tokio::test]
async fn a_registered_webhook_has_its_own_secret_and_triggers() {
    let (receiver, second) = (Receiver::answering(&[]).await, Receiver::answering(&[]).await);
    let (simulator, client) = sending_to(&receiver, |_| {}).await;
    let attributes = json!({ "triggers": ["members:delete"], "uri": second.url });
    let body = json!({ "data": { "type": "webhook", "attributes": attributes } });
    let made = client.patreon_send(&simulator, Method::POST, "/v2/webhooks", Some(&body)).await;
    assert_eq!(made.status, 201);
    assert!(made.json["data"]["attributes"]["secret"].as_str().unwrap().len() > 16);
    let id = paid(&simulator, false);
    simulator.change(&told(ChangeKind::Edit, Some(id.clone()))).unwrap();
    simulator.change(&told(ChangeKind::Delete, Some(id))).unwrap();
    simulator.freeze(LIMIT).await;
    assert_eq!(triggers(&receiver.all()), ["members:delete", "members:update"]);
    assert_eq!(triggers(&second.all()), ["members:delete"]);
    let signature =
        |receiver: &Receiver, n: usize| receiver.all()[n].header("x-patreon-signature").to_owned();
    assert_ne!(signature(&second, 0), signature(&receiver, 1));

    for attributes in [json!({ "triggers": ["members:explode"], "uri": second.url }), json!({})] {
        let body = json!({ "data": { "type": "webhook", "attributes": attributes } });
        let made = client.patreon_send(&simulator, Method::POST, "/v2/webhooks", Some(&body)).await;
        assert_eq!(made.status, 400);
    }
}
