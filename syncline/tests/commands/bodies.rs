//! `hash` and `verify-webhook`, with the samples that the adapters are tested with.

use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::run::{Ended, syncline};

const PROFILE: &str = include_str!("../../../common/src/platform/klaviyo/samples/profile.json");
const KLAVIYO: &[u8] =
    include_bytes!("../../../common/src/platform/klaviyo/samples/webhook-subscribed.json");
const EVENTBRITE: &[u8] =
    include_bytes!("../../../common/src/platform/eventbrite/samples/webhook-attendee-updated.json");
const PATREON: &[u8] =
    include_bytes!("../../../common/src/platform/patreon/samples/webhook-members-update.json");
const DISCORD: &[u8] =
    include_bytes!("../../../common/src/platform/discord/samples/webhook-entitlement-create.json");
const DISCORD_PING: &[u8] =
    include_bytes!("../../../common/src/platform/discord/samples/webhook-ping.json");
const DISCORD_MEMBER: &str =
    include_str!("../../../common/src/platform/discord/samples/guild-member.json");
const SECRET: &str = "an example webhook secret";
const TIME: &str = "Thu, 04 Jan 2024 18:05:25 GMT";

/// The record itself, without what it came wrapped in.
fn profile() -> Value {
    serde_json::from_str::<Value>(PROFILE).unwrap()["data"].clone()
}

fn hash(record: &Value) -> Value {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile", "--json"];
    syncline(&arguments, &[], record.to_string().as_bytes()).json()
}

/// Calls `verify-webhook` with a delivery of Klaviyo that was signed with `secret`.
fn verify(signed: &[u8], sent: &[u8], secret: &str) -> Ended {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed);
    mac.update(TIME.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let headers = [
        format!("Klaviyo-Signature: {signature}"),
        format!("Klaviyo-Timestamp: {TIME}"),
        "Klaviyo-Webhook-Id: 01JWEBHOOKEXAMPLE".to_owned(),
    ];
    let mut arguments = vec!["verify-webhook", "--platform", "klaviyo"];
    arguments.extend(["--secret-file", file.to_str().unwrap()]);
    for header in &headers {
        arguments.extend(["--header", header]);
    }
    let ended = syncline(&arguments, &[], sent);
    assert!(!format!("{ended:?}").contains(SECRET), "{ended:?}");
    ended
}

#[test]
fn the_hash_is_of_what_counts_in_whatever_order_it_came() {
    let mut record = profile();
    let first = hash(&record);
    assert_eq!(first["hash"].as_str().unwrap().len(), 32);
    assert!(first["canonical"].as_str().unwrap().starts_with(r#"{"attributes":{"#), "{first}");

    record["attributes"]["updated"] = json!("2030-01-01T00:00:00+00:00");
    assert_eq!(hash(&record), first, "nobody edited the profile");
    record["attributes"]["first_name"] = json!("another");
    assert_ne!(hash(&record)["hash"], first["hash"]);
}

#[test]
fn a_record_in_its_wrapping_is_noticed() {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile"];
    let bare = syncline(&arguments, &[], profile().to_string().as_bytes());
    assert_eq!((bare.code, bare.err.as_str()), (0, ""));
    let wrapped = syncline(&arguments, &[], PROFILE.as_bytes());
    assert_eq!((wrapped.code, &wrapped.out), (0, &bare.out));
    assert!(wrapped.err.contains("\"data\""), "{wrapped:?}");
    let other = syncline(&arguments, &[], br#"{"profile":{"id":"1"}}"#);
    assert_eq!(other.code, 0);
    assert!(other.err.contains("nothing of this counts"), "{other:?}");
}

/// The same for every kind of record that there are samples of.
#[test]
fn each_kind_of_record_has_a_hash() {
    let samples = |platform: &str| format!("../common/src/platform/{platform}/samples");
    let kinds = [
        ("klaviyo", "list", "/attributes/name"),
        ("klaviyo", "list-membership", "/attributes/joined_group_at"),
        ("klaviyo", "event", "/attributes/datetime"),
        ("eventbrite", "event", "/name/text"),
        ("eventbrite", "attendee", "/status"),
        ("eventbrite", "order", "/status"),
    ];
    for (platform, kind, counts) in kinds {
        let text = std::fs::read_to_string(format!("{}/{kind}.json", samples(platform))).unwrap();
        let mut record: Value = serde_json::from_str(&text).unwrap();
        if let Some(data) = record.get("data") {
            record = data.get(0).unwrap_or(data).clone();
        }
        let arguments = ["hash", "--platform", platform, "--record-type", kind, "--json"];
        let hash = |record: &Value| {
            syncline(&arguments, &[], record.to_string().as_bytes()).json()["hash"].clone()
        };
        let first = hash(&record);
        record["resource_uri"] = json!("https://elsewhere.example/");
        record["links"] = json!({ "self": "https://elsewhere.example/" });
        assert_eq!(hash(&record), first, "{platform} {kind}");
        *record.pointer_mut(counts).unwrap() = json!("another");
        assert_ne!(hash(&record), first, "{platform} {kind}");
    }
}

#[test]
fn what_cannot_be_hashed_is_an_error_that_says_where() {
    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "profile"];
    let ended = syncline(&arguments, &[], b"{\n  \"id\": }");
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("line 2"), "{ended:?}");

    let arguments = ["hash", "--platform", "klaviyo", "--record-type", "order"];
    let ended = syncline(&arguments, &[], b"{}");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("there are profile"), "{ended:?}");
}

#[test]
fn a_signed_webhook_tells_the_records_it_makes_dirty() {
    let ended = verify(KLAVIYO, KLAVIYO, SECRET);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "profile 01JEXAMPLE5P6Q7R8S9T0V1W2X\n");
}

#[test]
fn a_forged_webhook_is_refused_and_the_reason_told() {
    let mut changed = KLAVIYO.to_vec();
    changed[5] = b' ';
    for ended in [verify(KLAVIYO, &changed, SECRET), verify(KLAVIYO, KLAVIYO, "another secret")] {
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.out.starts_with("refused: the signature does not match"), "{ended:?}");
    }
}

#[test]
fn a_body_that_is_not_understood_is_told_from_a_forged_one() {
    let ended = verify(b"[]", b"[]", SECRET);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("not understood"), "{ended:?}");
}

#[test]
fn a_platform_that_signs_nothing_needs_no_secret() {
    let arguments = ["verify-webhook", "--platform", "eventbrite", "--json"];
    let answer = syncline(&arguments, &[], EVENTBRITE).json();
    let notice = json!({ "record_type": "attendee", "external_id": "880011223344/12100200301" });
    assert_eq!(answer, json!({ "notices": [notice], "refused": null }));
}

/// Calls `verify-webhook` with a delivery of Patreon.
fn verify_patreon(signed: &[u8], sent: &[u8], trigger: &str) -> Ended {
    let mut mac = Hmac::<Md5>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(signed);
    let signature = format!("X-Patreon-Signature: {}", hex::encode(mac.finalize().into_bytes()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let (file, event) = (file.to_str().unwrap(), format!("X-Patreon-Event: {trigger}"));
    let arguments = ["verify-webhook", "--platform", "patreon", "--secret-file", file];
    let headers = ["--header", &signature, "--header", &event];
    syncline(&[arguments.as_slice(), &headers].concat(), &[], sent)
}

#[test]
fn a_delivery_of_patreon_is_taken_refused_or_not_understood() {
    let taken = verify_patreon(PATREON, PATREON, "members:update");
    assert_eq!(taken.code, 0, "{taken:?}");
    assert_eq!(taken.out, "member 6a0b1c2d-3e4f-4a5b-8c6d-7e8f90a1b2c3\n");
    let post = verify_patreon(PATREON, PATREON, "posts:publish");
    assert_eq!((post.code, post.out.as_str()), (0, "taken; it concerns no record\n"));
    assert_eq!(verify_patreon(PATREON, b"{}", "members:update").code, 1);
    assert_eq!(verify_patreon(b"{}", b"{}", "members:update").code, 2);
}

/// Calls `verify-webhook` with a delivery of Discord.
fn verify_discord(signed: &[u8], sent: &[u8], key: Option<&str>) -> Ended {
    let pair = SigningKey::from_bytes(&[3; 32]);
    let signature = hex::encode(pair.sign(&[b"1795209245", signed].concat()).to_bytes());
    let public = hex::encode(pair.verifying_key().as_bytes());
    let signature = format!("X-Signature-Ed25519: {signature}");
    let mut arguments = vec!["verify-webhook", "--platform", "discord"];
    arguments.extend(["--public-key", key.unwrap_or(&public), "--header", &signature]);
    arguments.extend(["--header", "X-Signature-Timestamp: 1795209245"]);
    syncline(&arguments, &[], sent)
}

#[test]
fn a_delivery_of_discord_is_checked_with_the_public_key() {
    let taken = verify_discord(DISCORD, DISCORD, None);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert_eq!(taken.out, "entitlement 1019653849998299999\n");
    assert_eq!(verify_discord(DISCORD_PING, DISCORD_PING, None).code, 0);
    assert_eq!(verify_discord(DISCORD, DISCORD_PING, None).code, 1, "a trial of Discord's own");
    assert_eq!(verify_discord(DISCORD, b"{}", None).code, 1);
    assert_eq!(verify_discord(DISCORD, DISCORD, Some("00ff")).code, 1);
    assert_eq!(verify_discord(b"{}", b"{}", None).code, 2);
}

#[test]
fn a_time_out_that_is_over_does_not_count() {
    let arguments = ["hash", "--platform", "discord", "--record-type", "member", "--json"];
    let hash = |until: Value| {
        let mut member: Value = serde_json::from_str(DISCORD_MEMBER).unwrap();
        member["communication_disabled_until"] = until;
        syncline(&arguments, &[], member.to_string().as_bytes()).json()
    };
    let none = hash(Value::Null);
    assert_eq!(hash(json!("2001-01-01T00:00:00+00:00")), none);
    assert_ne!(hash(json!("2999-01-01T00:00:00+00:00")), none);
}
