//! What sends webhooks to us, as each platform tells of it, and what it is told to mend it.

use axum::response::Response;
use http::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fake::{Fake, Purse, Seen, answer};
use super::{account, api};
use crate::job::PROBE;
use crate::platform::{Call, Endpoint, Platform, Repair, Sender, SenderState, all, named};

const OURS: &str = "https://mirror.example/webhooks/p/secret-part";
const OTHER: &str = "https://mirror.example/webhooks/p/another";

fn endpoint() -> Endpoint {
    Endpoint::new(Sha256::digest("secret-part").into(), Some(SecretString::from(OURS)))
}

/// A platform's list in which one webhook leads to `url`, and whether that one is on.
fn listed(platform: &str, url: &str, on: bool) -> Value {
    match platform {
        "klaviyo" => json!({
            "data": [{ "type": "webhook", "id": "W1", "attributes": {
                "endpoint_url": url, "enabled": on, "name": "Mirror" } }],
            "links": { "self": "https://a.klaviyo.com/api/webhooks", "next": null, "prev": null },
        }),
        "patreon" => json!({
            "data": [{ "type": "webhook", "id": "21", "attributes": {
                "uri": url, "paused": !on, "num_consecutive_times_failed": if on { 0 } else { 3 } } }],
            "meta": { "pagination": { "total": 1, "cursors": { "next": null } } },
        }),
        "discord" => json!({
            "id": "7", "event_webhooks_url": url, "event_webhooks_status": if on { 2 } else { 3 },
        }),
        // One that is off is not in the list.
        _ => json!({
            "pagination": { "has_more_items": false, "continuation": "x" },
            "webhooks": if on { json!([{ "id": "5", "endpoint_url": url }]) } else { json!([]) },
        }),
    }
}

async fn ask(
    platform: &dyn Platform,
    reply: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
) -> (Fake, Sender) {
    let fake = Fake::start(reply).await;
    let (api, account, purse) = (api(), account(platform, &fake.url), Purse::of(9));
    let call = Call::new(&api, &account, &purse, PROBE);
    let sender = platform.sender(&call, &endpoint()).await.unwrap();
    (fake, sender)
}

#[tokio::test]
async fn every_platform_tells_whether_it_sends_to_us() {
    for platform in all() {
        let name = platform.name();
        let ours = listed(name, OURS, true).to_string();
        let (fake, sender) = ask(*platform, move |_| answer(200, ours.clone())).await;
        assert_eq!(sender.state, SenderState::Ok, "{name}: {sender:?}");
        assert_eq!(fake.seen().len(), 1, "{name}: one request");

        let off = listed(name, OURS, false).to_string();
        let (_, sender) = ask(*platform, move |_| answer(200, off.clone())).await;
        assert!(sender.is_broken() && !sender.sends(), "{name}: {sender:?}");

        let other = listed(name, OTHER, true).to_string();
        let (_, sender) = ask(*platform, move |_| answer(200, other.clone())).await;
        // Of Patreon's only those of our own client are listed: it may be one of the portal.
        let expected = if name == "patreon" { SenderState::Unknown } else { SenderState::Missing };
        assert_eq!(sender.state, expected, "{name}: {sender:?}");
        assert!(!platform.gap().kinds.is_empty(), "{name}");
        for kind in platform.gap().kinds {
            assert!(platform.records().iter().any(|known| known.name == *kind), "{name} {kind}");
        }
    }
}

#[tokio::test]
async fn every_platform_is_told_to_send_again_in_its_own_words() {
    let cases = [
        (
            "klaviyo",
            Method::PATCH,
            "/api/webhooks/W1",
            json!({ "data": { "type": "webhook", "id": "W1", "attributes": { "enabled": true } } }),
            "application/vnd.api+json",
        ),
        (
            "patreon",
            Method::PATCH,
            "/webhooks/21",
            json!({ "data": { "type": "webhook", "id": "21", "attributes": { "paused": false } } }),
            "application/json",
        ),
        (
            "discord",
            Method::PATCH,
            "/applications/@me",
            json!({ "event_webhooks_status": 2 }),
            "application/json",
        ),
        (
            "eventbrite",
            Method::POST,
            "/organizations/700100200300/webhooks/",
            json!({ "endpoint_url": OURS, "actions":
                "attendee.checked_in,attendee.checked_out,attendee.updated,event.created,\
                 event.published,event.unpublished,event.updated,order.placed,order.refunded,\
                 order.updated" }),
            "application/json",
        ),
    ];
    for (name, method, path, body, body_type) in cases {
        let platform = named(name).unwrap();
        let off = listed(name, OURS, false).to_string();
        let reply = move |seen: &Seen| {
            answer(200, if seen.method == Method::GET { off.clone() } else { "{}".to_owned() })
        };
        let (fake, found) = ask(platform, reply).await;
        let (api, account, purse) = (api(), account(platform, &fake.url), Purse::of(9));
        let call = Call::new(&api, &account, &purse, PROBE);
        let repair = platform.repair_sender(&call, &endpoint(), &found).await.unwrap();
        assert_eq!(repair, Repair::Done, "{name}");
        let asked = fake.seen().pop().unwrap();
        assert_eq!((&asked.method, asked.path.as_str()), (&method, path), "{name}");
        let sent: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(sent, body, "{name}");
        assert_eq!(asked.headers["content-type"], body_type, "{name}");
        assert_eq!(purse.left(), 8, "{name}: paid like any other");
    }
}

#[tokio::test]
async fn a_token_that_may_not_mend_it_says_so_and_is_no_failure() {
    for name in ["klaviyo", "patreon"] {
        let platform = named(name).unwrap();
        let fake =
            Fake::start(|_| answer(403, r#"{"errors":[{"code":"permission_denied"}]}"#)).await;
        let (api, account, purse) = (api(), account(platform, &fake.url), Purse::of(9));
        let call = Call::new(&api, &account, &purse, PROBE);
        let mut found = Sender::unknown("");
        found.off = vec!["1".to_owned()];
        let repair = platform.repair_sender(&call, &endpoint(), &found).await.unwrap();
        assert!(matches!(&repair, Repair::NotDone(why) if why.contains("webhook")), "{repair:?}");
    }
}

#[tokio::test]
async fn an_address_of_somebody_else_at_discord_is_left_alone() {
    let platform = named("discord").unwrap();
    let other = listed("discord", OTHER, true).to_string();
    let (fake, found) = ask(platform, move |_| answer(200, other.clone())).await;
    let (api, account, purse) = (api(), account(platform, &fake.url), Purse::of(9));
    let call = Call::new(&api, &account, &purse, PROBE);
    let repair = platform.repair_sender(&call, &endpoint(), &found).await.unwrap();
    assert!(matches!(repair, Repair::NotDone(_)), "{repair:?}");
    assert_eq!(fake.seen().len(), 1, "nothing was changed");
}

#[tokio::test]
async fn lists_of_many_pages_are_read_to_their_end_and_no_further() {
    let platform = named("eventbrite").unwrap();
    let page = |more: bool, url: &str| {
        json!({ "pagination": { "has_more_items": more, "continuation": "next" },
                "webhooks": [{ "id": "5", "endpoint_url": url }] })
        .to_string()
    };
    let (first, second) = (page(true, OTHER), page(false, OURS));
    let reply = move |seen: &Seen| {
        let first_page = seen.query.is_empty();
        answer(200, if first_page { first.clone() } else { second.clone() })
    };
    let (fake, sender) = ask(platform, reply).await;
    assert_eq!((sender.state, fake.seen().len()), (SenderState::Ok, 2));

    let endless = page(true, OTHER);
    let (fake, sender) = ask(platform, move |_| answer(200, endless.clone())).await;
    assert_eq!((sender.state, fake.seen().len()), (SenderState::Unknown, 5));
}
