//! Klaviyo's API: what it refuses, how it pages, what it says about limits.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{
    ChangeKind, ChangeRequest, Platform, QuotaConfig, RecordId, RecordType, Simulator,
};

use crate::client::{Client, Headers, quiet, texts, with};

fn ids(simulator: &Simulator) -> BTreeSet<String> {
    simulator
        .truth()
        .records
        .into_iter()
        .filter(|record| record.record_type == RecordType::Profile)
        .map(|record| record.external_id)
        .collect()
}

fn by_hand(kind: ChangeKind, id: &str) -> ChangeRequest {
    ChangeRequest {
        platform: Platform::Klaviyo,
        record_type: None,
        external_id: Some(id.to_owned()),
        kind,
        notify: false,
    }
}

#[tokio::test]
async fn what_the_document_does_not_allow_is_a_documented_error() {
    let (simulator, client) = quiet().await;
    for (query, parameter) in [
        ("filter=greater-or-equal(updated,2026-01-01T00:00:00Z)", "filter"),
        ("filter=greater-than(updatedd,2026-01-01T00:00:00Z)", "filter"),
        ("page[size]=101", "page[size]"),
        ("page[size]=0", "page[size]"),
        ("page[cursor]=abc", "page[cursor]"),
        ("sort=first_name", "sort"),
        ("pagesize=10", "pagesize"),
    ] {
        let reply = client.klaviyo(&simulator, &format!("/api/profiles?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        let error = &reply.json["errors"][0];
        assert_eq!(error["code"], "invalid", "{query}");
        assert_eq!(error["source"]["parameter"], parameter, "{query}");
        assert_eq!(reply.header("content-type"), Some("application/vnd.api+json"));
    }
    for path in ["/api/profiles/", "/api/profiles/none", "/api/people"] {
        assert_eq!(client.klaviyo(&simulator, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_key_and_a_revision_that_is_served_are_required() {
    const KEY: &str = "Klaviyo-API-Key pk_simulated";
    const OPT_OUT: &str = "x-klaviyo-revision-fall-forward-opt-out";
    let (simulator, client) = quiet().await;
    let url = format!("{}api/profiles", simulator.klaviyo_url);
    let cases: [(Headers, u16); 8] = [
        (&[("revision", "2026-07-15")], 400),
        (&[("authorization", "Klaviyo-API-Key wrong"), ("revision", "2026-07-15")], 401),
        (&[("authorization", "Bearer pk_simulated"), ("revision", "2026-07-15")], 401),
        (&[("authorization", KEY)], 400),
        (&[("authorization", KEY), ("revision", "2026-07-16"), (OPT_OUT, "1")], 400),
        (&[("authorization", KEY), ("revision", "2020-01-15"), (OPT_OUT, "1")], 410),
        (&[("authorization", KEY), ("revision", "2020-01-15")], 200),
        (&[("authorization", KEY), ("revision", "2026-07-15"), (OPT_OUT, "1")], 200),
    ];
    for (headers, status) in cases {
        let reply = client.send(Method::GET, &url, headers, None).await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn following_the_links_shows_every_profile_once_in_order() {
    let (simulator, client) = quiet().await;
    let (mut seen, mut updated, mut pages) = (Vec::new(), Vec::new(), 0);
    let mut next = "/api/profiles?sort=updated&page[size]=70".to_owned();
    loop {
        let reply = client.klaviyo(&simulator, &next).await;
        assert_eq!(reply.status, 200);
        seen.extend(texts(&reply.json["data"], "/id"));
        updated.extend(texts(&reply.json["data"], "/attributes/updated"));
        pages += 1;
        match &reply.json["links"]["next"] {
            Value::String(url) => next.clone_from(url),
            end => {
                assert_eq!(*end, Value::Null);
                break;
            }
        }
    }
    assert_eq!(pages, 5);
    assert_eq!(seen.len(), 300);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ids(&simulator));
    assert!(updated.is_sorted());
}

#[tokio::test]
async fn a_filter_by_ids_still_pages_by_twenty_and_leaves_missing_ids_out() {
    let (simulator, client) = quiet().await;
    let mut wanted: Vec<String> = ids(&simulator).into_iter().take(30).collect();
    let gone = wanted[0].clone();
    simulator.change(&by_hand(ChangeKind::Delete, &gone)).unwrap();
    wanted.push("01JNOBODY".to_owned());
    let filter = format!("filter=any(id,{})", json!(wanted));
    let reply = client.klaviyo(&simulator, &format!("/api/profiles?{filter}")).await;
    assert_eq!(reply.json["data"].as_array().unwrap().len(), 20, "the default page size");
    assert!(reply.json["links"]["next"].is_string());

    let reply = client.klaviyo(&simulator, &format!("/api/profiles?page[size]=100&{filter}")).await;
    let found = texts(&reply.json["data"], "/id");
    assert_eq!(found.len(), 29);
    assert!(!found.contains(&gone));
    let one = format!("/api/profiles/{gone}");
    assert_eq!(client.klaviyo(&simulator, &one).await.status, 404);

    let fetches = simulator.fetches(Platform::Klaviyo, &RecordId::new(RecordType::Profile, gone));
    assert_eq!((fetches.by_filter, fetches.alone, fetches.in_page), (2, 1, 0));
}

#[tokio::test]
async fn greater_than_leaves_out_the_profile_at_the_watermark_itself() {
    let (simulator, client) = quiet().await;
    let newest = "/api/profiles?sort=-updated&page[size]=1";
    let reply = client.klaviyo(&simulator, newest).await;
    let updated = texts(&reply.json["data"], "/attributes/updated").remove(0);
    let encoded = updated.replace('+', "%2B");
    let after = format!("/api/profiles?filter=greater-than(updated,{encoded})");
    let reply = client.klaviyo(&simulator, &after).await;
    assert_eq!(reply.json["data"], json!([]));
}

#[tokio::test]
async fn a_touch_moves_updated_and_not_the_truth() {
    let (simulator, client) = quiet().await;
    let id = ids(&simulator).pop_first().unwrap();
    let path = format!("/api/profiles/{id}");
    let (before, truth) = (client.klaviyo(&simulator, &path).await.json, payload(&simulator, &id));
    simulator.change(&by_hand(ChangeKind::Touch, &id)).unwrap();
    let after = client.klaviyo(&simulator, &path).await.json;
    let updated = "/data/attributes/updated";
    assert_ne!(before.pointer(updated), after.pointer(updated));
    assert_eq!(payload(&simulator, &id), truth);

    simulator.change(&by_hand(ChangeKind::Edit, &id)).unwrap();
    assert_ne!(payload(&simulator, &id), truth);
}

fn payload(simulator: &Simulator, id: &str) -> Value {
    let records = simulator.truth().records;
    records.into_iter().find(|record| record.external_id == id).unwrap().payload
}

#[tokio::test]
async fn limits_are_told_on_success_and_only_the_wait_on_refusal() {
    let (simulator, client) = with(|config| {
        config.klaviyo.account.quotas =
            vec![QuotaConfig::new("burst", 100, 1_000), QuotaConfig::new("steady", 2, 3_600_000)];
    })
    .await;
    let first = get_one(&simulator, &client).await;
    assert_eq!(first.header("ratelimit-limit"), Some("2"));
    assert_eq!(first.header("ratelimit-remaining"), Some("1"));
    assert_eq!(first.header("ratelimit-reset"), Some("3600"));
    assert_eq!(first.header("retry-after"), None);

    get_one(&simulator, &client).await;
    let refused = get_one(&simulator, &client).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert_eq!(refused.header("ratelimit-limit"), None);
    assert!(refused.json["errors"][0]["code"].is_string());

    let stats = simulator.stats().klaviyo;
    assert_eq!(stats.refusals, 1);
    let steady = &stats.quotas[1];
    assert_eq!((steady.taken, steady.most_in_a_window, steady.refused), (2, 2, 1));
}

async fn get_one(simulator: &Simulator, client: &Client) -> crate::client::Reply {
    client.klaviyo(simulator, "/api/profiles?page[size]=1").await
}
