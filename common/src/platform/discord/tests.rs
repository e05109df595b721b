//! Discord's answers, read as its documents describe them.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ids::ExternalId;
use crate::platform::answer::{Answer, Meaning};
use crate::platform::discord::{Discord, errors, limits, webhook};
use crate::platform::tests::fake::{Fake, Purse, Seen, answer};
use crate::platform::tests::samples::{discord_key, sign_as_discord};
use crate::platform::tests::{account, api, kind, offline};
use crate::platform::{
    Api, ApiSettings, Call, Look, Page, Platform, PlatformError, Refused, ScanFrom, Unseen,
    WebhookRequest, named,
};
use crate::quota::{RateScope, RateSignal};

const GUILD: &str = "1002003004005000000";
const USER: &str = "810000000000000001";

async fn look(fake: &Fake, record: &str, ids: &[&str]) -> Result<Vec<String>, PlatformError> {
    let (api, account, purse) = (api(), account(&Discord, &fake.url), Purse::of(9));
    let ids: Vec<_> = ids.iter().map(|&id| ExternalId::from(id)).collect();
    let call = Call::new(&api, &account, &purse, record);
    let looks = Discord.look(&call, kind("discord", record), &ids).await?;
    let mut looks: Vec<_> = looks
        .into_iter()
        .map(|look| match look {
            Look::Found(snapshot) => format!("{} found", snapshot.external_id),
            Look::Missing(id) => format!("{id} missing"),
            Look::OutOfReach { external_id, .. } => format!("{external_id} out of reach"),
            Look::Unclear { external_id, reason } => format!("{external_id} unclear: {reason}"),
            other => format!("{other:?}"),
        })
        .collect();
    looks.sort();
    Ok(looks)
}

async fn page(fake: &Fake, record: &str, cursor: Option<String>) -> Result<Page, PlatformError> {
    let (api, account, purse) = (api(), account(&Discord, &fake.url), Purse::of(1));
    let name = format!("scan@{record}");
    let call = Call::new(&api, &account, &purse, &name);
    let from = ScanFrom { cursor, changed_since: None };
    Discord.scan(&call, kind("discord", record), &from).await
}

/// Scans to the end; how many records each page had, and what the last one says of the unseen.
async fn scan(fake: &Fake, record: &str) -> (Vec<usize>, Unseen) {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = page(fake, record, cursor).await.unwrap();
        pages.push(page.records.len());
        cursor = page.next;
        if cursor.is_none() {
            return (pages, page.unseen);
        }
        assert!(pages.len() < 20, "it never ends: {pages:?}");
    }
}

fn members(ids: impl Iterator<Item = u64>) -> Response {
    let list: Vec<_> = ids.map(|id| json!({ "user": { "id": id.to_string() } })).collect();
    answer(200, json!(list).to_string())
}

fn list(ids: &[u64]) -> Response {
    let list: Vec<_> = ids.iter().map(|id| json!({ "id": id.to_string() })).collect();
    answer(200, json!(list).to_string())
}

fn refused(status: u16, code: u32) -> Response {
    answer(status, json!({ "message": "no", "code": code }).to_string())
}

fn after(seen: &Seen) -> u64 {
    seen.query["after"].parse().unwrap()
}

#[tokio::test]
async fn every_request_has_the_headers_that_discord_demands() {
    let fake = Fake::start(|_| answer(200, include_str!("samples/guild-member.json"))).await;
    let id = format!("{GUILD}/{USER}");
    assert_eq!(look(&fake, "member", &[&id]).await.unwrap(), [format!("{id} found")]);
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, format!("/guilds/{GUILD}/members/{USER}"));
    let header = |name: &str| seen.headers[name].to_str().unwrap();
    assert_eq!(header("authorization"), "Bot pk_very_secret");
    assert_eq!(header("content-type"), "application/json");
    let agent = header("user-agent");
    let version = env!("CARGO_PKG_VERSION");
    let page = "https://discord.com/oauth2/authorize?client_id=700100200300";
    assert_eq!(agent, format!("DiscordBot ({page}, {version})"));
    assert_eq!(seen.headers.get_all("user-agent").iter().count(), 1);
}

#[tokio::test]
async fn all_roles_of_a_guild_come_with_one_request_and_those_left_out_are_asked_for() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/guilds/1/roles" => list(&[1, 2, 9]),
        "/guilds/1/roles/4" => answer(200, r#"{"id":"4"}"#),
        _ => refused(404, 10_011),
    })
    .await;
    let looks = look(&fake, "role", &["1/1", "1/2", "1/3", "1/4"]).await.unwrap();
    assert_eq!(looks, ["1/1 found", "1/2 found", "1/3 missing", "1/4 found"]);
    assert_eq!(fake.paths(), ["/guilds/1/roles", "/guilds/1/roles/3", "/guilds/1/roles/4"]);
}

#[tokio::test]
async fn a_guild_we_lost_access_to_is_out_of_reach_with_all_that_is_in_it() {
    for (status, code) in [(404, 10_004), (403, 50_001)] {
        let fake = Fake::start(move |_| refused(status, code)).await;
        assert_eq!(look(&fake, "guild", &["1"]).await.unwrap(), ["1 out of reach"]);
        assert_eq!(look(&fake, "member", &["1/2"]).await.unwrap(), ["1/2 out of reach"]);
        let roles = look(&fake, "role", &["1/2", "1/3"]).await.unwrap();
        assert_eq!(roles, ["1/2 out of reach", "1/3 out of reach"]);
    }
}

#[tokio::test]
async fn only_an_unknown_member_user_or_role_is_missing() {
    let deleted_account = Fake::start(|_| refused(404, 10_013)).await;
    assert_eq!(look(&deleted_account, "member", &["1/2"]).await.unwrap(), ["1/2 missing"]);
    let body = include_str!("samples/error-404-member.json");
    let fake = Fake::start(move |_| answer(404, body)).await;
    assert_eq!(look(&fake, "member", &["1/2"]).await.unwrap(), ["1/2 missing"]);
    for body in ["", "{}", "<html>", r#"{"message":"404: Not Found","code":0}"#] {
        let fake = Fake::start(move |_| answer(404, body)).await;
        let looked = look(&fake, "member", &["1/2"]).await;
        assert!(matches!(looked, Err(PlatformError::Unexpected { .. })), "{body}: {looked:?}");
    }
    let fake = Fake::start(|_| refused(403, 50_013)).await;
    assert_eq!(look(&fake, "member", &["1/2"]).await.unwrap(), ["1/2 unclear: 403 50013"]);
}

#[tokio::test]
async fn an_entitlement_is_read_by_a_list_that_starts_right_before_it() {
    let fake = Fake::start(|seen| match after(seen) {
        6 => answer(200, r#"[{"id":"7","deleted":true}]"#),
        _ => answer(200, r#"[{"id":"99","deleted":false}]"#),
    })
    .await;
    assert_eq!(look(&fake, "entitlement", &["7"]).await.unwrap(), ["7 found"]);
    assert_eq!(look(&fake, "entitlement", &["8"]).await.unwrap(), ["8 missing"]);
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/applications/700100200300/entitlements");
    assert_eq!((seen.query["limit"].as_str(), after(seen)), ("1", 6));
    assert_eq!(seen.query["exclude_deleted"], "false");
}

#[tokio::test]
async fn what_is_no_number_is_never_asked_for() {
    let fake = Fake::start(|_| answer(200, "{}")).await;
    for id in ["", "0", "1/", "/1", "a/b", "1/../2", "1.0/2", "18446744073709551616/1"] {
        for record in ["guild", "member", "role", "entitlement"] {
            let looks = look(&fake, record, &[id]).await.unwrap();
            assert!(looks[0].contains("unclear"), "{record} {id}: {looks:?}");
        }
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn the_members_of_all_guilds_are_read_by_the_highest_number_of_each_page() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), after(seen)) {
        ("/users/@me/guilds", 0) => list(&[20, 3]),
        ("/users/@me/guilds", _) => list(&[]),
        // A full page in no order, whose highest id is neither the last one nor so as text.
        ("/guilds/3/members", 0) => members((501..=1500).rev().map(|n| n % 1500 + 1)),
        ("/guilds/3/members", 1500) => members([2000, 1501].into_iter()),
        ("/guilds/20/members", 0) => members([2].into_iter()),
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!(scan(&fake, "member").await, (vec![0, 1000, 2, 1], Unseen::SuspectBesideSeen));
    let seen = fake.seen();
    assert_eq!((seen[0].query["limit"].as_str(), seen[1].query["limit"].as_str()), ("200", "1000"));
}

#[tokio::test]
async fn more_guilds_than_a_page_holds_are_listed_to_the_end() {
    let first: Vec<u64> = (1..=200).map(|n| u64::MAX - n).collect();
    let fake = Fake::start(move |seen| match seen.path.as_str() {
        "/users/@me/guilds" if after(seen) == 0 => list(&first),
        "/users/@me/guilds" => list(&[u64::MAX]),
        _ => refused(403, 50_001),
    })
    .await;
    let mut cursor = page(&fake, "role", None).await.unwrap().next;
    assert!(cursor.as_ref().unwrap().len() <= 4096);
    for _ in 0..202 {
        cursor = page(&fake, "role", cursor).await.unwrap().next;
    }
    assert_eq!(cursor, None);
    assert_eq!(fake.seen().last().unwrap().path, format!("/guilds/{}/roles", u64::MAX));
}

#[tokio::test]
async fn a_list_that_gives_the_same_page_again_is_at_its_end() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/users/@me/guilds" => list(&[3]),
        "/guilds/3/members" => members(1..=1000),
        _ => list(&(1..=100).collect::<Vec<_>>()),
    })
    .await;
    assert_eq!(scan(&fake, "member").await.0, [0, 1000, 1000]);
    assert_eq!(scan(&fake, "entitlement").await, (vec![100, 100], Unseen::Suspect));
}

#[tokio::test]
async fn a_scan_passes_over_a_guild_it_does_not_get_at_and_concludes_nothing_of_guilds() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/users/@me/guilds" => list(&[3, 4]),
        "/guilds/3" | "/guilds/3/roles" => refused(403, 50_001),
        "/guilds/4" => answer(200, r#"{"id":"4"}"#),
        _ => list(&[4, 5]),
    })
    .await;
    assert_eq!(scan(&fake, "guild").await, (vec![0, 0, 1], Unseen::Keep));
    assert_eq!(scan(&fake, "role").await, (vec![0, 0, 2], Unseen::SuspectBesideSeen));
}

#[tokio::test]
async fn access_that_is_lost_in_the_middle_of_a_guild_ends_the_scan() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/users/@me/guilds" => list(&[3]),
        _ if after(seen) == 0 => members(1..=1000),
        _ => refused(403, 50_001),
    })
    .await;
    let listed = page(&fake, "member", None).await.unwrap().next;
    let first = page(&fake, "member", listed).await.unwrap();
    assert_eq!(first.records.len(), 1000);
    let second = page(&fake, "member", first.next).await;
    assert!(matches!(second, Err(PlatformError::CursorLost)), "{second:?}");
    let foreign = page(&fake, "member", Some("plain:3".to_owned())).await;
    assert!(matches!(foreign, Err(PlatformError::CursorLost)));
}

#[tokio::test]
async fn a_time_out_that_is_over_is_as_good_as_none() {
    let mut hashes = Vec::new();
    for (until, date) in [
        (Value::Null, "Fri, 20 Nov 2026 21:14:05 GMT"),
        (json!("2026-11-20T21:14:05.000000+00:00"), "Fri, 20 Nov 2026 21:14:05 GMT"),
        (json!("2026-11-20T21:14:06.000000+00:00"), "Fri, 20 Nov 2026 21:14:05 GMT"),
    ] {
        let mut member: Value =
            serde_json::from_str(include_str!("samples/guild-member.json")).unwrap();
        member["communication_disabled_until"] = until;
        let fake =
            Fake::start(move |_| ([(DATE, date)], answer(200, member.to_string())).into_response())
                .await;
        let (api, account, purse) = (api(), account(&Discord, &fake.url), Purse::of(9));
        let call = Call::new(&api, &account, &purse, "member");
        let ids = [format!("{GUILD}/{USER}").as_str().into()];
        let looks = Discord.look(&call, kind("discord", "member"), &ids).await.unwrap();
        let Look::Found(snapshot) = &looks[0] else { panic!("{looks:?}") };
        hashes.push(snapshot.hash);
    }
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
        .collect()
}

fn signal(status: u16, headers: &HeaderMap, body: &str) -> RateSignal {
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.clone(),
        body: Bytes::from(body.to_owned()),
    };
    let mut signal = limits::signal(answer.status, &answer.headers);
    limits::body_signal(&answer, &mut signal);
    signal
}

#[test]
fn what_the_route_has_left_closes_its_kind_alone() {
    let bucket = [
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1470173023.123"),
        ("x-ratelimit-reset-after", "1.25"),
        ("x-ratelimit-bucket", "abcd1234"),
    ];
    let said = signal(200, &headers(&bucket), "{}");
    assert_eq!(said.remaining, Some((0, Duration::from_millis(1250))));
    assert_eq!((said.scope, said.refused_for), (RateScope::Kind, None));
    // Every header may be missing, or be nonsense.
    assert_eq!(signal(200, &HeaderMap::new(), "{}").remaining, None);
    for bad in ["-1", "NaN", "inf", "soon"] {
        let pairs = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", bad)];
        let expected = (bad == "inf").then(|| (0, Duration::from_hours(24)));
        assert_eq!(signal(200, &headers(&pairs), "{}").remaining, expected, "{bad}");
    }
}

#[test]
fn a_refusal_lasts_as_long_as_it_says_and_concerns_what_it_says() {
    let sample = include_str!("samples/error-429.json");
    let global = r#"{"message":"x","retry_after":64.57,"global":true}"#;
    let (kind, lane) = (RateScope::Kind, RateScope::Lane);
    let none = HeaderMap::new();
    let after = |wait| headers(&[("retry-after", wait)]);
    let scope = |scope, wait| headers(&[("x-ratelimit-scope", scope), ("retry-after", wait)]);
    let everywhere = headers(&[("x-ratelimit-global", "true"), ("retry-after", "65")]);
    let mut shared = scope("shared", "1337");
    shared.insert("x-ratelimit-reset-after", HeaderValue::from_static("64.57"));
    let html = "<html>error code: 1015</html>";
    let cases = [
        (&none, sample, 642, kind),
        (&after("1"), sample, 1000, kind),
        (&scope("user", "65"), "{}", 65_000, kind),
        (&scope("global", "0"), sample, 642, lane),
        (&everywhere, "{}", 65_000, lane),
        (&none, global, 64_570, lane),
        // The documents' own example: the two disagree, and the reset is not what counts.
        (&shared, r#"{"retry_after":1336.57}"#, 1_337_000, kind),
        // Cloudflare's own.
        (&after("30"), html, 30_000, lane),
        (&none, html, 600_000, lane),
    ];
    for (headers, body, millis, scope) in cases {
        let said = signal(429, headers, body);
        assert_eq!(said.refused_for, Some(Duration::from_millis(millis)), "{headers:?} {body}");
        assert_eq!(said.scope, scope, "{headers:?} {body}");
    }
    // A block comes as 403 too; being refused one thing is no block.
    assert_eq!(signal(403, &none, "<html>").refused_for, Some(Duration::from_mins(10)));
    assert!(signal(403, &none, r#"{"code":40333}"#).refused_for.is_some());
    assert_eq!(signal(403, &none, r#"{"code":50001}"#).refused_for, None);
}

#[test]
fn what_others_used_up_and_a_block_are_obeyed_and_not_counted_as_ours() {
    let none = HeaderMap::new();
    let of = |scope| headers(&[("x-ratelimit-scope", scope), ("retry-after", "7")]);
    let cases = [
        (signal(429, &of("user"), "{}"), true),
        (signal(429, &of("global"), "{}"), true),
        (signal(429, &none, "{}"), true),
        (signal(429, &none, "<html>error code: 1015</html>"), true),
        (signal(429, &of("shared"), "{}"), false),
        (signal(403, &none, "<html>"), false),
        (signal(403, &none, r#"{"code":40333}"#), false),
    ];
    for (said, ours) in cases {
        assert!(said.refused_for.is_some(), "{said:?}");
        assert_eq!(said.is_over_quota(), ours, "{said:?}");
    }
    assert!(!signal(200, &none, "{}").is_over_quota());
}

#[tokio::test]
async fn the_user_agent_names_the_page_that_the_configuration_names() {
    let contact = "https://ops.example.org/mirror".to_owned();
    let api = Api::new(ApiSettings { contact, ..ApiSettings::default() }).unwrap();
    for (platform, id, expected) in [
        ("discord", "1", "DiscordBot (https://ops.example.org/mirror, "),
        ("eventbrite", "1", "Syncline/"),
    ] {
        let fake = Fake::start(|_| answer(200, r#"{"id":"1"}"#)).await;
        let (known, purse) = (named(platform).unwrap(), Purse::of(1));
        let (account, kind) = (account(known, &fake.url), &known.records()[0]);
        let call = Call::new(&api, &account, &purse, kind.name);
        drop(known.look(&call, kind, &[id.into()]).await);
        let seen = fake.seen();
        let agent = seen[0].headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with(expected), "{agent}");
        assert!(agent.contains("https://ops.example.org/mirror"), "{agent}");
    }
}

/// The table of section 5.
#[test]
fn each_error_is_sorted_by_what_can_be_done_about_it() {
    let cases = [
        (200, "[]", "fine"),
        (404, r#"{"code":10004}"#, "out of reach"),
        (404, r#"{"code":10007}"#, "missing"),
        (404, r#"{"code":10011}"#, "missing"),
        (404, r#"{"code":10013}"#, "missing"),
        (404, "", "unexpected"),
        (401, r#"{"code":40001}"#, "unauthorized"),
        (401, r#"{"code":0,"message":"401: Unauthorized"}"#, "unauthorized"),
        (401, "", "unauthorized"),
        (403, r#"{"code":40333}"#, "transient"),
        (403, "<html>", "transient"),
        (403, r#"{"code":50001}"#, "out of reach"),
        (403, r#"{"code":50013}"#, "forbidden"),
        (400, r#"{"code":50014}"#, "unauthorized"),
        (400, r#"{"code":50035,"errors":{}}"#, "unexpected"),
        (400, r#"{"code":110000}"#, "transient"),
        (400, r#"{"code":130000}"#, "transient"),
        (500, "", "transient"),
        (502, "<html>", "transient"),
        (503, r#"{"code":130000}"#, "transient"),
        (504, "", "transient"),
    ];
    for (status, body, expected) in cases {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(body),
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

fn receive(body: &str) -> Result<Vec<String>, Refused> {
    let mut account = offline(&Discord);
    account.webhook_secret = Some(discord_key().into());
    let headers = sign_as_discord(body.as_bytes());
    let request = WebhookRequest { headers: &headers, body: body.as_bytes() };
    let notices = webhook::receive(&account, &request)?;
    Ok(notices.iter().map(|n| format!("{} {}", n.record_type, n.external_id)).collect())
}

fn event(kind: &str, data: &Value) -> String {
    let event = json!({ "type": kind, "timestamp": "2026-11-20T21:14:05.109604", "data": data });
    json!({ "version": 1, "application_id": "1", "type": 1, "event": event }).to_string()
}

#[test]
fn events_make_entitlements_and_new_guilds_dirty_and_nothing_else() {
    let entitlement = "entitlement 1019653849998299999";
    assert_eq!(
        receive(include_str!("samples/webhook-entitlement-create.json")).unwrap(),
        [entitlement]
    );
    assert!(receive(include_str!("samples/webhook-ping.json")).unwrap().is_empty());
    for kind in ["ENTITLEMENT_UPDATE", "ENTITLEMENT_DELETE"] {
        let notices = receive(&event(kind, &json!({ "id": "7", "deleted": true }))).unwrap();
        assert_eq!(notices, ["entitlement 7"]);
    }
    let added =
        json!({ "integration_type": 0, "guild": { "id": GUILD }, "user": {}, "scopes": [] });
    assert_eq!(
        receive(&event("APPLICATION_AUTHORIZED", &added)).unwrap(),
        [format!("guild {GUILD}")]
    );
    let for_a_user = json!({ "integration_type": 1, "user": {}, "scopes": [] });
    assert!(receive(&event("APPLICATION_AUTHORIZED", &for_a_user)).unwrap().is_empty());
    for kind in ["APPLICATION_DEAUTHORIZED", "QUEST_USER_ENROLLMENT", "LOBBY_MESSAGE_CREATE", "NEW"]
    {
        assert!(receive(&event(kind, &json!({ "user": { "id": "1" } }))).unwrap().is_empty());
        assert!(receive(&event(kind, &Value::Null)).unwrap().is_empty());
    }
    assert!(receive(r#"{"version":1,"application_id":"1","type":7}"#).unwrap().is_empty());
}

#[test]
fn a_signed_body_that_is_no_event_is_not_understood() {
    for body in [
        "",
        "[]",
        r#"{"type":1}"#,
        r#"{"type":"0"}"#,
        &event("ENTITLEMENT_CREATE", &Value::Null),
        &event("ENTITLEMENT_CREATE", &json!({ "id": 7 })),
        &event("ENTITLEMENT_CREATE", &json!({ "id": "7/8" })),
    ] {
        let refused = receive(body);
        assert!(matches!(refused, Err(Refused::NotUnderstood(_))), "{body}: {refused:?}");
    }
}

#[test]
fn discords_own_trials_are_told_from_attacks_and_refused_all_the_same() {
    let mut account = offline(&Discord);
    account.webhook_secret = Some(discord_key().into());
    let judge = |headers: &HeaderMap, body: &str| {
        webhook::receive(&account, &WebhookRequest { headers, body: body.as_bytes() })
    };
    let ping = include_str!("samples/webhook-ping.json");
    let other = sign_as_discord(b"something else");
    assert_eq!(judge(&other, ping), Err(Refused::Probe));
    assert!(matches!(judge(&HeaderMap::new(), ping), Err(Refused::Forged(_))));
    let event = include_str!("samples/webhook-entitlement-create.json");
    assert!(matches!(judge(&other, event), Err(Refused::Forged(_))));
}

/// From RFC 8032, test 2, with an empty time: so that not only our own signing says so.
#[test]
fn the_signature_is_ed25519_over_time_and_body() {
    let mut account = offline(&Discord);
    let key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    account.webhook_secret = Some(key.into());
    let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    let headers = headers(&[("x-signature-ed25519", signature), ("x-signature-timestamp", "r")]);
    // The message of the test is one byte, here the time; the body is empty, and no event.
    let refused = webhook::receive(&account, &WebhookRequest { headers: &headers, body: b"" });
    assert!(matches!(refused, Err(Refused::NotUnderstood(_))), "{refused:?}");
    let refused = webhook::receive(&account, &WebhookRequest { headers: &headers, body: b"r" });
    assert!(matches!(refused, Err(Refused::Forged(_))), "{refused:?}");
}

#[test]
fn a_key_that_is_none_lets_nothing_pass() {
    let body = include_str!("samples/webhook-entitlement-create.json").as_bytes();
    let headers = sign_as_discord(body);
    // The last ones are points of small order: signatures under them could be made by anybody.
    let small = "0100000000000000000000000000000000000000000000000000000000000000";
    for key in ["", " ", "zz", &discord_key()[..62], small, &"0".repeat(64)] {
        let mut account = offline(&Discord);
        account.webhook_secret = Some(key.into());
        let refused = webhook::receive(&account, &WebhookRequest { headers: &headers, body });
        assert!(matches!(refused, Err(Refused::Forged(_))), "{key:?}: {refused:?}");
    }
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(status in 100..600_u16, body: Vec<u8>, left: String, wait: f64) {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-remaining", left.clone()),
            ("x-ratelimit-reset-after", wait.to_string()),
            ("retry-after", left),
        ] {
            if let Ok(value) = value.parse() {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: Bytes::from(body) };
        let mut signal = limits::signal(answer.status, &answer.headers);
        limits::body_signal(&answer, &mut signal);
        let day = Duration::from_hours(24);
        prop_assert!(signal.refused_for.is_none_or(|wait| wait <= day));
        prop_assert!(signal.remaining.is_none_or(|(_, reset)| reset <= day));
        prop_assert!(signal.refused_for.is_some() || status != 429);
        if let Meaning::Fine = errors::meaning(&answer) {
            prop_assert!(status.is_success());
        }
    }
}
