//! Eventbrite's answers, read as its documents describe them.

mod noise;

use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::eventbrite::{Eventbrite, errors, limits, webhook};
use crate::platform::tests::fake::{Fake, Purse, Seen, answer};
use crate::platform::tests::{account, api, kind};
use crate::platform::{Call, Look, Page, Platform, PlatformError, Refused, ScanFrom};

fn attendee(id: &str, status: &str) -> Value {
    json!({ "id": id, "event_id": "88", "status": status, "changed": "2026-11-19T14:02:08Z" })
}

fn list(name: &str, records: &[Value], continuation: Option<&str>) -> String {
    // The last page has a continuation too.
    let pagination = json!({
        "has_more_items": continuation.is_some(),
        "continuation": continuation.unwrap_or("the-end"),
    });
    json!({ "pagination": pagination, name: records }).to_string()
}

async fn look(
    fake: &Fake,
    purse: &Purse,
    record: &str,
    ids: &[&str],
) -> Result<Vec<String>, PlatformError> {
    let account = account(&Eventbrite, &fake.url.join("/v3").unwrap());
    let (api, ids) = (api(), ids.iter().map(|&id| ExternalId::from(id)).collect::<Vec<_>>());
    let call = Call::new(&api, &account, purse, record);
    let mut looks: Vec<_> = Eventbrite
        .look(&call, kind("eventbrite", record), &ids)
        .await?
        .into_iter()
        .map(|look| match look {
            Look::Found(snapshot) => format!("{} found", snapshot.external_id),
            Look::Missing(id) => format!("{id} missing"),
            Look::Postponed(id) => format!("{id} postponed"),
            Look::Unclear { external_id, .. } => format!("{external_id} unclear"),
            other => format!("{other:?}"),
        })
        .collect();
    looks.sort();
    Ok(looks)
}

async fn scan(fake: &Fake, record: &str, from: &ScanFrom) -> Result<Page, PlatformError> {
    let (api, account, purse) = (api(), account(&Eventbrite, &fake.url), Purse::of(1));
    let call = Call::new(&api, &account, &purse, "scan");
    Eventbrite.scan(&call, kind("eventbrite", record), from).await
}

/// Lists attendees 1 (who attends) and 2 (deleted); has 3, which it does not list; keeps 4 to itself.
fn one_event(seen: &Seen) -> Response {
    match seen.path.as_str() {
        "/v3/events/88/attendees/" => {
            let records = [attendee("1", "Attending"), attendee("2", "Deleted")];
            answer(200, list("attendees", &records, None))
        }
        "/v3/events/88/attendees/3/" => answer(200, attendee("3", "Attending").to_string()),
        "/v3/events/88/attendees/4/" => answer(403, r#"{"error":"NOT_AUTHORIZED"}"#),
        _ => answer(404, r#"{"error":"NOT_FOUND"}"#),
    }
}

#[tokio::test]
async fn attendees_of_an_event_are_looked_at_with_one_request() {
    let fake = Fake::start(one_event).await;
    let purse = Purse::of(9);
    let looks = look(&fake, &purse, "attendee", &["88/1", "88/2"]).await.unwrap();
    assert_eq!(looks, ["88/1 found", "88/2 found"]);
    assert_eq!(purse.left(), 8);
    let seen = &fake.seen()[0];
    assert_eq!(seen.query["attendee_ids"], "1,2");
    assert_eq!(seen.query["page_size"], "50");
}

#[tokio::test]
async fn what_a_batch_leaves_out_is_asked_for_by_itself() {
    let fake = Fake::start(one_event).await;
    let ids = ["88/1", "88/3", "88/4", "88/5"];
    let looks = look(&fake, &Purse::of(9), "attendee", &ids).await.unwrap();
    assert_eq!(looks, ["88/1 found", "88/3 found", "88/4 unclear", "88/5 missing"]);
    assert_eq!(fake.seen().len(), 4);

    let looks = look(&fake, &Purse::of(1), "attendee", &ids).await.unwrap();
    assert_eq!(looks, ["88/1 found", "88/3 postponed", "88/4 postponed", "88/5 postponed"]);
}

#[tokio::test]
async fn attendees_of_an_event_that_is_gone_are_missing_with_one_request() {
    let fake = Fake::start(one_event).await;
    let looks = look(&fake, &Purse::of(9), "attendee", &["77/1", "77/2"]).await.unwrap();
    assert_eq!(looks, ["77/1 missing", "77/2 missing"]);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn ids_that_do_not_share_the_request_or_are_none_are_not_sent() {
    let fake = Fake::start(one_event).await;
    let ids = ["88/1", "99/1", "88/x", "88", "../1"];
    let looks = look(&fake, &Purse::of(9), "attendee", &ids).await.unwrap();
    assert_eq!(looks, ["../1 unclear", "88 unclear", "88/1 found", "88/x unclear", "99/1 unclear"]);
    assert_eq!(fake.seen()[0].query["attendee_ids"], "1");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn events_are_looked_at_through_their_organization() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v3/organizations/700100200300/events/" => {
            answer(200, list("events", &[json!({ "id": "88" })], None))
        }
        _ => answer(404, r#"{"error":"NOT_FOUND"}"#),
    })
    .await;
    let looks = look(&fake, &Purse::of(9), "event", &["88", "99"]).await.unwrap();
    assert_eq!(looks, ["88 found", "99 missing"]);
    let seen = fake.seen();
    assert_eq!(seen[0].query["event_ids"], "88,99");
    assert_eq!(seen[0].query["status"], "all");
    assert_eq!(seen[1].path, "/v3/events/99/");
}

#[tokio::test]
async fn orders_are_looked_at_one_by_one_and_an_expired_one_is_missing() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v3/orders/1/" => {
            answer(200, include_str!("samples/order.json").replace("9100200300", "1"))
        }
        _ => answer(400, r#"{"error":"ORDER_EXPIRED"}"#),
    })
    .await;
    assert_eq!(look(&fake, &Purse::of(9), "order", &["1"]).await.unwrap(), ["1 found"]);
    assert_eq!(look(&fake, &Purse::of(9), "order", &["2"]).await.unwrap(), ["2 missing"]);
}

#[tokio::test]
async fn an_organization_that_is_kept_from_us_is_a_matter_of_access() {
    let fake = Fake::start(|_| answer(403, r#"{"error":"NOT_AUTHORIZED"}"#)).await;
    let looked = look(&fake, &Purse::of(9), "event", &["88"]).await;
    assert!(matches!(looked, Err(PlatformError::Unauthorized { .. })));
}

/// Two pages of attendees, and one deleted among those who do not attend.
fn two_pages(seen: &Seen) -> Response {
    let text = |name: &str| seen.query.get(name).map(String::as_str);
    let body = match (text("status"), text("continuation")) {
        (None, None) => list("attendees", &[attendee("1", "Attending")], Some("page-2")),
        (None, Some("page-2")) => list("attendees", &[attendee("2", "Attending")], None),
        (Some("not_attending"), None) => list("attendees", &[attendee("3", "Deleted")], None),
        _ => return answer(400, r#"{"error":"BAD_CONTINUATION_TOKEN"}"#),
    };
    answer(200, body)
}

#[tokio::test]
async fn a_scan_of_attendees_ends_with_the_deleted_ones() {
    let fake = Fake::start(two_pages).await;
    let since = Some("2026-11-19T14:02:08.9Z".parse().unwrap());
    let mut from = ScanFrom { cursor: None, changed_since: since };
    let mut ids = Vec::new();
    loop {
        let page = scan(&fake, "attendee", &from).await.unwrap();
        assert_eq!(page.latest, Some("2026-11-19T14:02:08Z".parse().unwrap()));
        ids.extend(page.records.into_iter().map(|record| record.external_id.to_string()));
        from.cursor = page.next;
        if from.cursor.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["88/1", "88/2", "88/3"]);
    for seen in fake.seen() {
        assert_eq!(seen.path, "/organizations/700100200300/attendees/");
        assert_eq!(seen.query["changed_since"], "2026-11-19T14:02:08Z");
        assert_eq!(seen.query["page_size"], "50");
    }
}

#[tokio::test]
async fn a_cursor_that_is_no_longer_known_is_lost() {
    let fake = Fake::start(two_pages).await;
    for cursor in ["plain:long-ago", "of another release"] {
        let from = ScanFrom { cursor: Some(cursor.to_owned()), changed_since: None };
        let scanned = scan(&fake, "attendee", &from).await;
        assert!(matches!(scanned, Err(PlatformError::CursorLost)), "{cursor}");
    }
}

#[tokio::test]
async fn scans_of_events_and_orders_ask_for_all_of_them() {
    let fake = Fake::start(|seen| {
        let name = if seen.path.ends_with("/events/") { "events" } else { "orders" };
        answer(200, list(name, &[], None))
    })
    .await;
    let from =
        ScanFrom { cursor: None, changed_since: Some("2026-11-19T14:02:08Z".parse().unwrap()) };
    for record in ["event", "order"] {
        assert_eq!(scan(&fake, record, &from).await.unwrap().next, None);
    }
    let seen = fake.seen();
    assert_eq!(seen[0].query["status"], "all");
    assert!(!seen[0].query.contains_key("changed_since"), "there is no such filter for events");
    assert_eq!(seen[1].query["status"], "both");
    assert_eq!(seen[1].query["changed_since"], "2026-11-19T14:02:08Z");
}

#[tokio::test]
async fn a_page_that_does_not_say_whether_there_are_more_is_not_the_last() {
    let more = json!({ "pagination": { "has_more_items": true }, "attendees": [] });
    let silent = json!({ "pagination": {}, "attendees": [] });
    let other = json!({ "pagination": { "has_more_items": false }, "orders": [] });
    for body in [more, silent, other] {
        let text = body.to_string();
        let fake = Fake::start(move |_| answer(200, text.clone())).await;
        let scanned = scan(&fake, "attendee", &ScanFrom::default()).await;
        assert!(matches!(scanned, Err(PlatformError::Unexpected { .. })), "{body}");
    }
}

#[test]
fn the_recorded_page_has_the_fields_that_are_read() {
    let page = include_str!("samples/list-attendees-page.json");
    let page: Value = serde_json::from_str(page).unwrap();
    assert_eq!(page["pagination"]["has_more_items"], true);
    assert!(page["pagination"]["continuation"].is_string() && page["attendees"].is_array());
}

#[test]
fn a_refusal_lasts_as_long_as_it_says_or_until_the_next_full_hour_with_tries_on_the_way() {
    let refused_for = |said: &[(&'static str, &str)]| {
        let pair = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        let headers: HeaderMap = said.iter().map(pair).collect();
        assert_eq!(limits::signal(StatusCode::OK, &headers).refused_for, None);
        limits::signal(StatusCode::TOO_MANY_REQUESTS, &headers).refused_for.unwrap().as_secs()
    };
    let (early, late) =
        (("date", "Thu, 04 Jan 2024 18:05:25 GMT"), ("date", "Thu, 04 Jan 2024 18:58:00 GMT"));
    assert_eq!(refused_for(&[("retry-after", "120"), early]), 120);
    assert_eq!(refused_for(&[("x-ratelimit-reset", "1704391800"), early]), 275);
    assert_eq!(refused_for(&[late]), 120);
    assert_eq!(refused_for(&[early]), 900);
    assert_eq!(refused_for(&[]), 900);
}

/// None of these is documented; some say that they are there.
#[test]
fn what_is_left_is_believed_where_it_is_told() {
    let remaining = |left: &str, reset: &str| {
        let headers = HeaderMap::from_iter([
            ("x-ratelimit-remaining".parse().unwrap(), left.parse().unwrap()),
            ("x-ratelimit-reset".parse().unwrap(), reset.parse().unwrap()),
            ("date".parse().unwrap(), "Thu, 04 Jan 2024 18:05:25 GMT".parse().unwrap()),
        ]);
        limits::signal(StatusCode::OK, &headers).remaining
    };
    assert_eq!(remaining("41", "30"), Some((41, Duration::from_secs(30))));
    assert_eq!(remaining("41", "1704391800"), Some((41, Duration::from_secs(275))));
    assert_eq!(remaining("0", "99999"), Some((0, Duration::from_hours(1))));
    for (left, reset) in [("-1", "30"), ("many", "30"), ("41", "-5"), ("41", "1704000000")] {
        assert_eq!(remaining(left, reset), None, "{left} {reset}");
    }
}

#[tokio::test]
async fn an_attendee_without_its_event_is_known_by_its_address() {
    let uri = "https://www.eventbriteapi.com/v3/events/88/attendees/1/";
    let nowhere = "https://www.eventbriteapi.com/v3/orders/91/attendees/2/";
    let known = json!({ "id": "1", "resource_uri": uri });
    let unknown = json!({ "id": "2", "resource_uri": nowhere });
    for (attendees, expected) in [(vec![known.clone()], true), (vec![known, unknown], false)] {
        let body = list("attendees", &attendees, None);
        let fake = Fake::start(move |_| answer(200, body.clone())).await;
        let scanned = scan(&fake, "attendee", &ScanFrom::default()).await;
        assert_eq!(scanned.is_ok(), expected, "{scanned:?}");
        if let Ok(page) = scanned {
            assert_eq!(page.records[0].external_id.as_str(), "88/1");
        }
    }
}

#[test]
fn each_refusal_has_one_meaning() {
    // status, error, what it means
    let cases = [
        (200, "", "fine"),
        (301, "", "transient"),
        (400, "INVALID_AUTH", "unauthorized"),
        (400, "INVALID_AUTH_HEADER", "unauthorized"),
        (401, "NO_AUTH", "unauthorized"),
        (401, "ACCESS_DENIED", "unauthorized"),
        (403, "NOT_AUTHORIZED", "forbidden"),
        (404, "NOT_FOUND", "missing"),
        (400, "BAD_CONTINUATION_TOKEN", "cursor_lost"),
        (400, "BAD_PAGE", "cursor_lost"),
        (400, "ARGUMENTS_ERROR", "unexpected"),
        (400, "INVALID_ARGUMENT", "unexpected"),
        (400, "ORDER_EXPIRED", "missing"),
        (409, "REQUEST_CONFLICT", "transient"),
        (410, "", "unexpected"),
        (500, "EXPANSION_FAILED", "transient"),
        (500, "INTERNAL_ERROR", "transient"),
        (502, "", "transient"),
    ];
    for (status, error, expected) in cases {
        let body = json!({ "status_code": status, "error": error, "error_description": "…" });
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_string()),
        };
        let actual = match errors::meaning(&answer) {
            Meaning::Fine => "fine",
            Meaning::Missing => "missing",
            Meaning::Forbidden(_) => "forbidden",
            Meaning::Failed(error) => error.name(),
            Meaning::Gone | Meaning::OutOfReach(_) => "another",
        };
        assert_eq!(actual, expected, "{status} {error}");
    }
    let sample = include_str!("samples/error-429.json");
    assert!(sample.contains("HIT_RATE_LIMIT"));
}

fn pointer(action: &str, url: &str) -> Vec<u8> {
    json!({ "config": { "action": action, "webhook_id": "1" }, "api_url": url }).to_string().into()
}

#[test]
fn a_pointer_names_one_record() {
    let cases = [
        ("attendee.updated", "events/88/attendees/12/", "attendee 88/12"),
        ("attendee.checked_in", "events/88/attendees/12", "attendee 88/12"),
        ("attendee.checked_out", "events/88/attendees/12/", "attendee 88/12"),
        ("event.created", "events/88/", "event 88"),
        ("event.published", "events/88/", "event 88"),
        ("event.unpublished", "events/88/", "event 88"),
        ("event.updated", "events/88/", "event 88"),
        ("order.placed", "orders/91/", "order 91"),
        ("order.refunded", "orders/91/", "order 91"),
        ("order.updated", "orders/91/", "order 91"),
        ("attendee.updated", "orders/91/attendees/12/", "order 91"),
    ];
    for (action, path, expected) in cases {
        let url = format!("https://www.eventbriteapi.com/v3/{path}");
        let notices = webhook::receive(&pointer(action, &url)).unwrap();
        assert_eq!(notices.len(), 1);
        assert_eq!(format!("{} {}", notices[0].record_type, notices[0].external_id), expected);
    }
}

#[test]
fn what_we_do_not_mirror_does_not_concern_us() {
    let venue = "https://www.eventbriteapi.com/v3/venues/5/";
    for (action, url) in [
        ("venue.updated", venue),
        ("organizer.updated", "https://www.eventbriteapi.com/v3/organizers/5/"),
        ("ticket_class.created", "https://www.eventbriteapi.com/v3/events/88/ticket_classes/5/"),
        ("test", "https://www.eventbriteapi.com/{api-endpoint-to-fetch-object-details}/"),
    ] {
        assert_eq!(webhook::receive(&pointer(action, url)), Ok(Vec::new()), "{action}");
    }
}

#[test]
fn a_pointer_that_leads_elsewhere_is_not_understood() {
    for url in [
        "http://www.eventbriteapi.com/v3/orders/91/",
        "https://www.eventbriteapi.com.example.org/v3/orders/91/",
        "https://user@www.eventbriteapi.com/v3/orders/91/",
        "https://www.eventbriteapi.com/v3/../orders/91/",
        "https://www.eventbriteapi.com/v3/orders/91/?expand=event",
        "https://www.eventbriteapi.com/v3/orders/91//",
        "https://www.eventbriteapi.com/v3/orders/x/",
        "https://www.eventbriteapi.com/v3/orders//",
        "https://www.eventbriteapi.com/v3/orders/-1/",
        "https://www.eventbriteapi.com/v3/events/88/orders/91/",
        "https://www.eventbriteapi.com/v3/orders/١٢/",
        "http://169.254.169.254/latest/meta-data/",
        "",
    ] {
        let refused = webhook::receive(&pointer("order.updated", url));
        assert!(matches!(refused, Err(Refused::NotUnderstood(_))), "{url:?}: {refused:?}");
    }
    for body in ["", "[]", "{}", r#"{"config":{"action":"order.updated"}}"#] {
        assert!(webhook::receive(body.as_bytes()).is_err(), "{body}");
    }
}
