//! Answers and webhooks have the shape of the documents' samples: every key, with the same type.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use simulator::{ChangeKind, ChangeRequest, Config, Platform, RecordType, Simulator};

use crate::client::{Client, quiet, records, with};
use crate::receiver::{Received, Receiver};

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every key of the sample occurs, and with a value of the same type where neither is null.
#[track_caller]
fn check(name: &str, shown: &Value) {
    compare(&sample(name), shown, name);
}

#[track_caller]
fn compare(sample: &Value, shown: &Value, at: &str) {
    match (sample, shown) {
        (Value::Object(sample), Value::Object(shown)) => {
            for (key, value) in sample {
                let there = shown.get(key).unwrap_or_else(|| panic!("{at}/{key} is missing"));
                // The values of free-form objects are the customer's own.
                if !["properties", "event_properties"].contains(&key.as_str()) {
                    compare(value, there, &format!("{at}/{key}"));
                }
            }
        }
        (Value::Array(sample), Value::Array(shown)) => {
            // Of each kind of resource, in whatever order.
            for value in sample {
                let kind = |one: &&Value| one.get("type") == value.get("type");
                if let Some(there) = shown.iter().find(kind) {
                    compare(value, there, &format!("{at}[]"));
                }
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (sample, shown) => {
            let same = std::mem::discriminant(sample) == std::mem::discriminant(shown);
            assert!(same, "{at} is {shown}, in the sample {sample}");
        }
    }
}

fn first(simulator: &Simulator, platform: Platform, record_type: RecordType) -> String {
    records(simulator, platform, record_type).remove(0).external_id
}

#[tokio::test]
async fn klaviyo_shows_what_its_samples_show() {
    let (simulator, client) = quiet().await;
    let profile = first(&simulator, Platform::Klaviyo, RecordType::Profile);
    let list = first(&simulator, Platform::Klaviyo, RecordType::List);
    let membership = first(&simulator, Platform::Klaviyo, RecordType::Membership);
    let (on, _) = membership.split_once('/').unwrap();
    simulator.announce(
        Platform::Klaviyo,
        &simulator::RecordId::new(RecordType::Profile, profile.clone()),
        1,
    );
    let event = client.klaviyo(&simulator, "/api/events").await.json["data"][0]["id"].clone();
    for (name, path) in [
        ("klaviyo/profile.json", format!("/api/profiles/{profile}")),
        ("klaviyo/profiles-page.json", "/api/profiles?page[size]=1".to_owned()),
        ("klaviyo/list.json", format!("/api/lists/{list}")),
        ("klaviyo/list-membership.json", format!("/api/lists/{on}/profiles?page[size]=1")),
        ("klaviyo/event.json", format!("/api/events/{}", event.as_str().unwrap())),
        ("klaviyo/error-400.json", "/api/profiles?filter=equals(updatedd,\"a\")".to_owned()),
    ] {
        check(name, &client.klaviyo(&simulator, &path).await.json);
    }
}

#[tokio::test]
async fn eventbrite_shows_what_its_samples_show() {
    let (simulator, client) = with(|config| config.eventbrite.null_left_out = 0.0).await;
    let attendee = first(&simulator, Platform::Eventbrite, RecordType::Attendee);
    let (event, id) = attendee.split_once('/').unwrap();
    let order = first(&simulator, Platform::Eventbrite, RecordType::Order);
    for (name, path) in [
        ("eventbrite/attendee.json", format!("/events/{event}/attendees/{id}/")),
        ("eventbrite/event.json", format!("/events/{event}/")),
        ("eventbrite/order.json", format!("/orders/{order}/")),
    ] {
        check(name, &client.eventbrite(&simulator, &path).await.json);
    }
}

#[tokio::test]
async fn patreon_shows_what_its_samples_show() {
    let (simulator, client) = quiet().await;
    let campaign = first(&simulator, Platform::Patreon, RecordType::Campaign);
    let members = records(&simulator, Platform::Patreon, RecordType::Member);
    let tiers = "/relationships/currently_entitled_tiers/data/0";
    let member = members.iter().find(|one| one.payload.pointer(tiers).is_some()).unwrap();
    // Whatever a sample shows is asked for.
    let asking = |name: &str| {
        let sample = sample(name);
        let data = sample.pointer("/data/0").unwrap_or(&sample["data"]);
        let include: Vec<&str> =
            data["relationships"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut query = format!("include={}", include.join(","));
        for one in [data].into_iter().chain(sample["included"].as_array().unwrap()) {
            let kind = one["type"].as_str().unwrap();
            let fields: Vec<&str> =
                one["attributes"].as_object().unwrap().keys().map(String::as_str).collect();
            if !query.contains(&format!("fields[{kind}]")) {
                query = format!("{query}&fields[{kind}]={}", fields.join(","));
            }
        }
        query
    };
    for (name, path) in [
        ("patreon/campaign.json", format!("/v2/campaigns/{campaign}")),
        ("patreon/member.json", format!("/v2/members/{}", member.external_id)),
        ("patreon/members-page.json", format!("/v2/campaigns/{campaign}/members")),
    ] {
        let path = format!("{path}?{}", asking(name));
        check(name, &client.patreon(&simulator, &path).await.json);
    }
}

#[tokio::test]
async fn discord_shows_what_its_samples_show() {
    let (simulator, client) = quiet().await;
    let guild = first(&simulator, Platform::Discord, RecordType::Guild);
    let role = first(&simulator, Platform::Discord, RecordType::Role).replace('/', "/roles/");
    let member = first(&simulator, Platform::Discord, RecordType::Member).replace('/', "/members/");
    let bought = first(&simulator, Platform::Discord, RecordType::Entitlement);
    for (name, path) in [
        ("discord/guild.json", format!("/guilds/{guild}?with_counts=true")),
        ("discord/role.json", format!("/guilds/{role}")),
        ("discord/guild-member.json", format!("/guilds/{member}")),
        (
            "discord/entitlement.json",
            format!("/applications/1019370614521200999/entitlements/{bought}"),
        ),
        ("discord/error-404-member.json", format!("/guilds/{guild}/members/1")),
    ] {
        check(name, &client.discord(&simulator, &path).await.json);
    }
}

#[tokio::test]
async fn refusals_look_like_the_samples() {
    let (simulator, client) = with(|config| {
        config.eventbrite.account.quotas[0].limit = 1;
        for account in [&mut config.patreon.account, &mut config.discord.account] {
            account.quotas.iter_mut().for_each(|quota| quota.limit = 1);
        }
    })
    .await;
    let client: Client = client;
    for _ in 0..2 {
        let patreon = client.patreon(&simulator, "/v2/campaigns").await;
        let discord = client.discord(&simulator, "/users/@me/guilds").await;
        let path = "/organizations/700100200300/events/";
        let eventbrite = client.eventbrite(&simulator, path).await;
        if patreon.status == 429 {
            check("patreon/error-429.json", &patreon.json);
            check("discord/error-429.json", &discord.json);
            check("eventbrite/error-429.json", &eventbrite.json);
            return;
        }
    }
    panic!("nobody refused");
}

#[tokio::test]
async fn webhooks_look_like_the_samples() {
    // Discord takes nothing but 204, Klaviyo everything near it.
    fn judge(came: &Received) -> u16 {
        if came.headers.contains_key("x-signature-ed25519") { 204 } else { 200 }
    }
    let receiver = Receiver::judging(judge).await;
    let target = receiver.url.clone();
    let (simulator, _) = with(|config: &mut Config| {
        for account in [
            &mut config.klaviyo.account,
            &mut config.eventbrite.account,
            &mut config.patreon.account,
            &mut config.discord.account,
        ] {
            account.webhooks.target = Some(target.clone());
        }
    })
    .await;
    let samples = [
        (Platform::Klaviyo, RecordType::Profile, "klaviyo/webhook-subscribed.json"),
        (Platform::Eventbrite, RecordType::Attendee, "eventbrite/webhook-attendee-updated.json"),
        (Platform::Patreon, RecordType::Member, "patreon/webhook-members-update.json"),
        (Platform::Discord, RecordType::Entitlement, "discord/webhook-entitlement-create.json"),
    ];
    for (nth, (platform, record_type, name)) in samples.into_iter().enumerate() {
        let create = ChangeRequest {
            platform,
            record_type: Some(record_type),
            external_id: None,
            kind: ChangeKind::Create,
            notify: true,
        };
        simulator.change(&create).unwrap();
        simulator.freeze(Duration::from_secs(20)).await;
        let mut came = receiver.all();
        assert!(came.len() > nth, "{name}");
        check(name, &came.remove(came.len() - 1).json());
    }
}
