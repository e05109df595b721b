//! Patreon's answers, read as its documents describe them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::patreon::cursor::Progress;
use crate::platform::patreon::document::Pagination;
use crate::platform::patreon::{Patreon, errors, limits, webhook};
use crate::platform::tests::fake::{Fake, Purse, Seen, answer};
use crate::platform::tests::samples::sign_as_patreon;
use crate::platform::tests::{account, api, kind, offline};
use crate::platform::{
    Call, Look, Notice, Page, Platform, PlatformError, Refused, ScanFrom, WebhookRequest,
};

const MEMBER: &str = "6a0b1c2d-3e4f-4a5b-8c6d-7e8f90a1b2c3";

async fn look(fake: &Fake, record: &str, ids: &[&str]) -> Result<Vec<String>, PlatformError> {
    let (api, account, purse) = (api(), account(&Patreon, &fake.url), Purse::of(9));
    let ids: Vec<_> = ids.iter().map(|&id| ExternalId::from(id)).collect();
    let call = Call::new(&api, &account, &purse, record);
    let looks = Patreon.look(&call, kind("patreon", record), &ids).await?;
    let mut looks: Vec<_> = looks
        .into_iter()
        .map(|look| match look {
            Look::Found(snapshot) => format!("{} found", snapshot.external_id),
            Look::Missing(id) => format!("{id} missing"),
            Look::Gone(id) => format!("{id} gone"),
            Look::Unclear { external_id, reason } => format!("{external_id} unclear: {reason}"),
            other => format!("{other:?}"),
        })
        .collect();
    looks.sort();
    Ok(looks)
}

async fn page(fake: &Fake, record: &str, cursor: Option<String>) -> Result<Page, PlatformError> {
    let (api, account, purse) = (api(), account(&Patreon, &fake.url), Purse::of(1));
    let name = format!("scan@{record}");
    let call = Call::new(&api, &account, &purse, &name);
    let from = ScanFrom { cursor, changed_since: None };
    Patreon.scan(&call, kind("patreon", record), &from).await
}

/// Scans to the end; the ids of each page, joined.
async fn scan(fake: &Fake, record: &str) -> Vec<String> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(fake, record, cursor).await.unwrap();
        let ids: Vec<_> =
            page.records.iter().map(|record| record.external_id.as_str().to_owned()).collect();
        pages.push(ids.join(" "));
        cursor = page.next;
        if cursor.is_none() {
            return pages;
        }
        assert!(pages.len() < 20, "it never ends: {pages:?}");
    }
}

/// A page of a list, with a cursor to the next and a total where there is one.
fn list(kind: &str, ids: &[&str], next: Option<&str>, total: Option<u64>) -> Response {
    let data: Vec<_> = ids.iter().map(|id| json!({ "type": kind, "id": id })).collect();
    let meta = json!({ "pagination": { "cursors": { "next": next }, "total": total } });
    answer(200, json!({ "data": data, "meta": meta }).to_string())
}

fn cursor(seen: &Seen) -> &str {
    seen.query.get("page[cursor]").map_or("", String::as_str)
}

#[tokio::test]
async fn every_field_is_named_the_same_way_for_one_record_and_for_a_list() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/members/m" => answer(200, r#"{"data":{"type":"member","id":"m"}}"#),
        "/campaigns/1" => answer(200, r#"{"data":{"type":"campaign","id":"1"}}"#),
        "/campaigns" => list("campaign", &["1"], None, None),
        _ => list("member", &["m"], None, None),
    })
    .await;
    look(&fake, "member", &["m"]).await.unwrap();
    look(&fake, "campaign", &["1"]).await.unwrap();
    look(&fake, "tier", &["1/2"]).await.unwrap();
    for record in ["campaign", "tier", "member"] {
        scan(&fake, record).await;
    }
    let mut asked: BTreeMap<bool, BTreeSet<_>> = BTreeMap::new();
    for mut seen in fake.seen() {
        let header = |name: &str| seen.headers[name].to_str().unwrap();
        assert_eq!(header("authorization"), "Bearer pk_very_secret");
        assert!(header("user-agent").starts_with("Syncline/"), "without one it is a 403");
        seen.query.remove("page[count]");
        asked.entry(seen.path.contains("members")).or_default().insert(seen.query);
    }
    assert_eq!((asked[&true].len(), asked[&false].len()), (1, 1), "{asked:?}");
    let members = asked[&true].first().unwrap();
    assert_eq!(members["include"], "campaign,currently_entitled_tiers,user");
    assert!(members["fields[member]"].contains("patron_status") && !members.contains_key("sort"));
    let volatile = ["patron_count", "remaining", "post_count", "count"];
    let named = asked.values().flatten().flat_map(BTreeMap::values);
    assert!(named.flat_map(|names| names.split(',')).all(|name| !volatile.contains(&name)));
}

#[tokio::test]
async fn brackets_are_escaped_on_the_wire() {
    let account = account(&Patreon, &"http://127.0.0.1:9".parse().unwrap());
    let mut url = account.base_url.clone();
    url.query_pairs_mut().extend_pairs(super::records::MEMBER_QUERY);
    let query = url.query().unwrap();
    assert!(query.starts_with("fields%5Bmember%5D=campaign_lifetime") && !query.contains('['));
}

#[tokio::test]
async fn all_tiers_of_a_campaign_come_with_one_request() {
    let fake = Fake::start(|_| answer(200, include_str!("samples/campaign.json"))).await;
    let looks = look(&fake, "tier", &["4455667/8112233", "4455667/8112234"]).await.unwrap();
    assert_eq!(looks, ["4455667/8112233 found", "4455667/8112234 missing"]);
    assert_eq!(fake.paths(), ["/campaigns/4455667"]);
}

#[tokio::test]
async fn an_included_tier_of_another_campaign_is_not_taken_for_one_of_this() {
    let fake = Fake::start(|_| {
        let body = include_str!("samples/campaign.json").replace("8112233", "1");
        // What is included is another tier than the campaign names.
        answer(200, body.replacen(r#""id": "1","#, r#""id": "2","#, 1))
    })
    .await;
    let looks = look(&fake, "tier", &["4455667/1", "4455667/2"]).await.unwrap();
    assert_eq!(looks, ["4455667/1 missing", "4455667/2 missing"]);
}

#[tokio::test]
async fn gone_is_gone_at_once_and_missing_is_not() {
    let fake = Fake::start(|seen| match seen.path.rsplit('/').next() {
        Some("a") => answer(410, "{}"),
        Some("b") => answer(404, "{}"),
        Some("c") => answer(403, r#"{"errors":[{"code_name":"Forbidden","status":"403"}]}"#),
        _ => answer(200, r#"{"data":{"type":"member","id":"z"}}"#),
    })
    .await;
    let looks = look(&fake, "member", &["a", "b", "c", "d"]).await.unwrap();
    let unclear = ["c unclear: 403 Forbidden", "d unclear: answered with another record"];
    assert_eq!(looks, ["a gone", "b missing", unclear[0], unclear[1]]);
    assert_eq!(look(&fake, "tier", &["a/1", "a/2"]).await.unwrap(), ["a/1 gone", "a/2 gone"]);
    assert_eq!(look(&fake, "tier", &["b/1"]).await.unwrap(), ["b/1 missing"]);
    assert_eq!(look(&fake, "tier", &["c/1"]).await.unwrap(), ["c/1 unclear: 403 Forbidden"]);
}

#[tokio::test]
async fn who_paid_once_and_left_is_a_record_and_no_deletion() {
    let body = include_str!("samples/member.json").replace("active_patron", "former_patron");
    let fake = Fake::start(move |_| answer(200, body.clone())).await;
    assert_eq!(look(&fake, "member", &[MEMBER]).await.unwrap(), [format!("{MEMBER} found")]);
}

#[tokio::test]
async fn an_id_that_could_leave_its_place_in_the_path_is_never_sent() {
    let fake = Fake::start(|_| answer(200, "{}")).await;
    for (record, ids) in [
        ("member", ["../campaigns", "a/b", "", "a?b"]),
        ("tier", ["../campaigns", "a", "a/b/c", "a/"]),
    ] {
        let looks = look(&fake, record, &ids).await.unwrap();
        assert!(looks.len() == 4 && looks.iter().all(|look| look.contains("unclear")), "{looks:?}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn the_members_of_all_campaigns_are_read_one_campaign_after_the_other() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), cursor(seen)) {
        ("/campaigns", "") => list("campaign", &["1", "2"], Some("c2"), Some(3)),
        ("/campaigns", _) => list("campaign", &["3"], None, Some(3)),
        ("/campaigns/1/members", "") => list("member", &["a", "b"], Some("m2"), None),
        ("/campaigns/1/members", _) => list("member", &["c"], None, None),
        // It went away after it was listed.
        ("/campaigns/2/members", _) => answer(404, "{}"),
        _ => list("member", &["d"], None, None),
    })
    .await;
    assert_eq!(scan(&fake, "member").await, ["", "a b", "c", "", "", "d"]);
    let counts: BTreeSet<_> = fake
        .seen()
        .into_iter()
        .filter(|seen| seen.path.ends_with("members"))
        .map(|seen| seen.query["page[count]"].clone())
        .collect();
    assert_eq!(counts, BTreeSet::from(["1000".to_owned()]));
}

#[tokio::test]
async fn a_creator_without_campaigns_has_no_members() {
    let fake = Fake::start(|_| list("campaign", &[], None, Some(0))).await;
    assert_eq!(scan(&fake, "member").await, [""]);
    assert_eq!(scan(&fake, "tier").await, [""]);
}

#[tokio::test]
async fn tiers_and_campaigns_are_scanned_by_the_list_of_campaigns() {
    let campaign: Value = serde_json::from_str(include_str!("samples/campaign.json")).unwrap();
    let body = json!({ "data": [campaign["data"]], "included": campaign["included"] }).to_string();
    let fake = Fake::start(move |_| answer(200, body.clone())).await;
    assert_eq!(scan(&fake, "tier").await, ["4455667/8112233"]);
    assert_eq!(scan(&fake, "campaign").await, ["4455667"]);
    let version = page(&fake, "tier", None).await.unwrap().latest;
    assert_eq!(version, Some("2026-08-30T10:11:12.131415Z".parse().unwrap()));
}

#[tokio::test]
async fn a_cursor_that_never_ends_is_not_followed_for_ever() {
    // A fresh cursor for the same last page, again and again; no total.
    let fake = Fake::start(|seen| match (seen.path.as_str(), cursor(seen)) {
        ("/campaigns", at) => list("campaign", &["1"], Some(&format!("{at}c")), None),
        (_, "") => list("member", &["a", "b"], Some("m"), None),
        (_, at) => list("member", &["c"], Some(&format!("{at}m")), None),
    })
    .await;
    assert_eq!(scan(&fake, "member").await, ["", "a b", "c", "c", ""]);
    assert_eq!(scan(&fake, "campaign").await, ["1", "1"]);

    // As many as it is said to have.
    let fake = Fake::start(|seen| match (seen.path.as_str(), cursor(seen)) {
        ("/campaigns", at) => list("campaign", &["1"], Some(&format!("{at}c")), Some(1)),
        (_, "") => list("member", &["a", "b"], Some("m"), Some(3)),
        (_, at) => list("member", &["c"], Some(&format!("{at}m")), Some(3)),
    })
    .await;
    assert_eq!(scan(&fake, "member").await, ["", "a b", "c"]);
}

#[tokio::test]
async fn a_page_of_the_recorded_shape_is_read_and_its_cursor_followed() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/campaigns" => list("campaign", &["4455667"], None, Some(1)),
        _ => answer(200, include_str!("samples/members-page.json")),
    })
    .await;
    let first = page(&fake, "member", None).await.unwrap();
    assert!(first.records.is_empty());
    let second = page(&fake, "member", first.next).await.unwrap();
    assert_eq!(second.records[0].external_id.as_str(), MEMBER);
    page(&fake, "member", second.next).await.unwrap();
    assert_eq!(cursor(&fake.seen()[2]), "01aaf3c7kZ9exampleCursor");
}

#[tokio::test]
async fn an_expired_cursor_and_one_that_is_not_ours_are_lost() {
    let fake = Fake::start(|seen| match cursor(seen) {
        "" => list("campaign", &["1"], Some("old"), None),
        _ => answer(400, r#"{"errors":[{"code":3,"source":{"parameter":"page[cursor]"}}]}"#),
    })
    .await;
    let first = page(&fake, "campaign", None).await.unwrap();
    let lost = |page| matches!(page, Err(PlatformError::CursorLost));
    assert!(lost(page(&fake, "campaign", first.next).await));
    for ours in ["", "plain:x", "{}", r#"{"next":null,"seen":0,"pages":0,"last":0,"more":1}"#] {
        assert!(lost(page(&fake, "campaign", Some(ours.to_owned())).await), "{ours}");
        assert!(lost(page(&fake, "member", Some(ours.to_owned())).await), "{ours}");
    }
}

#[tokio::test]
async fn a_refusal_lasts_as_long_as_its_body_or_its_header_says() {
    let body = include_str!("samples/error-429.json");
    let cases = [
        (body, None, 9),
        (body, Some("4"), 9),
        (body, Some("40"), 40),
        ("<html>", Some("7"), 7),
        (r#"{"errors":[{"retry_after_seconds":null}]}"#, None, 60),
        (r#"{"errors":[{"retry_after_seconds":-1}]}"#, None, 60),
        (r#"{"errors":[{"retry_after_seconds":1e99}]}"#, None, 86_400),
        ("{}", None, 60),
    ];
    for (body, header, seconds) in cases {
        let fake = Fake::start(move |_| match header {
            Some(wait) => ([("retry-after", wait)], answer(429, body)).into_response(),
            None => answer(429, body),
        })
        .await;
        match look(&fake, "member", &["m"]).await {
            Err(PlatformError::Throttled { retry_after }) => {
                assert_eq!(retry_after, Duration::from_secs(seconds), "{body} {header:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The table of section 5, and what Patreon's edge adds to it.
#[test]
fn each_error_is_sorted_by_what_can_be_done_about_it() {
    let named = |code: &str, status: u16| {
        let error = json!({ "code": null, "code_name": code, "status": status.to_string() });
        json!({ "errors": [error] }).to_string()
    };
    let lost = r#"{"errors":[{"code":3,"source":{"parameter":"page[cursor]"}}]}"#.to_owned();
    let cases = [
        (200, "{}".to_owned(), "fine"),
        (404, named("ResourceNotFound", 404), "missing"),
        (410, named("ResourceGone", 410), "gone"),
        (403, named("Forbidden", 403), "forbidden"),
        (403, "<html>Just a moment...</html>".to_owned(), "transient"),
        (401, named("Unauthorized", 401), "unauthorized"),
        (400, lost, "cursor_lost"),
        (400, named("BadRequest", 400), "unexpected"),
        (405, String::new(), "unexpected"),
        (406, String::new(), "unexpected"),
        (500, named("InternalServerError", 500), "transient"),
        (503, "<html>".to_owned(), "transient"),
        (302, String::new(), "transient"),
    ];
    for (status, body, expected) in cases {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body.clone()),
        };
        let meaning = match errors::meaning(&answer) {
            Meaning::Fine => "fine",
            Meaning::Missing => "missing",
            Meaning::Gone => "gone",
            Meaning::Forbidden(_) => "forbidden",
            Meaning::OutOfReach(_) => "out of reach",
            Meaning::Failed(error) => error.name(),
        };
        assert_eq!(meaning, expected, "{status} {body}");
    }
}

fn receive(trigger: &str, body: &str) -> Result<Vec<Notice>, Refused> {
    let mut headers = sign_as_patreon(body.as_bytes());
    headers.insert("x-patreon-event", trigger.parse().unwrap());
    let request = WebhookRequest { headers: &headers, body: body.as_bytes() };
    webhook::receive(&offline(&Patreon), &request)
}

#[test]
fn a_webhook_makes_its_member_dirty_and_nothing_else() {
    let member = include_str!("samples/webhook-members-update.json");
    for trigger in ["create", "update", "delete", "pledge:create", "pledge:update", "pledge:delete"]
    {
        let notices = receive(&format!("members:{trigger}"), member).unwrap();
        let [notice] = notices.as_slice() else { panic!("{notices:?}") };
        assert_eq!((notice.record_type.as_str(), notice.external_id.as_str()), ("member", MEMBER));
    }
    for trigger in ["posts:publish", "posts:update", "posts:delete", "campaigns:update", "x"] {
        assert_eq!(receive(trigger, member), Ok(Vec::new()), "{trigger}");
        assert_eq!(receive(trigger, "not JSON"), Ok(Vec::new()), "{trigger}");
    }
}

#[test]
fn a_signed_body_that_is_no_member_is_not_understood() {
    for body in ["", "[]", "{}", r#"{"data":{"type":"post","id":"1"}}"#, r#"{"data":{"id":1}}"#] {
        let refused = receive("members:update", body);
        assert!(matches!(refused, Err(Refused::NotUnderstood(_))), "{body}: {refused:?}");
    }
    let body = include_str!("samples/webhook-members-update.json").as_bytes();
    let mut headers = sign_as_patreon(body);
    headers.remove("x-patreon-event");
    let request = WebhookRequest { headers: &headers, body };
    let refused = webhook::receive(&offline(&Patreon), &request);
    assert!(matches!(refused, Err(Refused::NotUnderstood(_))), "{refused:?}");
}

/// From RFC 2202, so that not only our own signing says that the hash is the right one.
#[test]
fn the_signature_is_hmac_md5_and_no_other() {
    let mut account = offline(&Patreon);
    account.webhook_secret = Some("Jefe".into());
    let body = b"what do ya want for nothing?";
    let with = |signature: &str| {
        let headers = HeaderMap::from_iter([
            ("x-patreon-signature".parse().unwrap(), signature.parse().unwrap()),
            ("x-patreon-event".parse().unwrap(), "posts:update".parse().unwrap()),
        ]);
        webhook::receive(&account, &WebhookRequest { headers: &headers, body })
    };
    assert_eq!(with("750c783e6ab0b503eaa86e310a5db738"), Ok(Vec::new()));
    // HMAC-SHA-256 of the same.
    let sha = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    for wrong in [sha, "750c783e6ab0b503eaa86e310a5db7", "", "zz"] {
        assert!(matches!(with(wrong), Err(Refused::Forged(_))), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_list_ends(pages in prop::collection::vec((0..5_u8, any::<bool>()), 1..30), total in 0..9_u64) {
        // Whatever a platform repeats, a list that says how long it is ends with that many.
        let mut at = Progress::default();
        let mut read = 0;
        for (n, (page, more)) in pages.iter().cycle().take(200).enumerate() {
            read = n;
            let id = page.to_string();
            let pagination = Pagination::of(more.then_some("next"), Some(total));
            match at.after(&[id.as_str()].into(), &pagination).unwrap() {
                Some(next) => at = next,
                None => break,
            }
        }
        prop_assert!(read < 9, "it read {read} pages of a list of {total}");
    }

    #[test]
    fn no_answer_makes_the_reader_panic(status in 100..600_u16, body: Vec<u8>) {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body),
        };
        let mut signal = limits::signal(answer.status, &answer.headers);
        limits::body_signal(&answer, &mut signal);
        prop_assert_eq!(signal.refused_for.is_some(), status == 429);
        prop_assert_eq!(signal.remaining, None);
        if let Meaning::Fine = errors::meaning(&answer) {
            prop_assert!((200..300).contains(&status));
        }
    }
}
