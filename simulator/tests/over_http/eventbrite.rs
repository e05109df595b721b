//! Eventbrite's API: what it refuses, how it pages, what it shows of the deleted and the new.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ChangeKind, ChangeRequest, LiveRecord, Platform, RecordType, Simulator};

use crate::client::{Client, Headers, quiet, texts, with};

const ORG: &str = "/organizations/700100200300";

fn first(simulator: &Simulator, record_type: RecordType) -> LiveRecord {
    let mut records = simulator.truth().records.into_iter();
    records.find(|record| record.record_type == record_type).unwrap()
}

fn by_hand(kind: ChangeKind, record: &LiveRecord) -> ChangeRequest {
    ChangeRequest {
        platform: Platform::Eventbrite,
        record_type: Some(record.record_type),
        external_id: Some(record.external_id.clone()),
        kind,
        notify: false,
    }
}

fn path_of(external_id: &str) -> String {
    let (event, id) = external_id.split_once('/').unwrap();
    format!("/events/{event}/attendees/{id}/")
}

#[tokio::test]
async fn what_the_document_does_not_allow_is_a_documented_error() {
    let (simulator, client) = quiet().await;
    let event = first(&simulator, RecordType::Event).external_id;
    for (path, status, error) in [
        (format!("{ORG}/events/?changed_since=2026-01-01T00:00:00Z"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/events/?page_size=51"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/events/?order_by=changed_asc"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/attendees/?attendee_ids=1"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/attendees/?changed_since=yesterday"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/attendees/?status=deleted"), 400, "ARGUMENTS_ERROR"),
        (format!("{ORG}/orders/?continuation=abc"), 400, "BAD_CONTINUATION_TOKEN"),
        (format!("{ORG}/orders/?page=1000"), 400, "BAD_PAGE"),
        ("/organizations/1/events/".to_owned(), 403, "NOT_AUTHORIZED"),
        (format!("/events/{event}"), 404, "NOT_FOUND"),
        ("/events/1/attendees/".to_owned(), 404, "NOT_FOUND"),
        ("/orders/1/".to_owned(), 404, "NOT_FOUND"),
    ] {
        let reply = client.eventbrite(&simulator, &path).await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.json["error"], error, "{path}");
        assert_eq!(reply.json["status_code"], status, "{path}");
    }
}

#[tokio::test]
async fn a_bad_token_is_a_400_and_a_missing_one_a_401() {
    let (simulator, client) = quiet().await;
    let url = format!("{}{ORG}/events/", simulator.eventbrite_url);
    let cases: [(Headers, u16, &str); 3] = [
        (&[], 401, "NO_AUTH"),
        (&[("authorization", "simulated-token")], 400, "INVALID_AUTH_HEADER"),
        (&[("authorization", "Bearer wrong")], 400, "INVALID_AUTH"),
    ];
    for (headers, status, error) in cases {
        let reply = client.send(Method::GET, &url, headers, None).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.json["error"], error);
    }
}

#[tokio::test]
async fn the_last_page_carries_a_token_and_leads_to_an_empty_one() {
    let (simulator, client) = quiet().await;
    let list = format!("{ORG}/attendees/?page_size=50");
    let (mut seen, mut continuation) = (BTreeSet::new(), String::new());
    for more in [true, true, false] {
        let reply = client.eventbrite(&simulator, &format!("{list}{continuation}")).await;
        seen.extend(texts(&reply.json["attendees"], "/id"));
        let pagination = &reply.json["pagination"];
        assert_eq!(pagination["has_more_items"], more);
        continuation = format!("&continuation={}", pagination["continuation"].as_str().unwrap());
    }
    assert_eq!(seen.len(), 150);
    let reply = client.eventbrite(&simulator, &format!("{list}{continuation}")).await;
    assert_eq!(reply.json["attendees"], json!([]));
    assert_eq!(reply.json["pagination"]["has_more_items"], false);

    let elsewhere = format!("{ORG}/orders/?page_size=50{continuation}");
    let reply = client.eventbrite(&simulator, &elsewhere).await;
    assert_eq!(reply.json["error"], "BAD_CONTINUATION_TOKEN", "a token is good for its own list");
}

#[tokio::test]
async fn changed_since_includes_the_instant_itself() {
    let (simulator, client) = quiet().await;
    let newest = simulator
        .truth()
        .records
        .into_iter()
        .filter(|record| record.record_type == RecordType::Order)
        .max_by_key(|record| record.changed_at)
        .unwrap();
    let since =
        format!("{ORG}/orders/?changed_since={}", newest.payload["changed"].as_str().unwrap());
    let reply = client.eventbrite(&simulator, &since).await;
    assert_eq!(texts(&reply.json["orders"], "/id"), [newest.external_id]);
}

#[tokio::test]
async fn a_deleted_attendee_is_shown_only_where_not_attending_is_asked_for() {
    let (simulator, client) = quiet().await;
    let attendee = first(&simulator, RecordType::Attendee);
    simulator.change(&by_hand(ChangeKind::Delete, &attendee)).unwrap();
    let reply = client.eventbrite(&simulator, &path_of(&attendee.external_id)).await;
    assert_eq!(
        (&reply.json["status"], &reply.json["cancelled"]),
        (&json!("Deleted"), &json!(true))
    );

    let (event, id) = attendee.external_id.split_once('/').unwrap();
    let by_id = format!("/events/{event}/attendees/?attendee_ids={id}");
    for (query, count) in [("", 0), ("&status=attending", 0), ("&status=not_attending", 1)] {
        let reply = client.eventbrite(&simulator, &format!("{by_id}{query}")).await;
        assert_eq!(reply.json["attendees"].as_array().unwrap().len(), count, "{query}");
    }
    let truth = simulator.truth();
    assert!(truth.deleted.is_empty());
    assert!(truth.records.iter().any(|record| record.payload["status"] == "Deleted"));
}

#[tokio::test]
async fn a_deleted_order_is_gone_from_every_answer() {
    let (simulator, client) = quiet().await;
    let order = first(&simulator, RecordType::Order);
    simulator.change(&by_hand(ChangeKind::Delete, &order)).unwrap();
    let one = format!("/orders/{}/", order.external_id);
    assert_eq!(client.eventbrite(&simulator, &one).await.status, 404);
    let list = format!("{ORG}/orders/?status=both");
    let reply = client.eventbrite(&simulator, &list).await;
    assert!(!texts(&reply.json["orders"], "/id").contains(&order.external_id));
    assert_eq!(simulator.truth().deleted[0].external_id, order.external_id);
}

#[tokio::test]
async fn the_same_record_looks_different_from_read_to_read_and_means_the_same() {
    let (simulator, client) = quiet().await;
    let attendee = first(&simulator, RecordType::Attendee);
    let mut looks = BTreeSet::new();
    for _ in 0..20 {
        let mut shown = client.eventbrite(&simulator, &path_of(&attendee.external_id)).await.json;
        looks.insert(shown.to_string());
        let fields = shown.as_object_mut().unwrap();
        fields.remove("resource_uri");
        for (name, value) in attendee.payload.as_object().unwrap() {
            let shown = fields.entry(name.clone()).or_insert(Value::Null);
            if let (Value::Array(shown), Value::Array(_)) = (&mut *shown, value) {
                shown.sort_by_key(ToString::to_string);
            }
        }
        let mut truth = attendee.payload.clone();
        for name in ["barcodes", "answers"] {
            truth[name].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        }
        assert_eq!(shown, truth);
    }
    assert!(looks.len() > 5, "arrays in any order, nulls left out, two shapes of resource_uri");
}

#[tokio::test]
async fn reads_may_show_the_state_before_a_change_and_no_new_record_yet() {
    const HOUR_MS: u64 = 3_600_000;
    let (simulator, client) = with(|config| {
        config.eventbrite.account.stale_ms = (HOUR_MS, HOUR_MS);
    })
    .await;
    let order = first(&simulator, RecordType::Order);
    let one = format!("/orders/{}/", order.external_id);
    let before = essence(&client, &simulator, &one).await;
    simulator.change(&by_hand(ChangeKind::Edit, &order)).unwrap();
    assert_eq!(essence(&client, &simulator, &one).await, before);
    assert_ne!(first(&simulator, RecordType::Order).payload, order.payload);

    let create = ChangeRequest { external_id: None, ..by_hand(ChangeKind::Create, &order) };
    let created = simulator.change(&create).unwrap().external_id;
    let path = format!("/orders/{created}/");
    assert_eq!(client.eventbrite(&simulator, &path).await.status, 404);
    let since = format!("{ORG}/orders/?changed_since=2026-06-01T00:00:00Z");
    assert_eq!(client.eventbrite(&simulator, &since).await.json["orders"], json!([]));
}

async fn essence(client: &Client, simulator: &Simulator, path: &str) -> (Value, Value, Value) {
    let order = client.eventbrite(simulator, path).await.json;
    (order["changed"].clone(), order["name"].clone(), order["status"].clone())
}
