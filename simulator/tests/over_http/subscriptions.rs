//! Eventbrite's webhooks as they are made and removed; its switches, expansions and expired orders.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{ChangeKind, Platform, RecordId, RecordType, Simulator, Switches};

use crate::client::{Client, Reply, quiet, records, silently, texts};
use crate::receiver::Receiver;

const ORG: &str = "/organizations/700100200300";
const LIMIT: Duration = Duration::from_secs(20);

async fn send(
    simulator: &Simulator,
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Reply {
    let url = format!("{}{path}", simulator.eventbrite_url);
    client.send(method, &url, &[("authorization", "Bearer simulated-token")], body).await
}

#[tokio::test]
async fn a_webhook_is_made_tells_what_it_was_made_for_and_is_removed() {
    let receiver = Receiver::answering(&[]).await;
    let (simulator, client) = quiet().await;
    let path = format!("{ORG}/webhooks/");
    let body = json!({ "endpoint_url": receiver.url, "actions": "order.updated,order.placed" });
    let made = send(&simulator, &client, Method::POST, &path, Some(&body)).await;
    assert_eq!((made.status.as_u16(), &made.json["actions"]), (200, &body["actions"]));
    let order = records(&simulator, Platform::Eventbrite, RecordType::Order).remove(0).external_id;
    let event = records(&simulator, Platform::Eventbrite, RecordType::Event).remove(0).external_id;
    simulator.announce(Platform::Eventbrite, &RecordId::new(RecordType::Order, order), 1);
    simulator.announce(Platform::Eventbrite, &RecordId::new(RecordType::Event, event), 1);
    simulator.freeze(LIMIT).await;
    let actions: Vec<Value> =
        receiver.all().iter().map(|webhook| webhook.json()["config"]["action"].clone()).collect();
    assert_eq!(actions, ["order.updated"]);

    let id = made.json["id"].as_str().unwrap();
    let listed = client.eventbrite(&simulator, &path).await.json;
    assert_eq!(texts(&listed["webhooks"], "/id"), [id]);
    let one = format!("/webhooks/{id}/");
    let removed = send(&simulator, &client, Method::DELETE, &one, None).await;
    assert_eq!(removed.json, json!({ "success": true }));
    assert_eq!(client.eventbrite(&simulator, &path).await.json["webhooks"], json!([]));
    for (method, path, body, status) in [
        (Method::DELETE, &one, None, 404),
        (Method::POST, &path, Some(json!({ "endpoint_url": "x", "actions": "order.placed" })), 400),
        (
            Method::POST,
            &path,
            Some(json!({ "endpoint_url": receiver.url, "actions": "order.deleted" })),
            400,
        ),
        (Method::POST, &format!("{ORG}/orders/"), Some(json!({})), 405),
    ] {
        let reply = send(&simulator, &client, method, path, body.as_ref()).await;
        assert_eq!(reply.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_order_that_ran_out_is_a_400_of_its_own_and_a_deleted_one_a_404() {
    let (simulator, client) = quiet().await;
    let orders = records(&simulator, Platform::Eventbrite, RecordType::Order);
    for (order, kind, status, error) in [
        (&orders[0], ChangeKind::Clock, 400, "ORDER_EXPIRED"),
        (&orders[1], ChangeKind::Delete, 404, "NOT_FOUND"),
    ] {
        let id = Some(order.external_id.as_str());
        simulator.change(&silently(Platform::Eventbrite, kind, RecordType::Order, id)).unwrap();
        let reply = client.eventbrite(&simulator, &format!("/orders/{}/", order.external_id)).await;
        assert_eq!((reply.status.as_u16(), &reply.json["error"]), (status, &json!(error)));
    }
}

#[tokio::test]
async fn expansions_put_related_objects_in_or_fail_as_a_whole() {
    let (simulator, client) = quiet().await;
    let order = records(&simulator, Platform::Eventbrite, RecordType::Order).remove(0);
    let path = format!("/orders/{}/?expand=event,attendees", order.external_id);
    let shown = client.eventbrite(&simulator, &path).await.json;
    assert_eq!(shown["event"]["id"], order.payload["event_id"]);
    assert!(shown["attendees"].is_array());
    let unknown = format!("/orders/{}/?expand=weather", order.external_id);
    assert_eq!(client.eventbrite(&simulator, &unknown).await.json["error"], "ARGUMENTS_ERROR");

    let switches = Switches { expansions_fail: true, ..Switches::default() };
    simulator.set_switches(Platform::Eventbrite, switches);
    let failed = client.eventbrite(&simulator, &path).await;
    assert_eq!((failed.status.as_u16(), &failed.json["error"]), (500, &json!("EXPANSION_FAILED")));
    let plain = format!("/orders/{}/", order.external_id);
    assert_eq!(client.eventbrite(&simulator, &plain).await.status, 200);
}

#[tokio::test]
async fn there_is_no_api_switch_to_set() {
    let (simulator, client) = quiet().await;
    let url = format!("{}{ORG}/events/", simulator.eventbrite_url);
    let headers =
        [("authorization", "Bearer simulated-token"), ("eb-api-switches-enabled", "unheard-of")];
    assert_eq!(client.send(Method::GET, &url, &headers, None).await.status, 400);
}
