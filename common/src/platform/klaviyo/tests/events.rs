//! Events: not mirrored, only heard.

use super::*;

#[tokio::test]
async fn events_tell_which_profiles_did_something() {
    let fake = Fake::start(|_| {
        let event: Value = serde_json::from_str(include_str!("../samples/event.json")).unwrap();
        let mut events = vec![event["data"].clone(); 4];
        events[1]["relationships"]["profile"]["data"]["id"] = json!("another");
        events[1]["attributes"]["datetime"] = json!("2026-11-20 21:15:00+00:00");
        events[2]["relationships"] = json!({ "profile": null });
        let next = "https://elsewhere.example/?page%5Bcursor%5D=two";
        answer(200, json!({ "data": events, "links": { "next": next } }).to_string())
    })
    .await;
    let page = scan_of(&fake, "event", &since("2026-11-20T21:00:00Z")).await.unwrap();
    assert!(page.records.is_empty());
    let hints: Vec<_> = page
        .hints
        .iter()
        .map(|hint| format!("{} {}", hint.record_type, hint.external_id))
        .collect();
    assert_eq!(hints, [format!("profile {SAMPLE}"), "profile another".to_owned()]);
    assert_eq!(page.latest, Some("2026-11-20T21:15:00Z".parse().unwrap()));
    assert_eq!(page.next.as_deref(), Some("two"));

    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/api/events");
    assert_eq!(seen.query["sort"], "datetime");
    assert_eq!(seen.query["page[size]"], "200");
    assert_eq!(seen.query["filter"], "greater-than(datetime,2026-11-20T20:59:59Z)");
}

#[tokio::test]
async fn without_a_time_to_start_from_no_event_is_read() {
    let fake = Fake::start(|_| answer(500, "")).await;
    let page = scan_of(&fake, "event", &ScanFrom::default()).await.unwrap();
    assert!(page.hints.is_empty() && page.next.is_none() && page.latest.is_none());
    assert!(fake.seen().is_empty());
    assert!(look_at(&fake, &Purse::of(1), "event", &["5ex"]).await.unwrap()[0].contains("unclear"));
}

#[test]
fn the_time_of_an_event_has_one_form() {
    let form = |datetime: &str| {
        let event = json!({ "id": "e", "attributes": { "datetime": datetime } }).to_string();
        crate::platform::tests::snapshot(kind("klaviyo", "event"), &event).hash
    };
    assert_eq!(form("2023-11-20 18:12:21+00:00"), form("2023-11-20T18:12:21Z"));
    assert_ne!(form("2023-11-20 18:12:21+00:00"), form("2023-11-20 18:12:22+00:00"));
}
