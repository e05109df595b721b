//! The control API: act during a fetch, break answers, stop the world and compare.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Config, Fault, Hits, Platform, RecordType};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::client::{Client, quiet, with};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_answer_that_the_gate_holds_shows_the_state_before_what_happens_meanwhile() {
    let (simulator, client) = quiet().await;
    let control = simulator.control_url.clone();
    let truth = client.control(&control, "/truth", None).await.json;
    let profile = truth["records"][0].clone();
    assert_eq!(profile["platform"], "klaviyo");
    let id = profile["external_id"].as_str().unwrap().to_owned();

    let rule = json!({ "platform": "klaviyo", "prefix": "/api/profiles/", "hold": 1 });
    client.control(&control, "/gate", Some(&rule)).await;
    let url = format!("{}api/profiles/{id}", simulator.klaviyo_url);
    let fetch = TaskTracker::new().spawn(fetch_profile(client.clone(), url.clone()));
    let held = client.control(&control, "/gate/held?count=1", None).await.json;
    assert_eq!(held["held"], true);

    let edit = json!({ "platform": "klaviyo", "external_id": id, "kind": "edit", "notify": false });
    let changed = client.control(&control, "/change", Some(&edit)).await;
    assert_eq!(changed.json["external_id"], json!(id));
    let passed = fetch_profile(client.clone(), url).await;
    client.control(&control, "/gate/open", Some(&Value::Null)).await;
    let old = fetch.await.unwrap();
    assert_ne!(old, passed, "the one behind it passed and shows the edit");
    assert_eq!(client.control(&control, "/gate", None).await.json["held"], 0);

    let query = format!("/fetches?platform=klaviyo&record_type=profile&external_id={id}");
    let fetches = client.control(&control, &query, None).await.json;
    assert_eq!(fetches, json!({ "alone": 2, "by_filter": 0, "in_page": 0 }));
    let rows = client.control(&control, "/requests?platform=klaviyo&last=1", None).await.json;
    assert_eq!(rows[0]["template"], "/api/profiles/{id}");
    assert_eq!(rows[0]["status"], 200);
}

/// The attributes less what every read may move.
async fn fetch_profile(client: Client, url: String) -> Value {
    let headers = [("authorization", "Klaviyo-API-Key pk_simulated"), ("revision", "2026-07-15")];
    let reply = client.send(reqwest::Method::GET, &url, &headers, None).await;
    let mut attributes = reply.json["data"]["attributes"].clone();
    attributes.as_object_mut().unwrap().remove("updated");
    attributes
}

#[tokio::test]
async fn each_fault_spoils_so_many_answers_and_no_more() {
    let (simulator, client) = quiet().await;
    let control = &simulator.control_url;
    let mut replies = Vec::new();
    for fault in [
        json!({ "fault": "status", "status": 503, "retry_after": 2 }),
        json!({ "fault": "status", "status": 429, "retry_after": 7 }),
        json!({ "fault": "redirect", "location": "http://127.0.0.1:9/elsewhere" }),
        json!({ "fault": "garbage" }),
        json!({ "fault": "cut" }),
        json!({ "fault": "slow", "ms": 1 }),
        json!({ "fault": "huge", "bytes": 200_000 }),
    ] {
        let mut request = fault.clone();
        request["platform"] = json!("eventbrite");
        request["next"] = json!(1);
        assert_eq!(client.control(control, "/fault", Some(&request)).await.status, 204, "{fault}");
        replies.push(client.eventbrite(&simulator, "/organizations/700100200300/events/").await);
    }
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [503, 429, 302, 200, 200, 200, 200]);
    assert_eq!(replies[0].header("retry-after"), Some("2"));
    assert_eq!(replies[1].json["error"], "HIT_RATE_LIMIT");
    assert_eq!(replies[2].header("location"), Some("http://127.0.0.1:9/elsewhere"));
    assert_eq!((&replies[3].json, replies[3].whole), (&Value::Null, true));
    assert!(!replies[4].whole, "the connection ended in the middle");
    assert!(replies[5].json["events"].is_array(), "late, but right");
    assert_eq!((&replies[6].json, replies[6].whole), (&Value::Null, true));

    let after = client.eventbrite(&simulator, "/organizations/700100200300/events/").await;
    assert!(after.json["events"].is_array());
    assert_eq!(simulator.stats().eventbrite.refusals, 0, "an injected 429 is no refusal");
}

#[tokio::test]
async fn a_share_of_answers_is_spoilt_until_that_is_cleared() {
    let (simulator, client) = quiet().await;
    let fault = Fault::Status { status: 500, retry_after: None };
    simulator.fault(Platform::Klaviyo, fault, Hits::Share(0.5));
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(client.klaviyo(&simulator, "/api/webhooks").await.status == 500);
    }
    assert!((8..33).contains(&failed), "{failed} of 40");
    simulator.clear_faults(Platform::Klaviyo);
    assert_eq!(client.klaviyo(&simulator, "/api/webhooks").await.status, 200);
}

#[tokio::test]
async fn after_a_freeze_the_api_shows_the_truth() {
    let (simulator, client) = with(|config| {
        *config = Config::lively(3);
        config.eventbrite.account.stale_ms = (0, 100);
        for account in [&mut config.klaviyo.account, &mut config.eventbrite.account] {
            account.changes.per_record_hour = 2_000.0;
            account.changes.creations_hour = 10_000.0;
            account.quotas.clear();
        }
    })
    .await;
    let made = |stats: simulator::ChangeStats| {
        stats.edits + stats.touches + stats.creations + stats.deletions
    };
    while made(simulator.stats().klaviyo.changes) < 100
        || made(simulator.stats().eventbrite.changes) < 100
    {
        sleep(Duration::from_millis(5)).await;
    }
    let frozen = simulator.freeze(LIMIT).await;
    assert_eq!((frozen.pending_notices, frozen.unsettled_ms), (0, 0));
    let truth = simulator.truth();
    assert_eq!(simulator.truth(), truth, "nothing changes any more");

    let mut shown = BTreeMap::new();
    let mut next = json!("/api/profiles?page[size]=100");
    while let Some(path) = next.as_str() {
        let reply = client.klaviyo(&simulator, path).await;
        for mut profile in reply.json["data"].as_array().unwrap().clone() {
            let attributes = profile["attributes"].as_object_mut().unwrap();
            attributes.remove("updated");
            attributes.remove("last_event_date");
            attributes["location"].as_object_mut().unwrap().remove("ip");
            shown.insert(profile["id"].to_string(), profile["attributes"].clone());
        }
        next = reply.json["links"]["next"].clone();
    }
    let profiles = truth.records.iter().filter(|record| record.record_type == RecordType::Profile);
    let expected: BTreeMap<String, Value> = profiles
        .map(|record| (json!(record.external_id).to_string(), record.payload["attributes"].clone()))
        .collect();
    assert!(shown == expected, "profiles differ");
    assert!(!truth.deleted.is_empty());

    simulator.thaw();
    let before = made(simulator.stats().klaviyo.changes);
    while made(simulator.stats().klaviyo.changes) == before {
        sleep(Duration::from_millis(5)).await;
    }
    simulator.stop().await;
}
