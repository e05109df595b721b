//! Klaviyo's lists, who is on them, and what happened with profiles.

use reqwest::StatusCode;
use serde_json::json;
use simulator::{ChangeKind, ChangeRequest, Platform, QuotaConfig, RecordId, RecordType, Switches};

use crate::client::{quiet, records, silently, texts, with};

#[tokio::test]
async fn what_the_document_does_not_allow_is_a_documented_error() {
    let (simulator, client) = quiet().await;
    let list = records(&simulator, Platform::Klaviyo, RecordType::List).remove(0).external_id;
    for (path, parameter) in [
        ("/api/lists?page[size]=11".to_owned(), "page[size]"),
        ("/api/lists?filter=less-than(updated,2026-01-01T00:00:00Z)".to_owned(), "filter"),
        ("/api/lists?sort=opt_in_process".to_owned(), "sort"),
        (format!("/api/lists/{list}?additional-fields[list]=owner"), "additional-fields[list]"),
        (format!("/api/lists/{list}/profiles?page[size]=101"), "page[size]"),
        (format!("/api/lists/{list}/profiles?filter=equals(email,\"a\")"), "filter"),
        (format!("/api/lists/{list}/profiles?sort=email"), "sort"),
        (format!("/api/lists/{list}/relationships/profiles?include=x"), "include"),
        ("/api/events?page[size]=1001".to_owned(), "page[size]"),
        ("/api/events?filter=any(profile_id,[\"a\"])".to_owned(), "filter"),
        ("/api/events?sort=id".to_owned(), "sort"),
        ("/api/webhook-topics?page[size]=1".to_owned(), "page[size]"),
    ] {
        let reply = client.klaviyo(&simulator, &path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.json["errors"][0]["source"]["parameter"], parameter, "{path}");
    }
    for path in ["/api/lists/none", "/api/lists/none/profiles", "/api/events/none"] {
        assert_eq!(client.klaviyo(&simulator, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn lists_come_by_ten_and_members_with_the_day_on_which_they_joined() {
    let (simulator, client) = quiet().await;
    let page = client.klaviyo(&simulator, "/api/lists").await.json;
    assert_eq!(page["data"].as_array().unwrap().len(), 10);
    let rest = client.klaviyo(&simulator, page["links"]["next"].as_str().unwrap()).await.json;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["links"]["next"]), (2, &json!(null)));

    let memberships = records(&simulator, Platform::Klaviyo, RecordType::Membership);
    let (list, _) = memberships[0].external_id.split_once('/').unwrap();
    let here = memberships.iter().filter(|one| one.external_id.starts_with(list));
    let mut expected: Vec<String> =
        here.map(|one| one.external_id.split_once('/').unwrap().1.to_owned()).collect();
    expected.sort();
    let ids = format!("/api/lists/{list}/relationships/profiles?page[size]=100");
    let ids = client.klaviyo(&simulator, &ids).await.json;
    let mut found = texts(&ids["data"], "/id");
    found.sort();
    assert_eq!(found, expected);

    let full = format!("/api/lists/{list}/profiles?sort=joined_group_at");
    let full = client.klaviyo(&simulator, &full).await.json;
    let joined = texts(&full["data"], "/attributes/joined_group_at");
    assert!(joined.is_sorted());
    let since = joined.last().unwrap().replace('+', "%2B");
    for (operator, count) in [("greater-or-equal", 1), ("greater-than", 0)] {
        let path = format!("/api/lists/{list}/profiles?filter={operator}(joined_group_at,{since})");
        let shown = client.klaviyo(&simulator, &path).await.json;
        assert_eq!(shown["data"].as_array().unwrap().len(), count, "{operator}");
    }
    let counted = format!("/api/lists/{list}?additional-fields[list]=profile_count");
    let counted = client.klaviyo(&simulator, &counted).await.json;
    assert_eq!(counted["data"]["attributes"]["profile_count"], expected.len());
}

#[tokio::test]
async fn who_leaves_is_only_missing_and_a_merged_profile_answers_no_more() {
    let (simulator, client) = quiet().await;
    let membership = records(&simulator, Platform::Klaviyo, RecordType::Membership).remove(0);
    let (list, profile) = membership.external_id.split_once('/').unwrap();
    let leave = silently(
        Platform::Klaviyo,
        ChangeKind::Delete,
        RecordType::Membership,
        Some(&membership.external_id),
    );
    simulator.change(&leave).unwrap();
    let ids = format!("/api/lists/{list}/relationships/profiles?page[size]=100");
    let shown = client.klaviyo(&simulator, &ids).await.json;
    assert!(!texts(&shown["data"], "/id").contains(&profile.to_owned()));
    let rejoin = ChangeRequest { kind: ChangeKind::Create, ..leave };
    assert_eq!(simulator.change(&rejoin).unwrap().external_id, membership.external_id);
    let shown = client.klaviyo(&simulator, &ids).await.json;
    assert!(texts(&shown["data"], "/id").contains(&profile.to_owned()));

    let merge = silently(Platform::Klaviyo, ChangeKind::Merge, RecordType::Profile, Some(profile));
    simulator.change(&merge).unwrap();
    let path = format!("/api/profiles/{profile}");
    assert_eq!(client.klaviyo(&simulator, &path).await.status, 404);
    let shown = client.klaviyo(&simulator, &ids).await.json;
    assert!(!texts(&shown["data"], "/id").contains(&profile.to_owned()));
    assert_eq!(simulator.stats().klaviyo.changes.edits, 1, "the other profile took it in");
}

#[tokio::test]
async fn an_event_is_listed_even_when_its_webhook_got_lost() {
    let (simulator, client) = with(|config| config.klaviyo.account.webhooks.lost_share = 1.0).await;
    let profile = records(&simulator, Platform::Klaviyo, RecordType::Profile).remove(0).external_id;
    let id = RecordId::new(RecordType::Profile, profile.clone());
    simulator.announce(Platform::Klaviyo, &id, 250);
    let page = client.klaviyo(&simulator, "/api/events?sort=datetime").await.json;
    assert_eq!(page["data"].as_array().unwrap().len(), 200, "when nobody asks for a size");
    let rest = client.klaviyo(&simulator, page["links"]["next"].as_str().unwrap()).await.json;
    assert_eq!(rest["data"].as_array().unwrap().len(), 50);
    let event = &page["data"][0];
    assert_eq!(event["relationships"]["profile"]["data"]["id"], json!(profile));
    assert!(event["attributes"]["datetime"].as_str().unwrap().contains(' '), "no T");
    let seconds = event["attributes"]["timestamp"].as_i64().unwrap();
    for (filter, count) in [
        (format!("greater-or-equal(timestamp,{})", seconds - 1), 200),
        (format!("greater-than(datetime,{})", "2099-01-01T00:00:00Z"), 0),
        (format!("equals(profile_id,\"{profile}\")"), 200),
        ("equals(profile_id,\"nobody\")".to_owned(), 0),
    ] {
        let shown = client.klaviyo(&simulator, &format!("/api/events?filter={filter}")).await.json;
        assert_eq!(shown["data"].as_array().unwrap().len(), count, "{filter}");
    }
    let one = format!("/api/events/{}", event["id"].as_str().unwrap());
    assert_eq!(client.klaviyo(&simulator, &one).await.json["data"]["id"], event["id"]);
}

#[tokio::test]
async fn some_profiles_were_updated_in_the_future() {
    let (simulator, client) = quiet().await;
    let switches = Switches { updated_ahead_seconds: 86_400 * 400, ..Switches::default() };
    simulator.set_switches(Platform::Klaviyo, switches);
    let path = "/api/profiles?sort=-updated&page[size]=100";
    let page = client.klaviyo(&simulator, path).await.json;
    let updated = texts(&page["data"], "/attributes/updated");
    assert!(updated[0].starts_with("2027"), "{}", updated[0]);
}

#[tokio::test]
async fn each_endpoint_has_windows_of_its_own_and_more_detail_costs_more() {
    let (simulator, client) = with(|config| {
        config.klaviyo.account.quotas = QuotaConfig::documented(Platform::Klaviyo);
    })
    .await;
    let profile = records(&simulator, Platform::Klaviyo, RecordType::Profile).remove(0).external_id;
    let lists = format!("/api/profiles/{profile}?include=lists");
    let first = client.klaviyo(&simulator, &lists).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.header("ratelimit-limit"), Some("15"), "the steady window, not the burst");
    let refused = client.klaviyo(&simulator, &lists).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, Some("1")));
    let plain = client.klaviyo(&simulator, &format!("/api/profiles/{profile}")).await;
    assert_eq!(plain.header("ratelimit-limit"), Some("750"));
    let events = client.klaviyo(&simulator, "/api/events").await;
    assert_eq!(events.header("ratelimit-limit"), Some("3500"));
}
