//! Klaviyo's answers, read as its documents describe them.

mod events;
mod lists;
mod memberships;
mod noise;

use std::time::Duration;

use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::klaviyo::{Klaviyo, errors, limits, webhook};
use crate::platform::tests::contract::sign_as_klaviyo;
use crate::platform::tests::fake::{Fake, Purse, Seen, answer};
use crate::platform::tests::{account, api, kind, offline};
use crate::platform::{
    Call, Look, Notice, Page, Platform, PlatformError, Refused, ScanFrom, WebhookRequest,
};
use crate::quota::RateSignal;

const SAMPLE: &str = "01JEXAMPLE5P6Q7R8S9T0V1W2X";

fn profile(id: &str) -> Value {
    json!({
        "type": "profile",
        "id": id,
        "attributes": { "email": format!("{id}@example.org"), "updated": "2026-11-20T21:14:07+00:00" },
    })
}

async fn look(fake: &Fake, purse: &Purse, ids: &[&str]) -> Result<Vec<String>, PlatformError> {
    look_at(fake, purse, "profile", ids).await
}

async fn look_at(
    fake: &Fake,
    purse: &Purse,
    record: &str,
    ids: &[&str],
) -> Result<Vec<String>, PlatformError> {
    let account = account(&Klaviyo, &fake.url);
    let (api, ids) = (api(), ids.iter().map(|&id| ExternalId::from(id)).collect::<Vec<_>>());
    let call = Call::new(&api, &account, purse, record);
    let mut looks: Vec<_> = Klaviyo
        .look(&call, kind("klaviyo", record), &ids)
        .await?
        .into_iter()
        .map(|look| match look {
            Look::Found(snapshot) => format!("{} found", snapshot.external_id),
            Look::Missing(id) => format!("{id} missing"),
            Look::Postponed(id) => format!("{id} postponed"),
            Look::Unclear { external_id, reason } => format!("{external_id} unclear: {reason}"),
            other => format!("{other:?}"),
        })
        .collect();
    looks.sort();
    Ok(looks)
}

async fn scan(fake: &Fake, from: &ScanFrom) -> Result<Page, PlatformError> {
    scan_of(fake, "profile", from).await
}

/// A page, for which there is one permit.
async fn scan_of(fake: &Fake, record: &str, from: &ScanFrom) -> Result<Page, PlatformError> {
    let (api, account, purse) = (api(), account(&Klaviyo, &fake.url), Purse::of(1));
    let call = Call::new(&api, &account, &purse, "scan");
    Klaviyo.scan(&call, kind("klaviyo", record), from).await
}

fn since(time: &str) -> ScanFrom {
    ScanFrom { cursor: None, changed_since: Some(time.parse().unwrap()) }
}

/// Knows `a` and `b`; its list hides `b`.
fn hides_b(seen: &Seen) -> axum::response::Response {
    match seen.path.as_str() {
        "/api/profiles" => answer(200, json!({ "data": [profile("a")] }).to_string()),
        "/api/profiles/b" => answer(200, json!({ "data": profile("b") }).to_string()),
        _ => answer(404, "{}"),
    }
}

#[tokio::test]
async fn a_hundred_profiles_are_looked_at_with_one_request() {
    let fake = Fake::start(|_| {
        let data: Vec<_> = (0..100).map(|n| profile(&format!("p{n}"))).collect();
        answer(200, json!({ "data": data }).to_string())
    })
    .await;
    let ids: Vec<_> = (0..100).map(|n| format!("p{n}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let purse = Purse::of(9);
    let looks = look(&fake, &purse, &ids).await.unwrap();
    assert!(looks.len() == 100 && looks.iter().all(|look| look.ends_with("found")));
    assert_eq!(purse.left(), 8);

    let seen = &fake.seen()[0];
    assert_eq!(seen.query["page[size]"], "100");
    assert!(seen.query["filter"].starts_with(r#"any(id,["p0","p1","p10","#));
    let header = |name: &str| seen.headers[name].to_str().unwrap();
    assert_eq!(header("authorization"), "Klaviyo-API-Key pk_very_secret");
    assert_eq!(header("revision"), "2026-07-15");
    assert_eq!(header("x-klaviyo-revision-fall-forward-opt-out"), "1");
}

#[tokio::test]
async fn what_a_batch_leaves_out_is_asked_for_by_itself() {
    let fake = Fake::start(hides_b).await;
    let purse = Purse::of(9);
    let looks = look(&fake, &purse, &["a", "b", "c"]).await.unwrap();
    assert_eq!(looks, ["a found", "b found", "c missing"]);
    assert_eq!(fake.paths(), ["/api/profiles", "/api/profiles/b", "/api/profiles/c"]);
    assert_eq!((purse.left(), purse.settled().len()), (6, 3));
}

#[tokio::test]
async fn without_a_permit_to_confirm_a_profile_is_postponed_and_not_missing() {
    let fake = Fake::start(hides_b).await;
    let looks = look(&fake, &Purse::of(2), &["a", "b", "c"]).await.unwrap();
    assert_eq!(looks, ["a found", "b found", "c postponed"]);
}

#[tokio::test]
async fn a_platform_in_trouble_is_not_asked_a_hundred_times_more() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/api/profiles" => answer(200, r#"{"data":[]}"#),
        _ => answer(503, ""),
    })
    .await;
    let looks = look(&fake, &Purse::of(99), &["a", "b", "c", "d"]).await.unwrap();
    assert!(looks.len() == 4 && looks.iter().all(|look| look.contains("unclear")), "{looks:?}");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_merged_profile_is_missing_and_the_one_it_was_merged_into_is_found() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/api/profiles" => answer(200, r#"{"data":[]}"#),
        _ => answer(200, json!({ "data": profile("winner") }).to_string()),
    })
    .await;
    let looks = look(&fake, &Purse::of(9), &["loser"]).await.unwrap();
    assert_eq!(looks, ["loser missing", "winner found"]);
}

#[tokio::test]
async fn an_id_that_could_leave_the_filter_is_never_sent() {
    let fake = Fake::start(|_| answer(200, r#"{"data":[]}"#)).await;
    let looks = look(&fake, &Purse::of(9), &[r#"x"])"#, "../lists", "a/b", ""]).await.unwrap();
    assert!(looks.len() == 4 && looks.iter().all(|look| look.contains("unclear")));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_scan_goes_by_the_cursor_and_never_by_the_url_of_the_next_page() {
    // The sample's next page is on the real host.
    let fake = Fake::start(|seen| match seen.query.get("page[cursor]") {
        None => answer(200, include_str!("samples/profiles-page.json")),
        Some(_) => answer(200, r#"{"data":[],"links":{"next":null}}"#),
    })
    .await;
    let mut from = since("2026-11-20T21:14:07.5Z");
    let page = scan(&fake, &from).await.unwrap();
    assert_eq!(page.records[0].external_id.as_str(), SAMPLE);
    assert_eq!(page.latest, Some("2026-11-20T21:14:07Z".parse().unwrap()));
    assert_eq!(page.next.as_deref(), Some("bmV4dDo6aWQ6OjAxSkVYQU1QTEU"));

    from.cursor = page.next;
    let last = scan(&fake, &from).await.unwrap();
    assert!(last.records.is_empty() && last.next.is_none() && last.latest.is_none());

    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    for seen in &seen {
        assert_eq!(seen.path, "/api/profiles");
        assert_eq!(seen.query["sort"], "updated");
        assert_eq!(seen.query["page[size]"], "100");
        assert_eq!(seen.query["filter"], "greater-than(updated,2026-11-20T21:14:06Z)");
    }
    assert_eq!(seen[1].query["page[cursor]"], "bmV4dDo6aWQ6OjAxSkVYQU1QTEU");
}

#[tokio::test]
async fn a_scan_that_cannot_go_on_says_so() {
    let next = |next: Value| json!({ "data": [], "links": { "next": next } }).to_string();
    let long = format!("https://a.klaviyo.com/api/profiles?page%5Bcursor%5D={}", "x".repeat(5000));
    for (body, expected) in [
        (
            next(json!("https://a.klaviyo.com/api/profiles?page%5Bcursor%5D=c1")),
            "the cursor does not move",
        ),
        (next(json!("https://a.klaviyo.com/api/profiles")), "a next page without a cursor"),
        (next(json!("not a url")), "a next page without a cursor"),
        (next(json!(long)), "a cursor of more than 4096 bytes"),
        (r#"{"data":[]}"#.to_owned(), "a field of another form, line 1 column 11"),
    ] {
        let fake = Fake::start(move |_| answer(200, body.clone())).await;
        let from = ScanFrom { cursor: Some("c1".to_owned()), changed_since: None };
        match scan(&fake, &from).await {
            Err(PlatformError::Unexpected { what }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_profile_twice_on_a_page_counts_once_and_one_without_a_form_not_at_all() {
    let mut again = profile("a");
    again["attributes"]["email"] = json!("newer@example.org");
    let deep = format!("{}{}", "[".repeat(90), "]".repeat(90));
    let body = format!(
        r#"{{"data":[{},{},{{"id":"b","attributes":{{"properties":{deep}}}}}],"links":{{}}}}"#,
        profile("a"),
        again
    );
    let fake = Fake::start(move |_| answer(200, body.clone())).await;
    let page = scan(&fake, &ScanFrom::default()).await.unwrap();
    assert_eq!(page.records.len(), 1);
    assert!(page.records[0].payload.get().contains("newer"));
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn what_the_steady_window_has_left_reaches_the_bucket() {
    let fake = Fake::start(|_| {
        let headers =
            [("ratelimit-limit", "700"), ("ratelimit-remaining", "41"), ("ratelimit-reset", "30")];
        (headers, answer(200, json!({ "data": [profile("a")] }).to_string())).into_response()
    })
    .await;
    let purse = Purse::of(1);
    look(&fake, &purse, &["a"]).await.unwrap();
    let remaining = Some((41, Duration::from_secs(30)));
    let signal = RateSignal { remaining, ..RateSignal::default() };
    assert_eq!(purse.settled(), [("profile".to_owned(), signal)]);
}

/// `RateLimit-*` is about the endpoint that was asked, and is believed of the first of a kind's
/// quotas with the longest window.
#[test]
fn each_kind_of_work_draws_on_its_endpoint_first_and_on_the_account() {
    let limits = limits::defaults();
    let names = |kind: &str| {
        let of = |&n: &usize| limits.quotas[n].name.as_str();
        limits.kinds[kind].quotas.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("profile"), "profiles burst steady");
    assert_eq!(names("scan@profile"), "profiles burst steady");
    assert_eq!(names("list"), "lists burst steady");
    assert_eq!(names("list-membership"), "list-profiles profiles burst steady");
    assert_eq!(names("scan@list-membership"), "list-profiles lists burst steady");
    assert_eq!(names("scan@event"), "events burst steady");
    let limit = |name: &str| {
        let quota = limits.quotas.iter().find(|quota| quota.name == name).unwrap();
        (quota.limit, quota.window.as_secs())
    };
    assert_eq!((limit("burst"), limit("steady")), ((75, 1), (500, 60)));
    assert_eq!((limit("profiles"), limit("events")), ((700, 60), (3500, 60)));
}

#[test]
fn a_refusal_lasts_as_long_as_it_says_or_a_minute() {
    for (wait, expected) in [(Some("7"), 7), (None, 60), (Some("soon"), 60)] {
        let mut headers = HeaderMap::new();
        if let Some(wait) = wait {
            headers.insert("retry-after", wait.parse().unwrap());
        }
        let signal = limits::signal(StatusCode::TOO_MANY_REQUESTS, &headers);
        assert_eq!(signal.refused_for, Some(Duration::from_secs(expected)), "{wait:?}");
        assert_eq!(limits::signal(StatusCode::OK, &headers).refused_for, None);
    }
}

fn meaning(status: u16, code: &str, detail: &str, parameter: &str) -> Meaning {
    let source = json!({ "parameter": parameter });
    let error = json!({ "status": status, "code": code, "detail": detail, "source": source });
    let body = Bytes::from(json!({ "errors": [error] }).to_string());
    let status = StatusCode::from_u16(status).unwrap();
    errors::meaning(&Answer { status, headers: HeaderMap::new(), body })
}

#[test]
fn each_refusal_has_one_meaning() {
    let sample = include_str!("samples/error-400.json");
    let sample: Value = serde_json::from_str(sample).unwrap();
    let sample = sample["errors"][0]["detail"].as_str().unwrap();
    // status, code, detail, source.parameter, what it means
    let cases = [
        (200, "", "", "", "fine"),
        (202, "", "", "", "fine"),
        (302, "", "", "", "transient"),
        (400, "invalid", sample, "filter", "unexpected"),
        (400, "invalid", "Invalid cursor.", "page[cursor]", "cursor_lost"),
        (400, "missing_api_key", "", "", "unauthorized"),
        (400, "invalid", "Missing or invalid private key.", "", "unauthorized"),
        (400, "invalid", "'my api key' is not a field.", "filter", "unexpected"),
        (401, "not_authenticated", "", "", "unauthorized"),
        (403, "permission_denied", "", "", "unauthorized"),
        (404, "not_found", "", "", "missing"),
        (405, "method_not_allowed", "", "", "unexpected"),
        (409, "conflict", "", "", "unexpected"),
        (410, "gone", "", "", "retired"),
        (415, "unsupported", "", "", "unexpected"),
        (500, "error", "", "", "transient"),
        (503, "", "", "", "transient"),
        (504, "", "", "", "transient"),
        (524, "", "", "", "transient"),
    ];
    for (status, code, detail, parameter, expected) in cases {
        let actual = match meaning(status, code, detail, parameter) {
            Meaning::Fine => "fine",
            Meaning::Missing => "missing",
            Meaning::Forbidden(_) => "forbidden",
            Meaning::Failed(error) => error.name(),
            Meaning::Gone | Meaning::OutOfReach(_) => "another",
        };
        assert_eq!(actual, expected, "status {status}, code {code:?}, detail {detail:?}");
    }
}

#[test]
fn a_refusal_is_understood_whatever_else_it_lacks() {
    let of = |status: u16, body: &'static str| {
        let status = StatusCode::from_u16(status).unwrap();
        errors::meaning(&Answer { status, headers: HeaderMap::new(), body: body.into() })
    };
    let odd = r#"{"errors":[{"code":null,"detail":7,"source":null},{"code":"missing_api_key"}]}"#;
    assert!(matches!(of(400, odd), Meaning::Failed(PlatformError::Unauthorized { .. })));
    for body in ["", "<html>", r#"{"errors":null}"#, r#"{"errors":[]}"#, "[]"] {
        assert!(matches!(of(410, body), Meaning::Failed(PlatformError::Retired { .. })), "{body}");
        let unexpected = of(400, body);
        assert!(matches!(unexpected, Meaning::Failed(PlatformError::Unexpected { .. })), "{body}");
    }
}

#[test]
fn a_failure_that_says_when_to_come_back_is_heard() {
    let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), 9.into())]);
    let answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: Bytes::new() };
    match errors::meaning(&answer) {
        Meaning::Failed(PlatformError::Transient { retry_after, .. }) => {
            assert_eq!(retry_after, Some(Duration::from_secs(9)));
        }
        other => panic!("{other:?}"),
    }
}

fn delivery(profiles: &[Option<&str>]) -> Vec<u8> {
    let item = |id: Option<&str>| match id {
        Some(id) => json!({ "payload": { "data": { "relationships": {
            "profile": { "data": { "type": "profile", "id": id } } } } } }),
        None => json!({ "payload": { "data": { "relationships": { "profile": null } } } }),
    };
    let data: Vec<_> = profiles.iter().copied().map(item).collect();
    json!({ "data": data, "meta": { "klaviyo_webhook_id": "01JWEBHOOKEXAMPLE" } })
        .to_string()
        .into()
}

fn receive(body: &[u8]) -> Result<Vec<Notice>, Refused> {
    let headers = sign_as_klaviyo(body);
    webhook::receive(&offline(&Klaviyo), &WebhookRequest { headers: &headers, body })
}

#[test]
fn a_thousand_events_of_two_profiles_are_two_notices() {
    let mut profiles = vec![Some("b"), Some("a"), None, Some("not an id")];
    profiles.resize(1000, Some("a"));
    let notices = receive(&delivery(&profiles)).unwrap();
    let ids: Vec<_> = notices.iter().map(|notice| notice.external_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    profiles.push(Some("a"));
    assert!(matches!(receive(&delivery(&profiles)), Err(Refused::NotUnderstood(_))));
    assert_eq!(receive(&delivery(&[])), Ok(Vec::new()));
}

#[test]
fn a_signed_body_of_another_form_is_not_understood_and_not_quoted() {
    for body in ["", "[]", "{}", r#"{"data":[],"meta":{}}"#, r#"{"data":"secret words"}"#] {
        match receive(body.as_bytes()) {
            Err(Refused::NotUnderstood(what)) => assert!(!what.contains("secret"), "{what}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_delivery_of_another_webhook_is_refused() {
    let body = br#"{"data":[],"meta":{"klaviyo_webhook_id":"01JANOTHER"}}"#;
    assert!(matches!(receive(body), Err(Refused::Forged(_))));
}
